"""A virtual CPU in guest mode of the simulated processor: `vmm.vcpu.Vcpu` on SVM with nested paging."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from rtl.isa.apic import APIC_BASE_ENABLE
from rtl.isa.cpuid import ECX_HYPERVISOR, cpuid
from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode, exit_name
from rtl.isa.msrs import MSRS, Msr
from rtl.isa.registers import Eflags
from rtl.isa.svm import (
    EVENT_EV,
    EVENT_V,
    INTERRUPT_SHADOW,
    EventType,
    IoInfo,
    Vmcb,
)
from vmm import hypercall
from vmm.engine.interpreter import Interpreter
from vmm.engine.vcpu import SoftwareVcpu
from vmm.exits import (
    AnswerError,
    Exit,
    FailEntryExit,
    HltExit,
    HypercallExit,
    InterruptWindowExit,
    IoExit,
    LimitExit,
    MmioExit,
    ShutdownExit,
)
from vmm.monitor.area import Area
from vmm.monitor.host import Host
from vmm.monitor.world import World
from vmm.registers import Registers, SystemRegisters
from vmm.slots import MemorySlot, SlotMemory
from vmm.state import EAX, EBX, ECX, EDX, CpuState
from vmm.statistics import Statistics
from vmm.vcpu import GuestDebug, VcpuError

_M32, _M64 = (1 << 32) - 1, (1 << 64) - 1
_DEBUG = (0, 1, 2, 3, 6, 7)
#: L0 to G3 of DR7.
_ANY_BREAKPOINT = 0xFF
_EVENT_TYPE_SHIFT = 8
_INVALID = _M32


class SvmVcpu:
    """The guest of a host; its memory is the host's from 0 up to the monitor's area, at the same addresses.

    1. Time is cycles of the simulated processor, transitions between the worlds included; what the monitor does takes
       none, or `world.exit_cost` at each exit. `until` is exact: in that cycle the processor gets an interrupt
       request, which makes it leave the guest at the next instruction. At least one instruction is done.
    2. Injected interrupts are virtual interrupts (V_IRQ), and the interrupt window is the exit of one.
    3. Ports, CPUID, MSRs, HLT and hypercalls are handled by what the exit says; an instruction that accesses memory
       where none is, or moves a string to or from a port, is executed by the interpreter on the guest's state.
    4. Cycles, not instructions, limit a run.

    Parameters
    ----------
    host : the computer, with AREA_BYTES of RAM beyond the guest's. size : bytes of the guest's memory, whole pages.
    large : map it with 4 MiB pages where they fit.

    Members
    -------
    world : the way into the guest and back. memory : the guest's physical memory, up to date after `host.spill`.
    tsc : clocks of the guest's time-stamp counter, before the guest has set it.
    take_nmi : asked whether a non-maskable interrupt has come.
    on_apic_enable : told when IA32_APIC_BASE is written: whether the local APIC is enabled.
    """

    def __init__(self, host: Host, size: int, large: bool = True) -> None:
        self.host = host
        self.world = World(host, Area(size, large))
        self.control = self.world.control
        self.tsc: Callable[[], int] = lambda: host.cycle
        self.on_apic_enable: Callable[[bool], None] = lambda _enabled: None
        self._tsc_set, self._apic_base = 0, MSRS[Msr.APIC_BASE].reset
        self.memory = SlotMemory(host.ram[:size // 4])
        self.memory.map(MemorySlot(0, size))
        self._emulator = SoftwareVcpu(self.memory, Interpreter)
        self._emulating = False
        self.take_nmi: Callable[[], bool] = lambda: False
        self._halted = self._shut_down = self._window = self._in_nmi = False
        self._done = 0
        self._vector: int | None = None
        self._event = 0
        self._open: Exit | None = None
        self._finish: Callable[[int], None] | None = None
        self._counts: Counter[str] = Counter()

    # registers

    def _state(self) -> CpuState:
        """All of the guest's state; VMSAVE is asked of the stub."""
        state = self.world.state()
        state.halted, state.shutdown, state.instructions = self._halted, self._shut_down, self.instructions
        return state

    def _set_state(self, state: CpuState) -> None:
        self.world.set_state(state)
        self._halted, self._shut_down = state.halted, state.shutdown
        self._open, self._finish, self._emulating = None, None, False

    @property
    def registers(self) -> Registers:
        return Registers.of(self._state())

    @registers.setter
    def registers(self, values: Registers) -> None:
        state = self._state()
        values.put(state)
        state.halted = state.shutdown = False
        self._set_state(state)

    @property
    def system_registers(self) -> SystemRegisters:
        return SystemRegisters.of(self._state())

    @system_registers.setter
    def system_registers(self, values: SystemRegisters) -> None:
        state = self._state()
        values.put(state)
        state.shutdown = False
        self._set_state(state)

    @property
    def debug_registers(self) -> tuple[int, ...]:
        return tuple(self._state().dr[number] for number in _DEBUG)

    @debug_registers.setter
    def debug_registers(self, values: tuple[int, ...]) -> None:
        state = self._state()
        for number, value in zip(_DEBUG, values, strict=True):
            state.dr[number] = value
        self._set_state(state)

    def msr(self, number: int) -> int:
        if number == Msr.TSC:
            return self.tsc() + self._tsc_set & _M64
        value = self._state().msrs.get(number)
        if value is None:
            raise VcpuError(f"there is no MSR {number:#x} to read")
        return value

    def set_msr(self, number: int, value: int) -> None:
        if number == Msr.TSC:
            self._tsc_set = value - self.tsc()
            return
        state = self._state()
        if number not in state.msrs or not 0 <= value <= MSRS[Msr(number)].writable:
            raise VcpuError(f"there is no MSR {number:#x} to write {value:#x} to")
        state.msrs[number] = value
        self._set_state(state)

    def save(self) -> dict[str, Any]:
        if self._open is not None or self._emulating:
            raise VcpuError("the state cannot be saved in the middle of an instruction; run on with a limit of 0")
        return self._state().to_dict() | {"interrupt": self._vector}

    def load(self, image: dict[str, Any]) -> None:
        state, vector = CpuState.from_dict(image), image["interrupt"]
        self._set_state(state)
        self._vector = vector

    @property
    def instructions(self) -> int:
        return self.host.guest_instructions + self._done

    @property
    def time(self) -> int:
        return self.host.cycle + self.world.paid

    @property
    def can_interrupt(self) -> bool:
        return (not self.world.is_inside and not self._emulating and self._open is None and self._vector is None
                and not self._event and bool(self.control.get(Vmcb.RFLAGS) & Eflags.IF)
                and not self.control.get(Vmcb.INTERRUPT_SHADOW) & INTERRUPT_SHADOW)

    def interrupt(self, vector: int) -> None:
        if not 0 <= vector < 256:
            raise VcpuError(f"interrupt vectors are 0 to 255, not {vector}")
        if self._vector is not None:
            raise VcpuError(f"interrupt {vector:#x} cannot be injected while {self._vector:#x} waits")
        self._vector = vector

    def request_interrupt_window(self) -> None:
        self._window = True

    def debug(self, wanted: GuestDebug) -> None:
        if wanted != GuestDebug():
            raise VcpuError("a guest of the hardware has neither breakpoints nor single steps from outside")

    def statistics(self) -> Statistics:
        return Statistics(exits=dict(self._counts))

    # running

    def run(self, max_instructions: int | None = None, until: int | None = None) -> Exit:
        """See `vmm.vcpu.Vcpu`. Raises Paused when the cycles of `world.pause` are over, or the user wants an end."""
        if max_instructions is not None:
            raise VcpuError("a guest of the hardware is limited by cycles, not by instructions")
        self._take_answer()
        while True:
            left = self._emulate() if self._emulating else self._once(until)
            if left is not None:
                self._counts[type(left).__name__.removesuffix("Exit")] += 1
                if isinstance(left, (IoExit, MmioExit, HypercallExit)) and not left.is_answered:
                    self._open = left
                return left

    def _take_answer(self) -> None:
        question = self._open
        if question is None:
            return
        assert isinstance(question, (IoExit, MmioExit, HypercallExit))
        value = question.result if isinstance(question, HypercallExit) else question.value
        if value is None:
            raise AnswerError(f"{question} has to be answered before the next run")
        self._open = None
        if self._finish is not None:
            self._finish(value)
            self._finish = None

    def _once(self, until: int | None) -> Exit | None:
        """Into the guest and back, and what its exit asks for; None if that is nothing."""
        if not self.world.is_inside:
            if self._shut_down:
                return ShutdownExit()
            self._look_for_nmi()
            if self._halted and self._vector is None and not self._event:
                if self._window and self.can_interrupt:
                    self._window = False
                    return InterruptWindowExit()
                return HltExit()
            if until is not None and self.time >= until:
                return LimitExit()
            self._prepare()
        if self.world.run(None if until is None else until - self.world.paid):
            self._vector = None
        return self._leave()

    def _look_for_nmi(self) -> None:
        """Inject one that has come; the next waits for IRET."""
        if not self._in_nmi and not self._event and self.take_nmi():
            self._event = Vector.NMI | EventType.NMI << _EVENT_TYPE_SHIFT | EVENT_V
            self._end_nmi(False)

    def _end_nmi(self, done: bool) -> None:
        self._in_nmi = not done
        self.world.intercept(ExitCode.IRET, not done)

    def _prepare(self) -> None:
        """What the guest begins with."""
        self.world.begin(self._vector, self._window, self._event, self.tsc() + self._tsc_set)
        self._halted = False
        self._event = 0

    def _leave(self) -> Exit | None:
        """One short arm per reason."""
        control, code = self.control, self.world.cause()
        delivering = control.get(Vmcb.EXITINTINFO)
        match code:
            case ExitCode.INTR:
                self._event = control.wide(Vmcb.EXITINTINFO) if delivering & EVENT_V else 0
                return None
            case ExitCode.VINTR:
                self._window = False
                return InterruptWindowExit()
            case ExitCode.IOIO:
                return self._port(IoInfo.from_bits(control.get(Vmcb.EXITINFO1)))
            case ExitCode.NPF if delivering & EVENT_V:
                return FailEntryExit(f"the delivery of an event accesses {control.get(Vmcb.EXITINFO2):#x}, where there "
                                     f"is no memory")
            case ExitCode.NPF:
                self._begin_emulation()
                return None
            case ExitCode.CPUID:
                self._cpuid()
                return None
            case ExitCode.MSR:
                self._msr()
                return None
            case ExitCode.IRET:
                self._end_nmi(True)
                return None
            case ExitCode.INVD:
                self._skip()
                return None
            case ExitCode.HLT:
                self._skip()
                self._halted = True
                return HltExit()
            case ExitCode.VMMCALL:
                self._skip()
                self._finish = self._answer_hypercall
                eax, ecx, edx, ebx, _, _, esi, edi = control.gpr
                return HypercallExit(eax, (ebx, ecx, edx, esi, edi), control.cpl)
            case ExitCode.SHUTDOWN:
                self._shut_down = True
                return ShutdownExit()
            case (ExitCode.VMRUN | ExitCode.VMLOAD | ExitCode.VMSAVE | ExitCode.STGI | ExitCode.CLGI | ExitCode.SKINIT
                  | ExitCode.INVLPGA):
                self._inject(Vector.UD)
                return None
            case ExitCode.INVALID:
                return FailEntryExit("the processor refuses the guest's state (VMEXIT_INVALID)")
            case _:
                return FailEntryExit(f"the monitor knows nothing of the exit {exit_name(code)}")

    def _skip(self) -> None:
        """The instruction is done."""
        self._done += 1
        self.control.put(Vmcb.RIP, self.control.get(Vmcb.NRIP))
        self.control.put(Vmcb.INTERRUPT_SHADOW, 0)

    def _inject(self, vector: Vector, error: int | None = None) -> None:
        self._event = vector | EventType.EXCEPTION << _EVENT_TYPE_SHIFT | EVENT_V
        if error is not None:
            self._event |= EVENT_EV | error << 32

    # what exits ask for

    def _port(self, info: Any) -> Exit | None:
        # The interpreter knows of breakpoints on ports, which the exit has come before.
        if info.string or self.control.get(Vmcb.DR7) & _ANY_BREAKPOINT:
            self._begin_emulation()
            return None
        size = info.size8 | info.size16 << 1 | info.size32 << 2
        mask = (1 << 8 * size) - 1
        self._skip()
        old = self.control.register(EAX)
        if not info.input:
            return IoExit(port=info.port, size=size, is_write=True, value=old & mask)
        self._finish = lambda value: self.control.set_register(EAX, old & ~mask | value)
        return IoExit(port=info.port, size=size, is_write=False, value=None)

    def _answer_hypercall(self, result: int) -> None:
        self.control.set_register(EAX, result)

    def _cpuid(self) -> None:
        number = self.control.register(EAX)
        leaf = hypercall.LEAVES.get(number) or cpuid(number, svm=False)
        ecx = leaf.ecx | ECX_HYPERVISOR if number == 1 else leaf.ecx
        for register, value in ((EAX, leaf.eax), (EBX, leaf.ebx), (ECX, ecx), (EDX, leaf.edx)):
            self.control.set_register(register, value)
        self._skip()

    def _msr(self) -> None:
        """Writes of the time-stamp counter, and the base of the APIC; what else comes does not exist for the guest."""
        number, is_write = self.control.register(ECX), self.control.get(Vmcb.EXITINFO1)
        value = self.control.register(EAX) | self.control.register(EDX) << 32
        base = MSRS[Msr.APIC_BASE]
        if number == Msr.TSC and is_write:
            self._tsc_set = value - self.tsc()
        elif number == Msr.APIC_BASE and is_write and not (value ^ base.reset) & ~base.writable:
            self._apic_base = value
            self.on_apic_enable(bool(value & APIC_BASE_ENABLE))
        elif number == Msr.APIC_BASE and not is_write:
            self.control.set_register(EAX, self._apic_base & _M32)
            self.control.set_register(EDX, self._apic_base >> 32)
        else:
            self._inject(Vector.GP, 0)
            return
        self._skip()

    # the interpreter

    def _begin_emulation(self) -> None:
        state = self._state()
        self.host.spill()
        self._emulator.load(state.to_dict() | {"interrupt": None})
        self._emulator.cpu.clock = lambda: self.tsc() + self._tsc_set
        self._emulating = True

    def _emulate(self) -> Exit | None:
        """Do the instruction as far as it goes."""
        emulator = self._emulator
        before = emulator.instructions
        left = emulator.run(max_instructions=1)
        self._done += emulator.instructions - before
        if isinstance(left, (IoExit, MmioExit)):
            return left
        self._emulating = False
        state = CpuState.from_dict(emulator.save())
        self.host.refill()
        self._set_state(state)
        if state.pending_debug:
            self.control.put(Vmcb.DR6, self.control.get(Vmcb.DR6) | state.pending_debug)
            self._inject(Vector.DB)
        return left if isinstance(left, (HltExit, ShutdownExit, FailEntryExit)) else None
