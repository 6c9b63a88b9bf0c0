"""The golden model as the reference of lockstep."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode
from rtl.isa.platform import REGION, MemoryRange
from sim.comparison import IoReplay, Step, Undecided
from sim.disassembly import MAX_LENGTH
from sim.paging import read_linear
from sim.stop import ArchState
from vmm.engine.interpreter import Interpreter, Retired
from vmm.memory import PhysicalMemory, Region
from vmm.paging.staleness import WaryMmu

_M64 = (1 << 64) - 1


class _Processor(Interpreter):
    """The golden model, wary of translations that its guest leaves open."""

    def make_guest_mmu(self, capacity: int) -> WaryMmu:
        self.wary = WaryMmu(self.state, self.memory, capacity)
        return self.wary


class GoldenReference:
    """`sim.lockstep.Reference` on the interpreter."""

    def __init__(self, ram: np.ndarray, state: ArchState, ports: IoReplay) -> None:
        self.ram = ram
        self.time = 0
        self._memory = PhysicalMemory(ram)
        for name in ("IO_APIC", "LOCAL_APIC"):
            self._memory.map_region(_replayed(REGION[name], ports))
        self.cpu = _Processor(self._memory, ports)
        self.cpu.state.load_dict(state)
        self.cpu.state_changed()
        self.cpu.record = True
        self.cpu.clock = self._clock
        self.cpu.counter = lambda _event: self.time

    def reached(self) -> set[int]:
        wary = self.cpu.wary
        found, wary.reached = wary.reached, set()
        return found

    def step(self) -> Step:
        return self._do(self.cpu.step)

    def _do(self, what: Callable[[], Retired]) -> Step:
        wary = self.cpu.wary
        try:
            retired = what()
        finally:
            if wary.open_used:
                raise Undecided("a guest uses a page that it has not invalidated after a change of its tables")
        if retired.writes:
            wary.stored(retired.writes)
        return Step(retired.cause.value, retired.eip, retired.vector, retired.error, retired.writes)

    def _clock(self) -> int:
        """What makes the next read of the time-stamp counter give `time`."""
        state = self.cpu.state
        guest = state.svm.tsc_offset if state.svm.guest else 0
        return self.time - state.tsc_offset - guest & _M64

    def interrupt(self, vector: int) -> Step | None:
        """The event that VMRUN injects, the guest's virtual interrupt, an NMI where one may be taken."""
        cpu = self.cpu
        if cpu.state.svm.event or cpu.virtual_interrupt and vector == cpu.state.svm.vector:
            return self._do(cpu.step)
        return self._do(cpu.accept_nmi) if vector == Vector.NMI and cpu.nmi_allowed else None

    def external_interrupt(self, vector: int) -> Step | None:
        cpu = self.cpu
        return self._do(lambda: cpu.deliver_interrupt(vector)) if cpu.can_interrupt else None

    def interrupt_exit(self, code: int) -> Step | None:
        cpu = self.cpu
        allowed = {ExitCode.INTR: cpu.can_interrupt and cpu.intercepts_interrupts,
                   ExitCode.NMI: cpu.nmi_allowed and cpu.intercepts_nmi, ExitCode.INIT: cpu.init_exits}
        return self._do(lambda: cpu.interrupt_exit(code)) if allowed[ExitCode(code)] else None

    def registers(self) -> tuple[list[int], int, int, int]:
        state = self.cpu.state
        return list(state.gpr), state.eip, state.eflags, state.cpl

    def state(self) -> ArchState:
        return self.cpu.state.to_dict()

    def code(self, eip: int) -> bytes:
        state = self.state()
        return read_linear(self._memory.blob, state, state["segments"]["cs"]["base"] + eip & 0xFFFF_FFFF, MAX_LENGTH)


def _replayed(window: MemoryRange, ports: IoReplay) -> Region:
    """Device memory that reads as on the RTL. Writes are compared like all others."""
    return Region(window.base, window.size, lambda offset, size: ports.load(window.base + offset, size),
                  lambda offset, size, value: None)
