"""The emulated computer behind the face all machines share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Set
from dataclasses import replace

import numpy as np

from rtl.isa.devices import DeviceConfig
from sim.bootinfo import Module
from sim.image import Image
from sim.interrupts import deferred_interrupt
from sim.machine import ConsoleSink, check_ram_size
from sim.savefile import SavedState
from sim.stop import ArchState, Reason, Stop
from sim.symbols import SymbolTable
from sim.typedstop import typed_stop
from vmm.cli.software import REASONS, pass_on
from vmm.devices.platform import PcPlatform
from vmm.devices.protocol import Platform
from vmm.engine.emulate import EmulatedMachine, StopInfo, StopReason
from vmm.engine.interpreter import Interpreter
from vmm.memory import PAGE, new_ram

#: Instructions between two looks at the console and at Ctrl-C, at least, and the seconds they should take at least.
_SLICE, _SHORT = 100_000, 0.05


class Emulated:
    """`sim.machine.Machine` on the interpreter or the translator. One step is one cycle of its virtual time.

    ``run`` takes its limit in completed instructions: that is what they count. It stops before an
    instruction at one of ``breakpoints``, linear addresses, unless it begins there.

    Parameters
    ----------
    ram_bytes : size of RAM. console : where console bytes go. processor : what executes. platform : the devices.

    Members
    -------
    on_slice : called several times a second while the machine runs.
    """

    def __init__(self, *, ram_bytes: int = 16 << 20, console: ConsoleSink | None = None,
                 ram: np.ndarray | None = None, processor: Callable[..., Interpreter] = Interpreter,
                 platform: Callable[[DeviceConfig], Platform] = PcPlatform) -> None:
        if ram is None:
            check_ram_size(ram_bytes)
            ram = new_ram(ram_bytes)
        self.ram = ram
        self.machine = EmulatedMachine(
            ram, platform=platform(replace(DeviceConfig(), ram_bytes=ram.nbytes)), processor=processor)
        self.console = console or (lambda _data: None)
        self.on_slice: Callable[[], None] = lambda: None
        self.symbols = SymbolTable()
        self._code: dict[int, bytes] = {}

    def load(self, image: Image, command_line: str = "", modules: Sequence[Module] = ()) -> None:
        """Place the image and set the registers it starts with. Raises ImageError if it does not fit."""
        boot = image.place(self.ram, command_line, modules)
        self.symbols = image.symbols
        state = self.machine.cpu.state
        state.gpr[0], state.gpr[3], state.eip = boot.eax, boot.ebx, boot.eip
        self.machine.cpu.state_changed()

    @property
    def cycle(self) -> int:
        return self.machine.platform.cycles

    @property
    def instructions(self) -> int:
        return self.machine.cpu.state.instructions

    def counters(self) -> dict[str, int]:
        return {"cycles": self.cycle, "instructions": self.instructions} | self.machine.cpu.statistics().counters()

    def state(self) -> ArchState:
        return self.machine.cpu.state.to_dict()

    def set_state(self, state: ArchState) -> None:
        self.machine.cpu.state.load_dict(state)
        self.machine.cpu.state_changed()

    @property
    def breakpoints(self) -> Set[int]:
        return self.machine.cpu.breakpoints

    @breakpoints.setter
    def breakpoints(self, addresses: Set[int]) -> None:
        self.machine.cpu.breakpoints = addresses

    def memory_image(self) -> np.ndarray:
        return self.ram.copy()

    def save(self) -> SavedState:
        """All of the computer, for this or any other machine."""
        image = self.machine.save()
        return SavedState(self.cycle, image["cpu"], image["devices"], self.ram.copy())

    def leave(self) -> bool:
        """Before the process ends: keep what the engine keeps; whether it is still at work, and cannot be stopped."""
        return self.machine.cpu.leave()

    def hand_over(self) -> SavedState:
        """The state for another machine on the same RAM buffer, without a copy. `restore` brings it back."""
        image = self.machine.save()
        self._code = self._code_pages()
        return SavedState(self.cycle, image["cpu"], image["devices"], self.ram)

    def restore(self, saved: SavedState) -> None:
        """Go on from a saved state. Raises MachineError if it has another amount of RAM.

        A state that was handed over has this machine's RAM buffer, and nothing is copied.
        """
        saved.check_ram(self.ram)
        if saved.ram is not self.ram:
            self._code = self._code_pages()
            self.ram[:] = saved.ram
        memory = self.machine.memory
        for page, code in self._code.items():
            for offset, size in _differences(code, memory.blob(page * PAGE, PAGE)):
                if memory.on_write is not None:
                    memory.on_write(page * PAGE + offset, size)
        if saved.said:
            self.console(saved.said)
        self.machine.load({"cpu": saved.cpu, "devices": saved.devices})

    def _code_pages(self) -> dict[int, bytes]:
        """What the pages hold whose code the engine knows; it must be told when another machine changes one."""
        memory = self.machine.memory
        return {page: memory.blob(page * PAGE, PAGE) for page in memory.watched}

    def run(self, max_cycles: int | None = None) -> Stop:
        end = None if max_cycles is None else self.instructions + max_cycles
        size = _SLICE
        with deferred_interrupt() as interrupted:
            while end is None or self.instructions < end:
                slice_ = size if end is None else min(size, end - self.instructions)
                begin = time.perf_counter()
                info = self.machine.run(slice_)
                pass_on(self.machine.platform, self.console)
                if info.reason is not StopReason.LIMIT:
                    return self._typed(info)
                self.on_slice()
                # How a run is cut does not change it, so that its pieces may follow the speed of who executes.
                if time.perf_counter() - begin < _SHORT:
                    size *= 2
                elif size > _SLICE:
                    size //= 2
                if interrupted():
                    return self._stop(Reason.USER_INTERRUPT)
        return self._stop(Reason.CYCLE_LIMIT)

    def _typed(self, info: StopInfo) -> Stop:
        return self._stop(REASONS[info.reason], info.value)

    def _stop(self, reason: Reason, value: int | None = None, detail: str = "") -> Stop:
        return typed_stop(reason, self.cycle, self.instructions, self.state(), self.symbols,
                          self.machine.memory.blob, value, detail)


def _differences(old: bytes, new: bytes) -> list[tuple[int, int]]:
    """Offset and size of the parts in which two pages differ."""
    if old == new:
        return []
    places = np.flatnonzero(np.frombuffer(old, np.uint8) != np.frombuffer(new, np.uint8))
    parts = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return [(int(part[0]), len(part)) for part in parts]
