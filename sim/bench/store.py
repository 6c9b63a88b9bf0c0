"""The JSON of the figures: what a part has measured stays there until it is measured again.

The file is `{"parts": {NAME: {"quick", "seconds", "machine", "figures", "details"}}}`. It is replaced, whole, whenever
a part is done, so that a run that is stopped loses only the part it is at, and runs of single parts add up.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .figures import Figure

#: What a part left, by its name.
Report = dict[str, dict[str, Any]]


def load(path: Path) -> Report:
    """What the file has; nothing if there is none, or it is something else.

    Raises
    ------
    OSError
        There is a file and it cannot be read.
    """
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    parts = content.get("parts") if isinstance(content, dict) else None
    return parts if isinstance(parts, dict) else {}


def part(figures: Sequence[Figure], details: Any, machine: Mapping[str, Any], seconds: float, quick: bool
         ) -> dict[str, Any]:
    """What is kept of one part; ``seconds`` is what measuring took."""
    return {"quick": quick, "seconds": round(seconds, 1), "machine": dict(machine),
            "figures": [figure.as_json() for figure in figures], "details": details}


def save(path: Path, report: Report) -> None:
    """The file appears whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump({"parts": report}, file, indent=2)
            file.write("\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
