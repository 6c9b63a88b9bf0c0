"""A virtual CPU executed by a software engine: the interpreter or the translator."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from rtl.isa.exitcodes import ExitCode
from rtl.isa.msrs import MSRS, Msr
from rtl.isa.registers import Seg
from sim.interrupts import deferred_interrupt
from vmm.engine.interpreter import Interpreter
from vmm.exchange import Devices, Exchange, Ports, Request, Space
from vmm.exits import (
    DebugCause,
    DebugExit,
    Exit,
    FailEntryExit,
    HltExit,
    HypercallExit,
    IoExit,
    LimitExit,
    MmioExit,
    ShutdownExit,
    is_question,
)
from vmm.faults import Unfinished
from vmm.slots import SlotMemory
from vmm.state import CpuView
from vmm.statistics import Statistics
from vmm.vcpu import GuestDebug, Vcpu, refused

_SLICE = 1 << 40
#: Steps between two looks at who wants an end.
_BURST = 1 << 20
#: Exits that come again by themselves.
_REPEATED = (HltExit, ShutdownExit, FailEntryExit, LimitExit)
_CS = int(Seg.CS)
_INIT = int(ExitCode.INIT)
_APIC_BASE, _APIC_BASE_RESET = int(Msr.APIC_BASE), MSRS[Msr.APIC_BASE].reset


class SoftwareVcpu(Vcpu):
    """`vmm.vcpu.Vcpu` on a software engine; its time counts steps.

    A guest may have guests of its own by SVM: what comes from outside may leave them first.

    Parameters
    ----------
    memory : the guest's physical memory. engine : makes what executes, from memory and ports.

    Members
    -------
    cpu : the engine. tsc : one clock per completed instruction by default.
    """

    def __init__(self, memory: SlotMemory, engine: Callable[[SlotMemory, Ports], Interpreter]):
        super().__init__()
        self._exchange = Exchange()
        self.cpu = engine(memory, Ports(self._exchange))
        self.cpu.monitor = self._hypercall
        memory.device = Devices(self._exchange)
        self._memory = memory
        self._debug = GuestDebug()
        self._passed: tuple[int, int] | None = None
        self._ready: deque[Exit] = deque()
        self._unfinished: Callable[[], object] | None = None
        self._stepped = False

    # registers

    @property
    def tsc(self) -> Callable[[], int]:  # type: ignore[override]
        return self.cpu.clock

    @tsc.setter
    def tsc(self, clock: Callable[[], int]) -> None:
        self.cpu.clock = clock

    @property
    def instructions(self) -> int:
        return self.cpu.state.instructions

    @property
    def time(self) -> int:
        return self.cpu.steps

    def _read_msr(self, number: int) -> int:
        return self.cpu.read_msr(number)

    def _write_msr(self, number: int, value: int) -> None:
        self.cpu.write_msr(number, value)

    @property
    def _apic_base(self) -> int:
        return self.cpu.state.msrs.get(_APIC_BASE, _APIC_BASE_RESET)

    def _state(self) -> CpuView:
        return self.cpu.state

    def _put(self, state: CpuView) -> None:
        """It is not what an unfinished instruction began with."""
        self._open = self._unfinished = self._passed = None
        self._exchange.forget()
        self._ready = deque(ready for ready in self._ready if not is_question(ready))
        self.cpu.state_changed()

    def spill(self) -> None:
        """There is nothing between the processor and memory."""

    def refill(self) -> None:
        """Who writes tells the memory, which tells the engine."""

    # what comes from outside

    def _is_between(self) -> bool:
        return self._unfinished is None

    @property
    def _interruptible(self) -> bool:
        return self.cpu.can_interrupt

    def nmi(self) -> None:
        self.cpu.state.nmi_pending = True

    def init(self) -> None:
        self.cpu.state.init_pending = True

    def debug(self, wanted: GuestDebug) -> None:
        self._debug, self._passed = wanted, None
        if self.cpu.breakpoints != wanted.breakpoints:
            self.cpu.breakpoints = wanted.breakpoints

    @property
    def can_save(self) -> bool:
        return super().can_save and not self._ready

    def load(self, image: dict[str, Any]) -> None:
        super().load(image)
        self._ready.clear()

    def drain(self) -> list[Exit]:
        """What is still to be reported of an instruction that is done; `run` reports it no more."""
        if self._unfinished is not None:
            return []
        rest, self._ready = list(self._ready), deque()
        return rest

    def statistics(self) -> Statistics:
        found = self.cpu.statistics()
        found.slow_accesses = self._memory.slow_accesses
        found.exits = super().statistics().exits
        return found

    def close(self) -> None:
        self.cpu.close()

    # running

    def _go(self, max_instructions: int | None, until: int | None) -> Exit:
        """Raises KeyboardInterrupt; what was not reported then is reported by the next `run`."""
        with deferred_interrupt() as interrupted:
            left = self._to_exit(max_instructions, until, interrupted)
            if interrupted():
                if left is not None and not isinstance(left, _REPEATED):
                    self._ready.appendleft(left)
                left = None
        if left is None:
            raise KeyboardInterrupt
        return left

    def _to_exit(self, max_instructions: int | None, until: int | None, interrupted: Callable[[], bool]) -> Exit | None:
        """The next exit; None if the user wants an end before it."""
        cpu, state = self.cpu, self.cpu.state
        end = state.instructions + (_SLICE if max_instructions is None else max_instructions)
        while not self._ready:
            if interrupted():
                return None
            if self._unfinished is not None:
                self._do(self._unfinished)
                continue
            left = end - state.instructions
            if until is not None:
                left = min(left, until - cpu.steps)
            stop = self._before_instruction(left <= 0)
            if stop is not None:
                return stop
            if self._take_event():
                continue
            if cpu.is_idle:
                return HltExit()
            if self._at_new_breakpoint():
                return DebugExit(DebugCause.BREAKPOINT, self._linear())
            self._advance(min(left, _BURST))
        return self._ready.popleft()

    def _answer(self, value: int) -> None:
        self._exchange.answer(value)

    def _obstacle(self) -> Exit | None:
        state = self.cpu.state
        if state.shutdown:
            return ShutdownExit()
        return refused(state.cr0, state.cr4, state.segments[_CS].type)

    def _take_init(self) -> bool:
        state = self.cpu.state
        taken = state.init_pending and self.cpu.init_resets
        if taken:
            state.init_pending = False
        return taken

    def _take_event(self) -> bool:
        """Deliver what has come from outside, if the processor lets it in."""
        cpu, state = self.cpu, self.cpu.state
        if state.init_pending and cpu.init_exits:
            self._do(partial(cpu.interrupt_exit, _INIT))
        elif state.nmi_pending and cpu.nmi_allowed:
            self._do(cpu.accept_nmi)
        elif self._vector is not None and cpu.can_interrupt:
            self._do(cpu.interrupt_exit if cpu.intercepts_interrupts else self._deliver)
        else:
            return False
        return True

    def _deliver(self) -> None:
        assert self._vector is not None
        self.cpu.deliver_interrupt(self._vector)
        self._vector = None

    def _at_new_breakpoint(self) -> bool:
        """Whether to stop before the next instruction, once for each time that it is reached."""
        if not self.cpu.at_breakpoint:
            return False
        here = self.cpu.steps, self.cpu.state.eip
        seen, self._passed = self._passed, here
        return seen != here

    def _linear(self) -> int:
        return self.cpu.state.segments[_CS].base + self.cpu.state.eip & 0xFFFF_FFFF

    def _advance(self, limit: int) -> None:
        """Run at speed up to the next thing to look at, or do one step for the debugger."""
        if self._debug.single_step:
            self._do(self._single_step)
            return
        cpu = self.cpu
        cpu.line = self._vector is not None or self._window
        try:
            cpu.burst(limit)
        except Unfinished:
            self._do(cpu.step)

    def _single_step(self) -> None:
        self.cpu.step()
        self._stepped = True

    def _do(self, what: Callable[[], object]) -> None:
        """Do one instruction or delivery as far as it goes, and have its exits ready."""
        self._stepped = False
        self._unfinished = None
        try:
            with self._exchange.recording():
                what()
        except Unfinished:
            self._unfinished = what
        while self._exchange.posted:
            self._ready.append(_exit_of(self._exchange.posted.popleft()))
        if self._exchange.wanted is not None:
            self._ready.append(self._question(self._exchange.wanted))
        if self._stepped:
            self._ready.append(DebugExit(DebugCause.STEP, self._linear()))

    def _question(self, wanted: Request) -> Exit:
        if wanted.space is not Space.MONITOR:
            return _exit_of(wanted)
        state = self.cpu.state
        eax, ecx, edx, ebx, _, _, esi, edi = state.gpr
        return HypercallExit(eax, (ebx, ecx, edx, esi, edi), state.cpl)

    def _hypercall(self) -> None:
        result = self._exchange.request(Request(Space.MONITOR, False, 0, 4))
        self.cpu.state.gpr[0] = result


def _exit_of(request: Request) -> Exit:
    value = request.value if request.is_write else None
    if request.space is Space.PORT:
        return IoExit(port=request.address, size=request.size, is_write=request.is_write, value=value)
    return MmioExit(address=request.address, size=request.size, is_write=request.is_write, value=value)

