"""A virtual CPU executed by a software engine: the interpreter or the translator."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any, TypeGuard

from rtl.isa.msrs import MSRS, Msr
from rtl.isa.registers import CR4_WRITABLE, Cr0, Seg
from vmm.engine.interpreter import Interpreter
from vmm.exchange import Devices, Exchange, Ports, Request, Space
from vmm.exits import (
    AnswerError,
    DebugCause,
    DebugExit,
    Exit,
    FailEntryExit,
    HltExit,
    HypercallExit,
    InterruptWindowExit,
    IoExit,
    LimitExit,
    MmioExit,
    Question,
    ShutdownExit,
)
from vmm.faults import Fault, Unfinished, Unsupported
from vmm.registers import Registers, SystemRegisters
from vmm.slots import SlotMemory
from vmm.statistics import Statistics
from vmm.vcpu import GuestDebug, VcpuError

_SLICE = 1 << 40
_CS = int(Seg.CS)
_DEBUG = (0, 1, 2, 3, 6, 7)


class SoftwareVcpu:
    """`vmm.vcpu.Vcpu` on a software engine; its time counts steps.

    Parameters
    ----------
    memory : the guest's physical memory. engine : makes what executes, from memory and ports.

    Members
    -------
    cpu : the engine. tsc : clocks of RDTSC; one per completed instruction by default.
    """

    def __init__(self, memory: SlotMemory, engine: Callable[[SlotMemory, Ports], Interpreter]):
        self._exchange = Exchange()
        self.cpu = engine(memory, Ports(self._exchange))
        self.cpu.monitor = self._hypercall
        memory.device = Devices(self._exchange)
        self._memory = memory
        self._debug = GuestDebug()
        self._passed: tuple[int, int] | None = None
        self._vector: int | None = None
        self._window = False
        self._open: Question | None = None
        self._ready: deque[Exit] = deque()
        self._unfinished: Callable[[], object] | None = None
        self._stepped = False
        self._counts: Counter[str] = Counter()

    # registers

    @property
    def registers(self) -> Registers:
        return Registers.of(self.cpu.state)

    @registers.setter
    def registers(self, values: Registers) -> None:
        state = self.cpu.state
        if values.eip != state.eip:
            state.halted = state.repeating = False
        values.put(state)
        self._changed()

    @property
    def system_registers(self) -> SystemRegisters:
        return SystemRegisters.of(self.cpu.state)

    @system_registers.setter
    def system_registers(self, values: SystemRegisters) -> None:
        values.put(self.cpu.state)
        self._changed()

    @property
    def debug_registers(self) -> tuple[int, ...]:
        return tuple(self.cpu.state.dr[number] for number in _DEBUG)

    @debug_registers.setter
    def debug_registers(self, values: tuple[int, ...]) -> None:
        for number, value in zip(_DEBUG, values, strict=True):
            self.cpu.state.dr[number] = value
        self._changed()

    def msr(self, number: int) -> int:
        try:
            return self.cpu.read_msr(number)
        except Fault:
            raise VcpuError(f"there is no MSR {number:#x} to read") from None

    def set_msr(self, number: int, value: int) -> None:
        try:
            self.cpu.write_msr(number, value)
        except Fault:
            writable = MSRS[Msr(number)].writable if number in MSRS else None
            raise VcpuError(f"there is no MSR {number:#x} to write" if writable is None else
                            f"MSR {number:#x} does not take {value:#x}, only bits of {writable:#x}") from None

    @property
    def tsc(self) -> Callable[[], int]:
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

    def _changed(self) -> None:
        """The state was set from outside: it is not what an unfinished instruction began with."""
        self.cpu.state.shutdown = False
        self._give_up()
        self.cpu.state_changed()

    def _give_up(self) -> None:
        self._open = self._unfinished = self._passed = None
        self._exchange.forget()
        self._ready = deque(ready for ready in self._ready if not _is_question(ready))

    # what comes from outside

    @property
    def can_interrupt(self) -> bool:
        return self._unfinished is None and self.cpu.can_interrupt

    def interrupt(self, vector: int) -> None:
        if not 0 <= vector < 256:
            raise VcpuError(f"interrupt vectors are 0 to 255, not {vector}")
        if self._vector is not None:
            raise VcpuError(f"interrupt {vector:#x} cannot be injected while {self._vector:#x} waits")
        self._vector = vector

    def request_interrupt_window(self) -> None:
        self._window = True

    def debug(self, wanted: GuestDebug) -> None:
        self._debug, self._passed = wanted, None
        if self.cpu.breakpoints != wanted.breakpoints:
            self.cpu.breakpoints = wanted.breakpoints

    def save(self) -> dict[str, Any]:
        if self._open is not None or self._unfinished is not None or self._ready:
            raise VcpuError("the state cannot be saved in the middle of an instruction; run on with a limit of 0")
        return self.cpu.state.to_dict() | {"interrupt": self._vector}

    def load(self, image: dict[str, Any]) -> None:
        vector = image["interrupt"]
        self.cpu.state.load_dict(image)
        self._vector = vector
        self._ready.clear()
        self._give_up()
        self.cpu.state_changed()

    def statistics(self) -> Statistics:
        found = self.cpu.statistics()
        found.slow_accesses = self._memory.slow_accesses
        found.exits = dict(self._counts)
        return found

    def close(self) -> None:
        """End what the engine does beside the guest."""
        self.cpu.close()

    # running

    def run(self, max_instructions: int | None = None, until: int | None = None) -> Exit:
        self._take_answer()
        cpu, state = self.cpu, self.cpu.state
        end = state.instructions + (_SLICE if max_instructions is None else max_instructions)
        while not self._ready:
            if self._unfinished is not None:
                self._do(self._unfinished)
                continue
            wrong = self._obstacle()
            if wrong is not None:
                return self._leave(wrong)
            left = end - state.instructions
            if until is not None:
                left = min(left, until - cpu.steps)
            if left <= 0:
                return self._leave(LimitExit())
            if cpu.can_interrupt and self._event():
                continue
            if cpu.is_idle:
                return self._leave(HltExit())
            if self._at_new_breakpoint():
                return self._leave(DebugExit(DebugCause.BREAKPOINT, self._linear()))
            self._advance(left)
        return self._leave(self._ready.popleft())

    def _leave(self, exit_: Exit) -> Exit:
        self._counts[type(exit_).__name__.removesuffix("Exit")] += 1
        if _is_question(exit_):
            self._open = exit_
        return exit_

    def _take_answer(self) -> None:
        question = self._open
        if question is None:
            return
        value = question.result if isinstance(question, HypercallExit) else question.value
        if value is None:
            raise AnswerError(f"{question} has to be answered before the next run")
        self._open = None
        self._exchange.answer(value)

    def _obstacle(self) -> Exit | None:
        """What keeps the processor from running at all."""
        state = self.cpu.state
        if state.shutdown:
            return ShutdownExit()
        if not state.cr0 & Cr0.PE:
            return FailEntryExit(f"real mode is not supported (CR0 is {state.cr0:#010x})")
        if state.cr4 & ~int(CR4_WRITABLE):
            return FailEntryExit(f"CR4 is {state.cr4:#010x}, and only bits of {int(CR4_WRITABLE):#x} exist")
        if not state.segments[_CS].type & 8:
            return FailEntryExit(f"CS holds a segment of type {state.segments[_CS].type:#x}, which is not code")
        return None

    def _event(self) -> bool:
        """Take the injected interrupt, or say that one could be taken. A guest's guest may have to be left first."""
        if self._vector is not None:
            self._do(self.cpu.interrupt_exit if self.cpu.intercepts_interrupts else self._deliver)
            return True
        if self._window:
            self._window = False
            self._ready.append(InterruptWindowExit())
            return True
        return False

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
        except Unsupported as error:
            self._ready.append(FailEntryExit(str(error)))

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
        except Unsupported as error:
            self._ready.append(FailEntryExit(str(error)))
            self._exchange.forget()
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


def _is_question(exit_: Exit) -> TypeGuard[Question]:
    return isinstance(exit_, (IoExit, MmioExit, HypercallExit)) and not exit_.is_answered


def _exit_of(request: Request) -> Exit:
    value = request.value if request.is_write else None
    if request.space is Space.PORT:
        return IoExit(port=request.address, size=request.size, is_write=request.is_write, value=value)
    return MmioExit(address=request.address, size=request.size, is_write=request.is_write, value=value)

