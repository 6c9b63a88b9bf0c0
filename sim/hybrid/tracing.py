"""Waveforms of the RTL devices of an emulated computer."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from ..engines import Engine, SignalInfo
from ..trace.gtkw import Group, write_gtkw
from ..trace.vcd import all_signals, write_vcd
from ..tracing import CYCLE_NS, signal_groups
from .platform import HorizonReached, RtlPlatform

#: Clocks asked for at once, over those of the job's cycles.
_MARGIN, _MOST = 32, 4096
_ENDLESS = 1 << 60
_NOW = ("now", "at_work", "io__valid", "io__write", "io__port", "io__wdata", "io__rdata", "intr", "vector")


def run_to(platform: RtlPlatform, cycle: int, go_on: Callable[[], bool]) -> bool:
    """Run a computer to a cycle; False if it stops before. ``go_on`` executes until the computer stops, or a while."""
    platform.horizon = cycle
    try:
        while platform.cycles < cycle:
            if not go_on():
                return False
    except HorizonReached:
        pass
    finally:
        platform.horizon = None
    return True


class _Recording:
    """The part of an engine that `write_vcd` uses: to record its clocks is to run the computer they belong to."""

    def __init__(self, platform: RtlPlatform, last: int, go_on: Callable[[], bool]) -> None:
        self._platform = platform
        self._last = last
        self._go_on = go_on
        self._names: list[str] = []
        self._parts: list[dict[str, np.ndarray]] = []
        self.cycle = 0

    def signals(self) -> list[SignalInfo]:
        return self._platform.engine.signals()

    def peek(self, name: str) -> int:
        return self._platform.engine.peek(name)

    def record(self, names: Sequence[str], n_cycles: int) -> dict[str, np.ndarray]:
        """The clocks of so many cycles of the processor: as many, or more."""
        platform = self._platform
        self._names = list(dict.fromkeys([*names, "stop", "at_work"]))
        self._parts = [{name: np.zeros(0, np.uint8) for name in names}]
        platform.recorder = self._run
        run_to(platform, min(platform.cycles + n_cycles, self._last), self._go_on)
        platform.recorder = None
        columns = {name: np.concatenate([part[name] for part in self._parts]) for name in names}
        self.cycle += len(columns[names[0]])
        return columns

    def _run(self, engine: Engine, cycles: int) -> None:
        """One job of the devices. The mailbox's clocks are left out."""
        while True:
            asked = min(cycles + _MARGIN, _MOST)
            part = engine.record(self._names, asked)
            rows = part["at_work"] != 0
            self._parts.append({name: column[rows] for name, column in part.items()})
            if part["stop"][-1]:
                return
            if len(rows) < asked:
                signal.raise_signal(signal.SIGINT)


def write_device_waveform(platform: RtlPlatform, go_on: Callable[[], bool], path: Path | str, last: int, *,
                          everything: bool = True) -> int:
    """Run an emulated computer to cycle ``last`` and write what its devices do on the way, with a ``.gtkw`` savefile.

    1. It gives the number of clocks written. Clocks are those of the hardware, one for every cycle of the processor and
       some for every access, in which time stands still; ``now`` says the cycle.
    2. ``go_on`` executes some instructions; False says that the computer has stopped, and ends the waveform.
    3. Both files appear whole or not at all.
    """
    platform.stop_skipping()
    recording = _Recording(platform, last, go_on)
    infos = platform.engine.signals()
    devices = [(title, members, closed) for title, members, closed in signal_groups(infos) if title == "Devices"]
    grouped = [*_NOW, *(name for _title, members, _closed in devices for name in members)]
    signals = list(dict.fromkeys([*grouped, *all_signals(platform.engine)] if everything else grouped))
    path = Path(path)
    end = write_vcd(cast(Engine, recording), path, signals, (0, _ENDLESS), cycle_ns=CYCLE_NS)
    write_gtkw(path.with_suffix(".gtkw"), path.name,
               [Group("Processor", _NOW), *(Group(title, members, (), closed) for title, members, closed in devices)],
               {info.name: info.width for info in infos}, start_ns=0)
    return end
