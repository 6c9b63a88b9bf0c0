"""GTKWave savefiles: signals in groups, as a person would want to see them."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vcd.gtkw import GTKWSave


@dataclass(frozen=True)
class Group:
    """A titled group. Entries are names as in the waveform; ``ascii`` ones are string variables."""

    title: str
    signals: tuple[str, ...]
    texts: tuple[str, ...] = ()
    closed: bool = False


def write_gtkw(path: Path | str, vcd_path: Path | str, groups: Sequence[Group], widths: Mapping[str, int], *,
               zoom: float = -6.0, start_ns: int = 0) -> None:
    """Write a savefile that opens ``vcd_path`` (a path relative to the savefile is kept so) with ``groups``.

    ``widths`` gives the bits of each signal; wider than one bit is shown in hexadecimal.
    """
    buffer = io.StringIO()
    save = GTKWSave(buffer)
    save.dumpfile(str(vcd_path), abspath=False)
    save.timestart(start_ns)
    save.zoom_markers(zoom)
    save.trace("top.clk")
    for group in groups:
        with save.group(group.title, closed=group.closed):
            for name in group.texts:
                save.trace(f"top.{name}", datafmt="ascii")
            for name in group.signals:
                width = widths[name]
                save.trace(f"top.{name}[{width - 1}:0]" if width > 1 else f"top.{name}", datafmt="hex")
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(buffer.getvalue())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
