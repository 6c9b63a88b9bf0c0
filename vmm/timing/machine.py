"""The emulated computer on estimated time: virtual time is what the RTL would have taken, not a count of steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from vmm.devices.platform import PcPlatform
from vmm.engine.emulate import EmulatedMachine

from .costs import Costs
from .model import TimingModel
from .observer import TimedInterpreter

__all__ = ["TimedMachine"]


class TimedMachine(EmulatedMachine):
    """An `EmulatedMachine` whose devices live by the timing model.

    1. An access to a port takes place at the estimate of the moment; an interrupt is taken before the first run that
       begins when it is due or later.
    2. While the processor is halted, time goes on to the next event, and ``idle`` counts it.

    Parameters
    ----------
    ram : bytes of RAM, or the buffer. costs, caches : see `TimingModel`.
    """

    def __init__(self, ram: int | np.ndarray, costs: Costs, *, caches: bool = True,
                 platform: PcPlatform | None = None) -> None:
        super().__init__(ram, platform=platform)
        self.timed = TimedInterpreter(self.memory, self, costs, caches)
        self.cpu = self.timed
        self.cpu.clock = self._clock
        self.idle = 0
        self._passed = 0

    @property
    def model(self) -> TimingModel:
        return self.timed.model

    def _catch_up(self) -> None:
        cycles = self.model.cycles
        if cycles != self._passed:
            self.platform.advance(cycles - self._passed)
            self._passed = cycles

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
        wait = self.platform.next_event()
        due = None if wait is None else self.platform.cycles + wait
        could = cpu.interruptible
        self._port_used = False
        while state.instructions < end and (due is None or model.cycles < due or not cpu.between_runs):
            cpu.burst(1)
            if self._port_used or state.halted or state.shutdown or cpu.interruptible and not could \
                    or cpu.at_breakpoint:
                return
