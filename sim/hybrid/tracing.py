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
from .platform import RtlPlatform

#: Clocks asked for at once, over those of the job's cycles.
_MARGIN, _MOST = 32, 4096
_NOW = ("now", "at_work", "io__valid", "io__write", "io__port", "io__wdata", "io__rdata", "intr", "vector")


class _Recording:
    """The part of an engine that `write_vcd` uses: to record its clocks is to run the computer they belong to."""

    def __init__(self, platform: RtlPlatform, go_on: Callable[[], bool]) -> None:
        self._platform = platform
        self._go_on = go_on
        self._names: list[str] = []
        self._parts: list[dict[str, np.ndarray]] = []
        self._wanted = self._recorded = 0
        self.cycle = 0

    def signals(self) -> list[SignalInfo]:
        return self._platform.engine.signals()

    def peek(self, name: str) -> int:
        return self._platform.engine.peek(name)

    def record(self, names: Sequence[str], n_cycles: int) -> dict[str, np.ndarray]:
        """At least so many clocks, unless the computer stops."""
        self._names = list(dict.fromkeys([*names, "stop", "at_work"]))
        self._parts, self._recorded, self._wanted = [], 0, n_cycles
        self._platform.recorder = self._run
        while self._recorded < n_cycles and self._go_on():
            pass
        self._platform.recorder = None
        self.cycle += self._recorded
        if not self._parts:
            return {name: np.zeros(0, np.uint8) for name in names}
        return {name: np.concatenate([part[name] for part in self._parts]) for name in names}

    def _run(self, engine: Engine, cycles: int) -> None:
        """One job of the devices, recorded as long as there is room. The mailbox's clocks are left out."""
        while self._recorded < self._wanted:
            asked = min(cycles + _MARGIN, _MOST)
            part = engine.record(self._names, asked)
            rows = part["at_work"] != 0
            self._parts.append({name: column[rows] for name, column in part.items()})
            self._recorded += int(np.count_nonzero(rows))
            if part["stop"][-1]:
                return
            if len(rows) < asked:
                signal.raise_signal(signal.SIGINT)
        while engine.burst(_MOST) == _MOST:
            pass


def write_device_waveform(platform: RtlPlatform, go_on: Callable[[], bool], path: Path | str, clocks: int, *,
                          everything: bool = True) -> int:
    """Run an emulated computer and write what its devices do, with a ``.gtkw`` savefile; give the clocks written.

    1. Clocks are those of the hardware, one for every cycle of the processor and some for every access, in which time
       stands still; ``now`` says the cycle.
    2. ``go_on`` executes some instructions; False says that the computer has stopped.
    3. Both files appear whole or not at all.
    """
    platform.stop_skipping()
    recording = _Recording(platform, go_on)
    infos = platform.engine.signals()
    devices = [(title, members, closed) for title, members, closed in signal_groups(infos) if title == "Devices"]
    grouped = [*_NOW, *(name for _title, members, _closed in devices for name in members)]
    signals = list(dict.fromkeys([*grouped, *all_signals(platform.engine)] if everything else grouped))
    path = Path(path)
    end = write_vcd(cast(Engine, recording), path, signals, (0, clocks), cycle_ns=CYCLE_NS)
    write_gtkw(path.with_suffix(".gtkw"), path.name,
               [Group("Processor", _NOW), *(Group(title, members, (), closed) for title, members, closed in devices)],
               {info.name: info.width for info in infos}, start_ns=0)
    return end
