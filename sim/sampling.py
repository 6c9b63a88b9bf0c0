"""Estimating the cycles of a long run from short windows of it on the RTL.

After SMARTS (Wunderlich et al., ISCA 2003):

1. Of every `period` instructions, one window is executed on the RTL, at an instruction drawn evenly with a fixed seed,
   so that a guest that repeats itself does not fall in step with it. All else is executed by the fast machine.
2. The RTL begins with empty caches, TLBs and predictors about `warmup` cycles before the window. They do not count.
3. A window is a number of instructions, not of cycles: a window that ended with a cycle would favour whatever takes
   long. It is the number that takes `cycles` at the CPI of the samples before it, and so is the warm-up's.
4. CPI is the mean of those of the windows; its error is half the width of the 95 % confidence interval by Student's t.
   The interval knows of the spread of the windows, not of what their warm-up was too short for.
5. Cycles in HLT do not count: they are the length of a wait.
6. Between windows the devices live on the fast machine's time.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtl.isa.msrs import PerfEvent

from .confidence import mean_and_error
from .interrupts import deferred_interrupt
from .machine import MachineError
from .stop import Reason, Stop
from .switching import Transferable, parse_count, switch

if TYPE_CHECKING:
    from .rtlmachine import RtlMachine

_CYCLES, _INSTRUCTIONS, _HALTED = (
    event.name.lower() for event in (PerfEvent.CYCLES, PerfEvent.INSTRUCTIONS, PerfEvent.HALTED))
#: Cycles in which the caches, TLBs and predictors of the default configuration become as good as warm; measured.
WARMUP = 40_000
#: CPI by which the first window is laid out.
_FIRST_CPI = 2.0


@dataclass(frozen=True)
class SamplePlan:
    """How to sample: see the rules of the module. A window must fit in its period, else MachineError is raised."""

    cycles: int
    period: int
    warmup: int = WARMUP

    def __post_init__(self) -> None:
        # No instruction takes less than a cycle.
        if self.period < self.cycles + self.warmup:
            raise MachineError(f"{self.cycles} cycles after {self.warmup} of warm-up do not fit in every {self.period} "
                               f"instructions: take at least {self.cycles + self.warmup}")


def parse_plan(text: str, warmup: int = WARMUP) -> SamplePlan:
    """The plan "N/M": N cycles of every M instructions.

    Raises
    ------
    MachineError
        It is not of that form, or cannot be.
    """
    parts = [parse_count(part) for part in text.split("/")]
    if len(parts) != 2 or not parts[0] or not parts[1]:
        raise MachineError(f"'{text}' is not a sampling plan N/M: N cycles of every M instructions, as 10k/10M")
    return SamplePlan(parts[0], parts[1], warmup)


@dataclass(frozen=True)
class Sample:
    """What a window measured; ``first`` is the number of its first instruction."""

    first: int
    counters: Mapping[str, int]

    @property
    def instructions(self) -> int:
        return self.counters[_INSTRUCTIONS]

    @property
    def cpi(self) -> float:
        return (self.counters[_CYCLES] - self.counters[_HALTED]) / self.instructions


@dataclass(frozen=True)
class Estimate:
    """What the samples say of a run of ``instructions``; errors are those of the 95 % confidence interval."""

    samples: int
    instructions: int
    cpi: float
    cpi_error: float

    @property
    def cycles(self) -> float:
        return self.cpi * self.instructions

    @property
    def relative_error(self) -> float:
        return self.cpi_error / self.cpi


def estimate(samples: Sequence[Sample], instructions: int) -> Estimate | None:
    """The estimate for a run of so many instructions; None without samples."""
    if not samples:
        return None
    return Estimate(len(samples), instructions, *mean_and_error([sample.cpi for sample in samples]))


class Sampler:
    """A guest executed by a fast machine, and now and then by the RTL.

    Parameters
    ----------
    software : has the guest, and begins. rtl : whatever state it is in, on the same RAM buffer.

    Members
    -------
    samples : the windows measured so far; one that the end of the guest cuts short is not among them.
    rtl_cycles : cycles simulated, warm-up included.
    on_slice : called now and then while it runs.
    """

    def __init__(self, software: Transferable, rtl: RtlMachine, plan: SamplePlan, seed: int = 0) -> None:
        self.software = software
        self.rtl = rtl
        self.plan = plan
        self.samples: list[Sample] = []
        self.rtl_cycles = 0
        self.on_slice: Callable[[], None] = lambda: None
        self._places = random.Random(seed)
        self._on_rtl = False

    @property
    def current(self) -> Transferable:
        """The machine that has the guest."""
        return self.rtl if self._on_rtl else self.software

    @property
    def instructions(self) -> int:
        return self.current.instructions

    @property
    def cpi(self) -> float:
        """The mean of the samples so far, or a guess."""
        return statistics.fmean(sample.cpi for sample in self.samples) if self.samples else _FIRST_CPI

    def run(self, max_instructions: int | None = None) -> Stop:
        """Run until the guest or the user ends it, or at least so many more instructions have completed."""
        begin = self.instructions
        end = None if max_instructions is None else begin + max_instructions
        with deferred_interrupt() as interrupted:
            while end is None or self.instructions < end:
                cpi = max(self.cpi, 1.0)
                first = begin + self._places.randrange(self.plan.period)
                target = first - round(self.plan.warmup / cpi)
                stop = self._run_fast(target if end is None else min(target, end))
                if stop is None and (end is None or self.instructions < end):
                    stop = self._window(first, max(round(self.plan.cycles / cpi), 1), interrupted)
                if stop is not None:
                    return stop
                self.on_slice()
                begin += self.plan.period
        return self.software.run(0)

    def _run_fast(self, target: int) -> Stop | None:
        if target <= self.software.instructions:
            return None
        stop = self.software.run(target - self.software.instructions)
        return None if stop.reason is Reason.CYCLE_LIMIT else stop

    def _window(self, first: int, length: int, interrupted: Callable[[], bool]) -> Stop | None:
        """Measure ``length`` instructions from number ``first`` on, and come back."""
        rtl = self.rtl
        switch(self.software, rtl)
        self._on_rtl = True
        begin = rtl.cycle
        stop = self._advance_to(first, interrupted)
        if stop is None:
            before = rtl.counters()
            stop = self._advance_to(rtl.instructions + length, interrupted)
            after = rtl.counters()
            if stop is None:
                self.samples.append(Sample(first, {name: after[name] - before[name] for name in after}))
                stop = switch(rtl, self.software)
        self.rtl_cycles += rtl.cycle - begin
        self._on_rtl = stop is not None
        return stop

    def _advance_to(self, instruction: int, interrupted: Callable[[], bool]) -> Stop | None:
        """Run the RTL until so many instructions have completed since the start."""
        # At most one completes in a cycle, so that this never goes too far.
        while (left := instruction - self.rtl.instructions) > 0:
            stop = self.rtl.advance(left)
            if stop is not None:
                return stop
            if interrupted():
                return self.rtl.stop_here(Reason.USER_INTERRUPT)
        return None
