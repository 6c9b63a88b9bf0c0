"""Control registers, MSRs, CPUID, table registers, flags of privilege, ports, SYSENTER and SYSEXIT.

Real mode does not exist: clearing CR0.PE is #GP(0).
"""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.apic import APIC_BASE_ENABLE
from rtl.isa.cpuid import cpuid
from rtl.isa.exceptions import Vector
from rtl.isa.msrs import MSRS, Msr, PerfEvent
from rtl.isa.registers import CR0_WRITABLE, CR4_WRITABLE, Cr0, Cr4, Eflags
from rtl.isa.tss import TSS32_MIN_LIMIT, Tss32
from vmm.engine.debug import DebugUnit
from vmm.engine.segmentation import CS, SS, TR
from vmm.faults import Fault
from vmm.state import FLAT_CODE, FLAT_DATA, SHADOW_MOV_SS, SHADOW_STI

_TRANSLATION_CR0 = int(Cr0.PG | Cr0.WP)
_TRANSLATION_CR4 = int(Cr4.PSE | Cr4.PGE)
_IF, _RF = int(Eflags.IF), int(Eflags.RF)
_TSD, _PCE = int(Cr4.TSD), int(Cr4.PCE)
_M64 = (1 << 64) - 1
_PERF_EVENTS = {int(Msr.PERF_BASE) + event: event for event in PerfEvent}


