"""`gigogne trace --technique emulate|dbt`: a waveform of the RTL devices of an emulated processor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sim.hybrid.platform import RtlPlatform
from sim.hybrid.tracing import run_to, write_device_waveform
from sim.stop import Reason, Stop
from vmm.cli.emulated import Emulated
from vmm.cli.options import BadInput, note
from vmm.cli.status import Status
from vmm.cli.techniques import make_computer

if TYPE_CHECKING:
    from sim.bootinfo import Module
    from sim.image import Image

#: Instructions between two looks at Ctrl-C while a waveform is recorded.
_PIECE = 256


@dataclass(frozen=True)
class Window:
    """What the waveform shows: cycles from `first`, or from `before` cycles before a place, to `last` or for `cycles`.

    `place` is an address and what the user calls it.
    """

    first: int
    last: int | None
    cycles: int
    place: tuple[int, str] | None
    before: int


@dataclass(frozen=True)
class Guest:
    """What runs, and on what."""

    image: Image
    append: str
    modules: list[Module]
    technique: str
    engine: str
    memory: int

    def start(self) -> Emulated:
        """The computer before its first instruction."""
        machine = make_computer(self.technique, engine=self.engine, ram_bytes=self.memory,
                                console=lambda _data: None, devices="rtl")
        assert isinstance(machine, Emulated)
        machine.load(self.image, self.append, self.modules)
        return machine


def trace_devices(guest: Guest, path: Path, window: Window, everything: bool) -> None:
    """Write what the devices do in the window."""
    first, machine = window.first, guest.start()
    if window.place is not None:
        address, name = window.place
        machine.breakpoints = {address}
        stop = machine.run()
        if stop.reason is not Reason.BREAKPOINT:
            leave(stop, f"Execution never reaches {name}")
        note(f"{name} is reached at cycle {machine.cycle}")
        first, machine = max(machine.cycle - window.before, 0), guest.start()
    last = window.last or first + window.cycles
    if last <= first:
        raise BadInput(f"The window from cycle {first} to {last} is empty")
    platform = machine.machine.platform
    assert isinstance(platform, RtlPlatform)
    stops: list[Stop] = []

    def go_on(instructions: int | None = None) -> bool:
        stops[:] = [machine.run(instructions)]
        return stops[-1].reason is Reason.CYCLE_LIMIT

    if not run_to(platform, first, go_on):
        leave(stops[-1], f"The run ends before cycle {first}")
    clocks = write_device_waveform(platform, lambda: go_on(_PIECE), path, last, everything=everything)
    note(f"cycles {first} to {machine.cycle - 1} in {path}, {clocks} clocks of the devices; "
         f"gtkwave {path.with_suffix('.gtkw')} shows them")


def leave(stop: Stop, sentence: str) -> NoReturn:
    """The window is never reached: say so, or show the state if it was Ctrl-C."""
    if stop.reason is Reason.USER_INTERRUPT:
        note(stop.describe())
        raise SystemExit(Status.INTERRUPTED)
    raise BadInput(f"{sentence}: {stop.reason.value} at cycle {stop.cycle}")
