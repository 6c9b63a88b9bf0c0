"""The golden model as the reference of lockstep."""

from __future__ import annotations

import numpy as np

from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode
from rtl.isa.platform import REGION, MemoryRange
from sim.comparison import IoReplay, Step
from sim.disassembly import MAX_LENGTH
from sim.paging import read_linear
from sim.stop import ArchState
from vmm.engine.interpreter import Interpreter, Retired
from vmm.memory import PhysicalMemory, Region

_M64 = (1 << 64) - 1


class GoldenReference:
    """`sim.lockstep.Reference` on the interpreter."""

    def __init__(self, ram: np.ndarray, state: ArchState, ports: IoReplay) -> None:
        self.ram = ram
        self.time = 0
        self._memory = PhysicalMemory(ram)
        for name in ("IO_APIC", "LOCAL_APIC"):
            self._memory.map_region(_replayed(REGION[name], ports))
        self.cpu = Interpreter(self._memory, ports)
        self.cpu.state.load_dict(state)
        self.cpu.state_changed()
        self.cpu.record = True
        self.cpu.clock = self._clock
        self.cpu.counter = lambda _event: self.time

    def step(self) -> Step:
        return _step(self.cpu.step())

    def _clock(self) -> int:
        """What makes the next read of the time-stamp counter give `time`."""
        state = self.cpu.state
        guest = state.svm.tsc_offset if state.svm.guest else 0
        return self.time - state.tsc_offset - guest & _M64

    def interrupt(self, vector: int) -> Step | None:
        """An interrupt: the event that VMRUN injects, the guest's virtual interrupt, else one from outside.

        Vector 2 is an NMI where one may be taken.
        """
        cpu = self.cpu
        if cpu.state.svm.event or cpu.virtual_interrupt and vector == cpu.state.svm.vector:
            return _step(cpu.step())
        if vector == Vector.NMI and cpu.nmi_allowed:
            return _step(cpu.accept_nmi())
        if not cpu.can_interrupt:
            return None
        return _step(cpu.deliver_interrupt(vector))

    def interrupt_exit(self, code: int) -> Step | None:
        cpu = self.cpu
        allowed = {ExitCode.INTR: cpu.can_interrupt and cpu.intercepts_interrupts,
                   ExitCode.NMI: cpu.nmi_allowed and cpu.intercepts_nmi, ExitCode.INIT: cpu.init_exits}
        return _step(cpu.interrupt_exit(code)) if allowed[ExitCode(code)] else None

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


def _step(retired: Retired) -> Step:
    return Step(retired.cause.value, retired.eip, retired.vector, retired.error, retired.writes)