class SystemRegisters(DebugUnit):
    """Routines of privileged and identifying instructions.

    Members
    -------
    clock : clocks since reset, for the time-stamp counter. By default one per completed instruction.
    counter : value of a performance event. By default clocks, instructions, and zero for the rest.
    monitor : what answers VMMCALL; without one it is #UD.
    on_apic_enable : told when IA32_APIC_BASE is written: whether the local APIC is enabled.
    svm : whether the processor has SVM.
    """

    clock: Callable[[], int]
    counter: Callable[[PerfEvent], int]
    monitor: Callable[[], None] | None = None
    on_apic_enable: Callable[[bool], None] | None = None
    svm = True

    def default_clock(self) -> int:
        return self.state.instructions

    def default_counter(self, event: PerfEvent) -> int:
        if event is PerfEvent.CYCLES:
            return self.clock()
        return self.state.instructions if event is PerfEvent.INSTRUCTIONS else 0

    def require_cpl0(self) -> None:
        if self.state.cpl:
            raise Fault(Vector.GP, 0)

    # control registers

    def read_control(self, number: int) -> int:
        state = self.state
        if number == 0:
            return state.cr0
        if number == 2:
            return state.cr2
        return state.cr3 if number == 3 else state.cr4

    def check_control(self, number: int, value: int) -> None:
        """Whether a control register takes a value."""
        if number == 0 and (not value & Cr0.PE or value & Cr0.NW and not value & Cr0.CD):
            raise Fault(Vector.GP, 0)
        if number == 4 and value & ~int(CR4_WRITABLE):
            raise Fault(Vector.GP, 0)

    def write_control(self, number: int, value: int) -> None:
        self.check_control(number, value)
        state = self.state
        if number == 0:
            self._write_cr0(value)
        elif number == 2:
            state.cr2 = value
        elif number == 3:
            state.cr3 = value
            self.mmu.flush_non_global()
        else:
            changed, state.cr4 = state.cr4 ^ value, value
            if changed & _TRANSLATION_CR4:
                self.mmu.flush_all()

    def _write_cr0(self, value: int) -> None:
        state = self.state
        value = value & int(CR0_WRITABLE) | int(Cr0.ET)
        changed, state.cr0 = state.cr0 ^ value, value
        if changed & _TRANSLATION_CR0:
            self.mmu.flush_all()

    def load_status_word(self, value: int) -> None:
        """LMSW changes PE, MP, EM and TS, and cannot clear PE."""
        state = self.state
        state.cr0 = state.cr0 & ~int(Cr0.MP | Cr0.EM | Cr0.TS) | value & int(Cr0.PE | Cr0.MP | Cr0.EM | Cr0.TS)

    def clear_task_switched(self) -> None:
        self.state.cr0 &= ~int(Cr0.TS)

    def invalidate_page(self, segment: int, offset: int) -> None:
        self.mmu.invalidate(self.state.segments[segment].base + offset & 0xFFFF_FFFF)

    # table registers

    def gdtr_base(self) -> int:
        return self.state.gdtr_base

    def gdtr_limit(self) -> int:
        return self.state.gdtr_limit

    def idtr_base(self) -> int:
        return self.state.idtr_base

    def idtr_limit(self) -> int:
        return self.state.idtr_limit

    def load_gdtr(self, base: int, limit: int) -> None:
        self.state.gdtr_base, self.state.gdtr_limit = base, limit

    def load_idtr(self, base: int, limit: int) -> None:
        self.state.idtr_base, self.state.idtr_limit = base, limit

    # flags

    def _require_iopl(self) -> None:
        if self.state.cpl > self.state.iopl:
            raise Fault(Vector.GP, 0)

    def clear_interrupt_flag(self) -> None:
        self._require_iopl()
        self.state.system_flags &= ~_IF

    def set_interrupt_flag(self) -> None:
        self._require_iopl()
        if not self.state.system_flags & _IF:
            self.state.system_flags |= _IF
            self.state.shadow = SHADOW_STI

    def shadow_after_stack_load(self) -> None:
        self.state.shadow = SHADOW_MOV_SS

    def halt(self) -> None:
        self.state.halted = True

    # identification, time, model-specific registers

    def identify(self) -> None:
        gpr = self.state.gpr
        leaf = cpuid(gpr[0], self.svm)
        gpr[0], gpr[3], gpr[1], gpr[2] = leaf.eax, leaf.ebx, leaf.ecx, leaf.edx

    def check_time(self) -> None:
        """Whether RDTSC is allowed."""
        if self.state.cr4 & _TSD and self.state.cpl:
            raise Fault(Vector.GP, 0)

    def read_time(self) -> int:
        self.check_time()
        return self.clock() + self.state.tsc_offset & _M64

    def check_counter(self) -> None:
        """Whether RDPMC is allowed."""
        if self.state.cpl and not self.state.cr4 & _PCE:
            raise Fault(Vector.GP, 0)

    def read_counter(self, number: int) -> int:
        self.check_counter()
        if number >= len(PerfEvent):
            raise Fault(Vector.GP, 0)
        return self.counter(PerfEvent(number))

    def read_msr(self, number: int) -> int:
        if number == Msr.TSC:
            return self.clock() + self.state.tsc_offset & _M64
        if number in _PERF_EVENTS:
            return self.counter(_PERF_EVENTS[number])
        return self.state.msrs.get(self._known_msr(number), MSRS[Msr(number)].reset)

    def write_msr(self, number: int, value: int) -> None:
        info = MSRS[Msr(self._known_msr(number))]
        if (value ^ info.reset) & ~info.writable or number == Msr.PERF_BASE:
            raise Fault(Vector.GP, 0)
        if number == Msr.TSC:
            self.state.tsc_offset = value - self.clock() & _M64
        elif number == Msr.APIC_BASE:
            self.state.msrs.pop(number, None)
            if value != info.reset:
                self.state.msrs[number] = value
            if self.on_apic_enable is not None:
                self.on_apic_enable(self.apic_enabled)
        else:
            self.state.msrs[number] = value

    @property
    def apic_enabled(self) -> bool:
        """Bit 11 of IA32_APIC_BASE."""
        return bool(self.read_msr(Msr.APIC_BASE) & APIC_BASE_ENABLE)

    def _known_msr(self, number: int) -> int:
        try:
            info = MSRS[Msr(number)]
        except (ValueError, KeyError):
            raise Fault(Vector.GP, 0) from None
        if info.feature is not None:
            raise Fault(Vector.GP, 0)
        return number

    # ports

    def check_port(self, port: int, size: int) -> None:
        """IOPL, else the permission bitmap of a 32-bit TSS: VMLOAD may have loaded TR with anything."""
        state = self.state
        if state.cpl <= state.iopl:
            return
        task = state.segments[TR]
        if not task.type & 8 or task.limit < TSS32_MIN_LIMIT:
            raise Fault(Vector.GP, 0)
        place = self.read_system(task.base + Tss32.IO_BASE, 2) + (port >> 3)
        if place + 1 > task.limit:
            raise Fault(Vector.GP, 0)
        bits = self.read_system(task.base + place, 2) >> (port & 7)
        if bits & (1 << size) - 1:
            raise Fault(Vector.GP, 0)

    def port_in(self, port: int, size: int) -> int:
        value = self.io.read(port, size)
        self.watch_port(port, size)
        return value

    def port_out(self, port: int, size: int, value: int) -> None:
        self.io.write(port, size, value)
        self.watch_port(port, size)

    # the monitor

    def hypercall(self) -> None:
        if self.monitor is None:
            raise Fault(Vector.UD)
        self.monitor()

    # x87

    def x87_escape(self) -> None:
        """There is no x87: #NM if EM or TS asks for it, else #UD."""
        raise Fault(Vector.NM if self.state.cr0 & (Cr0.EM | Cr0.TS) else Vector.UD)

    def x87_wait(self) -> None:
        wanted = Cr0.MP | Cr0.TS
        if self.state.cr0 & wanted == wanted:
            raise Fault(Vector.NM)

    # fast system calls

    def _flat(self, code_selector: int, stack_selector: int, cpl: int) -> None:
        state = self.state
        for number, selector, flat in ((CS, code_selector, FLAT_CODE), (SS, stack_selector, FLAT_DATA)):
            cache = state.segments[number]
            cache.copy_from(flat)
            cache.selector = selector
            cache.attributes |= cpl << 5
        state.cpl = cpl
        self.segments_changed()

    def _system_call_selector(self) -> int:
        selector = self.state.msrs.get(Msr.SYSENTER_CS, 0) & 0xFFFF
        if not selector & 0xFFFC:
            raise Fault(Vector.GP, 0)
        return selector & 0xFFFC

    def sysenter(self) -> int:
        state = self.state
        selector = self._system_call_selector()
        self._flat(selector, selector + 8 & 0xFFFF, 0)
        state.system_flags &= ~(_IF | _RF)
        state.gpr[4] = state.msrs.get(Msr.SYSENTER_ESP, 0)
        return state.msrs.get(Msr.SYSENTER_EIP, 0)

    def sysexit(self) -> int:
        state = self.state
        selector = self._system_call_selector()
        self._flat(selector + 16 & 0xFFFF | 3, selector + 24 & 0xFFFF | 3, 3)
        state.gpr[4] = state.gpr[1]
        return state.gpr[2]
