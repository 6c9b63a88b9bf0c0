"""The emulated computer on estimated time: virtual time is what the RTL would have taken, not a count of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vmm.devices.protocol import Platform
from vmm.engine.emulate import SLICE, EmulatedMachine

from .costs import Costs
from .model import TimingModel
from .observer import TimedInterpreter

__all__ = ["TimedMachine", "Timing"]


@dataclass(frozen=True)
class Timing:
    """What a machine shall estimate by: measured costs, and whether to model caches and TLBs."""

    costs: Costs
    caches: bool = True


class TimedMachine(EmulatedMachine):
    """An `EmulatedMachine` whose devices live by the timing model.

    1. An access to a port takes place at the estimate of the moment; an interrupt is taken before the first run that
       begins when it is due or later.
    2. While the processor is halted, time goes on to the next event.

    Parameters
    ----------
    ram : bytes of RAM, or the buffer. timing : what to estimate by. processor : makes what executes.

    Members
    -------
    idle : cycles of the estimate spent in HLT.
    """

    def __init__(self, ram: int | np.ndarray, timing: Timing, *, platform: Platform | None = None,
                 processor: Callable[..., TimedInterpreter] = TimedInterpreter) -> None:
        super().__init__(ram, platform=platform)
        self.timed = processor(self.memory, self, timing.costs, timing.caches)
        self.cpu = self.timed
        self._connect()
        self.idle = 0
        self._passed = 0

    @property
    def model(self) -> TimingModel:
        return self.timed.model

    def counters(self) -> dict[str, int]:
        """What the model has counted, by the names of the performance counters."""
        state = self.model.state
        counted = {"halted": self.idle}
        if self.model.caches:
            counted |= {"icache_misses": state.code_misses, "dcache_misses": state.data_misses,
                        "itlb_misses": state.code_walks, "dtlb_misses": state.data_walks}
        return counted

    def _catch_up(self) -> None:
        cycles = self.model.cycles
        if cycles != self._passed:
            self.platform.advance(cycles - self._passed)
            self._passed = cycles

    def _come_to_the_present(self) -> None:
        # The model counts each instruction by itself, so that there is no need to begin this one again.
        self._catch_up()
        self._port_used = True

    def proceed(self) -> int:
        platform, state = self.platform, self.cpu.state
        self._latch()
        if platform.exit_value is not None or platform.reset_requested or platform.intr or state.nmi_pending \
                or state.init_pending:
            return 0
        self.cpu.line = False
        self.timed.deadline = self._due()
        return SLICE

    def _due(self) -> int | None:
        """The estimate at which a device could next raise an interrupt."""
        wait = self.platform.next_event()
        return None if wait is None else self.platform.cycles + wait

    def _sleep(self, cycles: int) -> None:
        self.model.add(cycles)
        self.idle += cycles
        self._catch_up()

    def load(self, image: dict[str, Any]) -> None:
        super().load(image)
        # Time goes on from where the devices are.
        self.model.state.cycles = self._passed = self.platform.cycles

    def _run_to_event(self, end: int) -> None:
        cpu, state, model = self.timed, self.timed.state, self.model
        due = self._due()
        could = cpu.interruptible
        if self.platform.intr and could:
            # It came in the middle of a run, and is taken when that ends.
            due = model.cycles
        cpu.line, cpu.deadline = self.platform.intr, due
        self._port_used = False
        while state.instructions < end and (due is None or model.cycles < due or not cpu.between_runs):
            cpu.burst(end - state.instructions)
            if self._port_used or state.halted or state.shutdown or cpu.interruptible and not could \
                    or cpu.at_breakpoint or (state.nmi_pending or state.init_pending) and (
                        cpu.nmi_allowed or cpu.init_resets):
                return
