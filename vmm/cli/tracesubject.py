"""What a waveform of the whole computer is of: the RTL by itself, or with a guest under the monitor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from rtl.isa.exitcodes import ExitCode
from sim.rtlmachine import RtlMachine
from sim.seek import Condition, seek
from sim.stop import Stop
from sim.tracing import write_waveform
from vmm.cli.monitored import Monitored
from vmm.cli.options import BadInput

if TYPE_CHECKING:
    from sim.bootinfo import Module
    from sim.engines import Engine, SignalInfo
    from sim.image import Image

#: Cycles recorded at once while a monitor goes between them.
_PIECE = 1024


def exit_code(text: str) -> int:
    """The exit code a user means by a name or a hexadecimal number, or BadInput."""
    if text.upper() in ExitCode.__members__:
        return ExitCode[text.upper()]
    try:
        return int(text.removesuffix("h").removesuffix("H"), 16)
    except ValueError:
        raise BadInput(
            f"'{text}' is neither the name of an exit code, as NPF or IOIO, nor a hexadecimal number") from None


@dataclass(frozen=True)
class Subject:
    """A computer and what to put into it. Cycles are those of the processor."""

    machine: RtlMachine | Monitored
    image: Image
    append: str
    modules: list[Module]

    @property
    def computer(self) -> RtlMachine:
        return self.machine.machine if isinstance(self.machine, Monitored) else self.machine

    @property
    def cycle(self) -> int:
        return self.computer.cycle

    def load(self) -> None:
        """Raises ImageError if the image does not fit."""
        self.machine.load(self.image, self.append, self.modules)
        self.computer.symbols = self.image.symbols

    def restart(self) -> None:
        self.machine.reset()
        self.load()

    def advance(self, cycles: int) -> Stop | None:
        """Run so many cycles; a stop if there is a reason."""
        return self.machine.advance(cycles)

    def seek(self, condition: Condition) -> int | Stop:
        """The cycle of an event, or why it does not come; the run is beyond it then."""
        return seek(self.computer, self.machine.advance, condition)

    def write(self, path: Path, last: int, everything: bool) -> int:
        """`write_waveform` from here on."""
        recording = cast("Engine", _Recording(self.machine)) if isinstance(self.machine, Monitored) else None
        return write_waveform(self.computer, path, last, everything=everything, engine=recording)


class _Recording:
    """The part of an engine that a waveform uses: to record cycles is to let the monitor run its guest for as many."""

    def __init__(self, machine: Monitored) -> None:
        self._machine = machine
        self._engine = machine.machine.engine

    @property
    def cycle(self) -> int:
        return self._engine.cycle

    def signals(self) -> list[SignalInfo]:
        return self._engine.signals()

    def peek(self, name: str) -> int:
        return self._engine.peek(name)

    def record(self, names: Sequence[str], n_cycles: int) -> dict[str, np.ndarray]:
        host, engine = self._machine.host, self._engine
        parts: list[dict[str, np.ndarray]] = []

        def burst(cycles: int) -> int:
            begin = engine.cycle
            parts.append(engine.record(names, min(cycles, _PIECE)))
            return engine.cycle - begin

        host.burst = burst
        try:
            self._machine.advance(n_cycles)
        finally:
            host.burst = engine.burst
        return {name: np.concatenate([part[name] for part in parts]) for name in names}
