"""The command line in this process, and guests for it."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from tests.sim import guests
from vmm.cli.main import main


def invoke(*arguments: str) -> Result:
    """What `gigogne` prints and answers."""
    result = CliRunner().invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def guest_file(folder: Path, code: bytes) -> str:
    """The path of a new image that executes this code."""
    path = folder / "guest.elf"
    path.write_bytes(guests.elf(code))
    return str(path)
