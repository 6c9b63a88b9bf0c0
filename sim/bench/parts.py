"""The parts of `make bench`: what each measures, in full or quickly."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sim.rtlmachine import RtlMachine

from . import (
    cpi,
    instructions,
    interpreter,
    sampling,
    sharedpage,
    speed,
    start,
    svm,
    timing,
    translator,
    walks,
    wholerun,
)
from .figures import Figure
from .peers import everyone
from .workloads import COMPUTE, SYSTEM

#: Figures, and what does not fit in them.
Measured = tuple[list[Figure], Any]


@dataclass
class Bench:
    """What the parts share.

    Members
    -------
    say : told what is being done.
    """

    images: Path
    quick: bool
    verilator_compiler: str
    say: Callable[[str], None]

    @cached_property
    def machine(self) -> RtlMachine:
        """The computer as it is by default, on the native engine; whoever uses it resets it first."""
        return RtlMachine()

    @property
    def dhry(self) -> Path:
        return self.images / "dhry.elf"


def _instructions(bench: Bench) -> Measured:
    return instructions.measure(bench.machine)


def _cpi(bench: Bench) -> Measured:
    return cpi.measure(bench.machine, bench.images, {"dhry": 20} if bench.quick else cpi.ITERATIONS, bench.say)


def _walks(bench: Bench) -> Measured:
    return walks.measure(bench.images), None


def _svm(bench: Bench) -> Measured:
    return svm.measure(bench.machine, bench.images, bench.say), None


def _interpreter(bench: Bench) -> Measured:
    count, rounds = (20_000, 1) if bench.quick else (1_000_000, 5)
    return [interpreter.measure(bench.dhry, count, rounds)], None


def _start(bench: Bench) -> Measured:
    return start.measure_warm(bench.dhry, 1) if bench.quick else start.measure(bench.dhry, cold=3, warm=5), None


def _speed(bench: Bench) -> Measured:
    effort = speed.QUICK if bench.quick else speed.FULL
    return speed.measure(bench.machine, bench.dhry, effort, bench.verilator_compiler, bench.say), None


def _sampling(bench: Bench) -> Measured:
    effort = sampling.QUICK if bench.quick else sampling.FULL
    return sampling.measure(bench.machine, bench.images, effort, bench.say)


def _timing(bench: Bench) -> Measured:
    return timing.measure(bench.machine, bench.images, timing.QUICK if bench.quick else timing.FULL, bench.say)


def _translator(bench: Bench) -> Measured:
    names = translator.QUICK_WORKLOADS if bench.quick else [*COMPUTE, *SYSTEM]
    with tempfile.TemporaryDirectory(prefix="gigogne-bench-") as cache:
        return translator.measure(everyone(bench.images, Path(cache)), names,
                                  translator.QUICK if bench.quick else translator.FULL, bench.say)


def _shared_page(bench: Bench) -> Measured:
    with tempfile.TemporaryDirectory(prefix="gigogne-bench-") as cache:
        return sharedpage.measure(everyone(bench.images, Path(cache)),
                                  translator.QUICK if bench.quick else sharedpage.FULL, bench.say)


def _kernel(bench: Bench) -> Measured:
    effort = wholerun.QUICK if bench.quick else wholerun.FULL
    return wholerun.measure(bench.images, translator.JUDGED, effort, bench.say)


PARTS: dict[str, Callable[[Bench], Measured]] = {
    "instructions": _instructions, "cpi": _cpi, "walks": _walks, "svm": _svm, "interpreter": _interpreter,
    "start": _start,
    "speed": _speed, "sampling": _sampling, "translator": _translator, "timing": _timing,
    "shared-page": _shared_page, "kernel": _kernel}
#: One run of each kind of measurement that needs neither peers nor an empty cache.
QUICK_PARTS = ("instructions", "cpi", "interpreter", "start", "speed")
