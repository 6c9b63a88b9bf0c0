"""What a guest of the hardware leaves guest mode for, and what the monitor does about it: one short arm per reason."""

from __future__ import annotations

from typing import Any

from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode, exit_name
from rtl.isa.msrs import MSRS, Msr
from rtl.isa.registers import Dr6, Eflags
from rtl.isa.svm import EVENT_V, NPF_P, NPF_W, Event, EventType, IoInfo, Vmcb
from vmm.exits import Exit, FailEntryExit, HypercallExit, IoExit
from vmm.monitor.emulation import guest_cpuid
from vmm.monitor.guest import HardwareGuest
from vmm.state import EAX, EBX, ECX, EDX

_M64 = (1 << 64) - 1
_RF, _STEPPED, _BS = int(Eflags.RF), int(Eflags.TF | Eflags.RF), int(Dr6.BS)
_TRAPS = int(Dr6.B0 | Dr6.B1 | Dr6.B2 | Dr6.B3 | Dr6.BS | Dr6.BT)
#: L0 to G3 of DR7.
_ANY_BREAKPOINT = 0xFF


class Arms(HardwareGuest):
    """The part of `vmm.monitor.vcpu.SvmVcpu` that answers exits of the hardware."""

    def _leave(self) -> Exit | None:
        """What the exit that has come leads to; None if the guest goes on."""
        control, code = self.control, self.world.cause()
        match code:
            case ExitCode.INTR:
                self._repeating = not self.world.has_gone_on
            case ExitCode.VINTR:
                pass
            case ExitCode.IOIO:
                return self._port(IoInfo.from_bits(control.get(Vmcb.EXITINFO1)))
            case ExitCode.NPF:
                self._nested_fault()
            case ExitCode.CPUID:
                leaf = guest_cpuid(control.register(EAX))
                for register, value in ((EAX, leaf.eax), (EBX, leaf.ebx), (ECX, leaf.ecx), (EDX, leaf.edx)):
                    control.set_register(register, value)
                self._skip()
            case ExitCode.MSR:
                self._msr()
            case ExitCode.INVD:
                self._skip()
            case ExitCode.HLT:
                self._skip()
                self._halted = True
            case ExitCode.VMMCALL:
                self._finish = self._answer_hypercall
                eax, ecx, edx, ebx, _, _, esi, edi = control.gpr
                return HypercallExit(eax, (ebx, ecx, edx, esi, edi), control.cpl)
            case ExitCode.SHUTDOWN:
                self._shut_down = True
            case (ExitCode.IRET | ExitCode.CR0_SEL_WRITE | ExitCode.VMRUN | ExitCode.VMLOAD | ExitCode.VMSAVE
                  | ExitCode.STGI | ExitCode.CLGI | ExitCode.SKINIT | ExitCode.INVLPGA):
                # the end of an NMI's handler; a change of mode; there is no SVM for the guest
                self._begin_emulation()
            case ExitCode.INVALID:
                return FailEntryExit("the processor refuses the guest's state (VMEXIT_INVALID)")
            case _:
                return FailEntryExit(f"the monitor knows nothing of the exit {exit_name(code)}")
        return None

    def _skip(self) -> None:
        """The instruction is done: RF is clear behind it, and with TF there is a trap."""
        control = self.control
        self._done += 1
        control.put(Vmcb.RIP, control.get(Vmcb.NRIP))
        control.put(Vmcb.INTERRUPT_SHADOW, 0)
        flags = control.get(Vmcb.RFLAGS)
        if flags & _STEPPED:
            control.put(Vmcb.RFLAGS, flags & ~_RF)
            self._pending_debug |= _BS if flags & ~_RF & _STEPPED else 0

    def _port(self, info: Any) -> Exit | None:
        # The interpreter knows of breakpoints on ports, which the exit has come before.
        if info.string or self.control.get(Vmcb.DR7) & _ANY_BREAKPOINT:
            self._begin_emulation()
            return None
        size = info.size8 | info.size16 << 1 | info.size32 << 2
        mask = (1 << 8 * size) - 1
        old = self.control.register(EAX)
        if not info.input:
            self._skip()
            return IoExit(port=info.port, size=size, is_write=True, value=old & mask)

        def answer(value: int) -> None:
            self.control.set_register(EAX, old & ~mask | value)
            self._skip()

        self._finish = answer
        return IoExit(port=info.port, size=size, is_write=False, value=None)

    def _answer_hypercall(self, result: int) -> None:
        self.control.set_register(EAX, result)
        self._skip()

    def _nested_fault(self) -> None:
        """A page that the guest does not have by itself: to be noted before it is written to, or no memory at all."""
        control = self.control
        info, address = control.get(Vmcb.EXITINFO1), control.get(Vmcb.EXITINFO2)
        delivered = control.wide(Vmcb.EXITINTINFO)
        if delivered & EVENT_V:
            self._take_back(Event.from_bits(delivered))
        if info & NPF_P and info & NPF_W and self.memory.admit_write(address):
            self._mapped = False
        else:
            self._begin_emulation()

    def _take_back(self, event: Any) -> None:
        """An event whose delivery has been cut short is to come again."""
        control, kind = self.control, EventType(event.type)
        if kind is EventType.INTERRUPT:
            self._vector = event.vector
        elif kind is EventType.NMI:
            self._nmi_pending = True
            self._block_nmis(False)
        elif kind is EventType.EXCEPTION and event.vector == Vector.DB and not control.meets_debug_fault:
            # DR6 has the bits already, perhaps with older ones
            self._pending_debug |= control.get(Vmcb.DR6) & _TRAPS
        # else an instruction raises it, when it is done again

    def _msr(self) -> None:
        """Writes of the time-stamp counter, and the base of the APIC; what else comes does not exist for the guest."""
        number, is_write = self.control.register(ECX), self.control.get(Vmcb.EXITINFO1)
        value = self.control.register(EAX) | self.control.register(EDX) << 32
        base = MSRS[Msr.APIC_BASE]
        if number == Msr.TSC and is_write:
            self._tsc_offset = value - self.tsc() & _M64
        elif number == Msr.APIC_BASE and is_write and not (value ^ base.reset) & ~base.writable:
            self._apic = value
        elif number == Msr.APIC_BASE and not is_write:
            self.control.set_register(EAX, self._apic & 0xFFFF_FFFF)
            self.control.set_register(EDX, self._apic >> 32)
        else:
            # which raises the exception
            self._begin_emulation()
            return
        self._skip()

    def _begin_emulation(self) -> None:
        """Let the interpreter do the instruction."""
        self._emulation.begin(self._fill)
        if self._vector is not None and self._interruptible and not self._takes_nmi:
            # which is sure to be taken first
            self._emulation.vcpu.interrupt(self._vector)
            self._vector = None
