"""Runs an image under QEMU, and says what it printed and how it ended."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

QEMU = shutil.which("qemu-system-i386")

needs_qemu = pytest.mark.skipif(QEMU is None, reason="qemu-system-i386 is not installed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run printed, and the value written to the exit port (None: it ended some other way)."""

    output: str
    value: int | None


def run(image: Path, append: str = "", memory: int = 16, serial: bool = False, seconds: int = 60,
        options: Sequence[str] = ("-cpu", "qemu32")) -> Outcome:
    """Boot `image` with the interpreter (TCG) and the devices our computer has."""
    assert QEMU is not None
    consoles = ["-debugcon", "null", "-serial", "stdio"] if serial else ["-debugcon", "stdio", "-serial", "null"]
    command = [
        QEMU, "-accel", "tcg", *options, "-m", str(memory), "-display", "none", "-nodefaults", "-no-reboot",
        *consoles, "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", str(image), "-append", append,
    ]  # fmt: skip
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
    value = done.returncode >> 1 if done.returncode & 1 else None
    return Outcome(done.stdout.decode("latin-1").replace("\r", ""), value)
