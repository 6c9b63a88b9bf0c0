"""Who can execute a guest image as a process of its own: ours, QEMU, Unicorn, and the host itself."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from firmware.build import BuildError, build_linux
from firmware.toolchain import ToolchainError
from vmm.cli.techniques import TECHNIQUES

from .process import ProcessFailed, Ran, run

#: RAM of every computer, in MiB.
MEMORY = 64
_INSTRUCTIONS = re.compile(r"^gigogne: ([\d,]+) instructions,", re.MULTILINE)
_TRANSLATING = re.compile(r"^gigogne: compile_microseconds +([\d,]+)$", re.MULTILINE)


class Unable(Exception):
    """A peer cannot run a guest here; the message is the reason."""


class Peer(Protocol):
    """One who executes guests.

    Members
    -------
    name : in figures.
    guess : its speed over QEMU's, to start the search for a number of iterations with.
    counts : whether `instructions` reads the number of instructions out of its runs.
    keeps : whether a run finds what earlier ones have translated, and `translating` says how long it did so itself.
    """

    name: str
    guess: float
    counts: bool
    keeps: bool

    def run(self, workload: str, options: str) -> Ran:
        """A run of a guest to its end, which was as it should be. Raises Unable."""


class _Process:
    """What is common: a command, the status it ends with, variables it finds in its environment."""

    name: str
    guess = 1.0
    counts = False
    keeps = False
    success = 0
    environment: Mapping[str, str] = {}

    def __init__(self, images: Path) -> None:
        self.images = images

    def command(self, workload: str, options: str) -> Sequence[str]:
        raise Unable(f"{self.name} has no command")

    def run(self, workload: str, options: str) -> Ran:
        try:
            ran = run(self.command(workload, options), self.environment)
        except ProcessFailed as error:
            raise Unable(f"{workload} with '{options}': {error}") from None
        if ran.status != self.success:
            words = (ran.errors.strip() or ran.output.strip()).splitlines()
            raise Unable(words[-1] if words else f"{workload} with '{options}' ended with status {ran.status}")
        return ran


class Gigogne(_Process):
    """`gigogne run` with one of the techniques, and a cache of its own."""

    counts = True

    def __init__(self, technique: str, images: Path, cache: Path) -> None:
        super().__init__(images)
        self.name = technique
        self.guess = 0.003 if technique == "emulate" else 1.0
        self.keeps = technique == "dbt"
        self.environment = {"GIGOGNE_CACHE": str(cache)}

    def command(self, workload: str, options: str) -> Sequence[str]:
        if self.name not in TECHNIQUES:
            raise Unable(f"there is no technique {self.name}")
        return (sys.executable, "-m", "vmm.cli.main", "run", "--technique", self.name, "-m", str(MEMORY),
                str(self.images / f"{workload}.elf"), "-append", options, "--stats")


class Qemu(_Process):
    """Debian's QEMU with its translator, TCG."""

    name = "qemu"
    success = 1      # (0 << 1) | 1

    def command(self, workload: str, options: str) -> Sequence[str]:
        if shutil.which("qemu-system-i386") is None:
            raise Unable("qemu-system-i386 is not installed")
        return ("qemu-system-i386", "-accel", "tcg", "-cpu", "qemu32", "-m", str(MEMORY), "-display", "none",
                "-serial", "null", "-debugcon", "stdio", "-no-reboot",
                "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
                "-kernel", str(self.images / f"{workload}.elf"), "-append", options)


class Unicorn(_Process):
    """Unicorn, for guests that need no computer around the processor."""

    name = "unicorn"
    guess = 0.1

    def command(self, workload: str, options: str) -> Sequence[str]:
        if importlib.util.find_spec("unicorn") is None:
            raise Unable("the package unicorn is not installed")
        return (sys.executable, "-m", "sim.bench.unicorn_guest", str(self.images / f"{workload}.elf"), options)


class Host(_Process):
    """The host's own processor, on the workload built for Linux."""

    RING0 = ("syscalls", "pagefaults", "timer", "kernel")
    name = "host"

    def __init__(self, images: Path) -> None:
        super().__init__(images)
        self._programs: dict[str, Path] = {}

    def command(self, workload: str, options: str) -> Sequence[str]:
        if workload in self.RING0:
            raise Unable("it needs ring 0")
        if workload not in self._programs:
            try:
                self._programs |= build_linux([workload], self.images)
            except (ToolchainError, BuildError) as error:
                raise Unable(str(error).splitlines()[0]) from None
        return (str(self._programs[workload]), options)


def everyone(images: Path, cache: Path) -> list[Peer]:
    """All of them; QEMU first, because the others are measured with its number of iterations."""
    return [Qemu(images), Gigogne("dbt", images, cache), Host(images), Unicorn(images),
            Gigogne("emulate", images, cache)]


def instructions(ran: Ran) -> int:
    """How many a run of ours has executed, from the line it ends with. Raises Unable."""
    found = _INSTRUCTIONS.search(ran.errors)
    if found is None:
        raise Unable("the run does not say how many instructions it was")
    return int(found[1].replace(",", ""))


def translating(ran: Ran) -> float:
    """Seconds that a run of ours says it translated for; those of the others' do not tell."""
    found = _TRANSLATING.search(ran.errors)
    return int(found[1].replace(",", "")) / 1e6 if found else 0.0
