"""The emulated computer on the time of the timing model, behind the face all machines share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rtl.isa.devices import DeviceConfig
from sim.machine import ConsoleSink
from vmm.cli.emulated import Emulated
from vmm.devices.platform import PcPlatform
from vmm.devices.protocol import Platform
from vmm.timing.machine import TimedMachine, Timing
from vmm.timing.observer import TimedInterpreter

__all__ = ["Estimated"]


class Estimated(Emulated):
    """`Emulated`, but its cycles are the estimate of what the RTL would take.

    Parameters
    ----------
    timing : what to estimate by. translate : by translated code, which estimates the same.

    Members
    -------
    idle : cycles of the estimate spent in HLT.
    """

    def __init__(self, timing: Timing, *, ram_bytes: int = 16 << 20, console: ConsoleSink | None = None,
                 ram: np.ndarray | None = None, platform: Callable[[DeviceConfig], Platform] = PcPlatform,
                 translate: bool = False) -> None:
        super().__init__(ram_bytes=ram_bytes, console=console, ram=ram, platform=platform)
        processor = _translator() if translate else TimedInterpreter
        self.machine = self.timed = TimedMachine(
            self.ram, timing, platform=self.machine.platform, processor=processor)

    @property
    def idle(self) -> int:
        return self.timed.idle

    def counters(self) -> dict[str, int]:
        return super().counters() | self.timed.counters()


def _translator() -> type[TimedInterpreter]:
    from vmm.engine.dbt.timed import TimedTranslator

    return TimedTranslator
