"""The registers of virtualization, and what the core decides of intercepts, for the interpreter of micro-operations."""
from __future__ import annotations

from rtl.cpu.uop import Alu, Mem, Status, Sys
from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import EXCEPTION, ExitCode
from rtl.isa.msrs import Msr
from rtl.isa.registers import CR0_WRITABLE, Cr0, Cr4, Eflags
from rtl.isa.svm import (
    ASIDS,
    EVENT_V,
    IOPM_BYTES,
    MSRPM_BYTES,
    VINTR_GIF,
    VINTR_GIF_ENABLE,
    VINTR_WRITABLE,
    Event,
    EventType,
)
from vmm.faults import Fault, VmExit
from vmm.state import SHADOW_NONE, SHADOW_STI

M32 = 0xFFFF_FFFF
_INTERCEPTS = (Sys.INTERCEPT_CR, Sys.INTERCEPT_DR, Sys.INTERCEPT_EXCEPTION, Sys.INTERCEPT_MISC1, Sys.INTERCEPT_MISC2)
_MSRS = {Sys.EFER: Msr.EFER, Sys.VM_CR: Msr.VM_CR, Sys.HSAVE: Msr.VM_HSAVE_PA}
#: Registers that the state of the golden model has by another name.
_FIELDS = {Sys.VMCB: "vmcb", Sys.IOPM: "iopm", Sys.MSRPM: "msrpm", Sys.ASID: "asid", Sys.VINTR: "vintr",
           Sys.N_CR3: "n_cr3", Sys.EVENT_NEXT: "event_next"}
_MEMORY_TYPES = frozenset({0, 1, 4, 5, 6, 7})


class SvmModel:
    """Part of `UopModel`: ``exit`` is the #VMEXIT in progress, ``delivering`` its EXITINTINFO."""

    def __init__(self) -> None:
        self.exit = VmExit(0)
        self.delivering = 0
        self.info1 = self.info2 = self.pat = self.eventinj = 0
        self.tlb: list[tuple[int, int]] = []

    # what the core decides

    def ask(self, row: dict) -> None:
        """The intercept of a row."""
        svm, code = self.state.svm, row["intercept"] & 0xFF
        if not svm.guest:
            return
        if code >> 5 == 1:
            code |= self.insn.reg
        if code == ExitCode.PAUSE and self.insn.rep != "rep" or not svm.intercepts_code(code):
            return
        if code == ExitCode.PAUSE and svm.pause_count:
            svm.pause_count -= 1
            return
        if row["mem"] is Mem.NONE:
            self.address(row)
        if code == ExitCode.CR0_SEL_WRITE and row["alu"] is Alu.WRSYS:
            changed = (self.operand(row["b"], row) & int(CR0_WRITABLE) | Cr0.ET) ^ self.state.cr0
            if not changed & ~int(Cr0.TS | Cr0.MP):
                return
        a, info = self.operand(row["a"], row), 0
        if code < EXCEPTION or code == ExitCode.CR0_SEL_WRITE:
            info = a & M32 >> 1 | (code >> 5 != 1) << 63 if a >> 31 else 0
        elif code in (ExitCode.SWINT, ExitCode.INVLPG):
            info = a
        raise VmExit(code, info, 0, self.next)

    def ask_exception(self, fault: Fault) -> None:
        if self.state.svm.guest and self.state.svm.intercepts_code(EXCEPTION + fault.vector):
            if fault.vector == 1:
                self.state.dr[7] &= ~0x2000
            raise VmExit(EXCEPTION + fault.vector, fault.error or 0, fault.cr2 or 0,
                         self.next if fault.vector in (3, 4, 5) else 0)

    def begin_delivery(self, vector: int, error: int | None, software: bool) -> None:
        """The event is now that of EXITINTINFO."""
        self.delivering = Event.build(vector=vector, type=EventType.SOFTWARE if software else EventType.EXCEPTION,
                                      ev=int(error is not None), v=1, error=error or 0)

    # registers

    def svm_status(self) -> dict[Status, int]:
        svm = self.state.svm

        def wanted(code: ExitCode) -> bool:
            return svm.guest and svm.intercepts_code(code)

        return {Status.IO_INTERCEPT: wanted(ExitCode.IOIO), Status.MSR_INTERCEPT: wanted(ExitCode.MSR),
                Status.TASK_INTERCEPT: wanted(ExitCode.TASK_SWITCH),
                Status.HSAVE_RAM: self.memory.is_plain(self.state.msrs.get(Msr.VM_HSAVE_PA, 0) >> 12)}

    def read_svm(self, sys: Sys) -> int:
        state, svm, exit_ = self.state, self.state.svm, self.exit
        if sys in _FIELDS:
            return getattr(svm, _FIELDS[sys]) & M32
        if sys in _MSRS:
            return state.msrs.get(_MSRS[sys], 0)
        fetched = self.fetched()
        return {
            Sys.NP: lambda: int(svm.nested), Sys.CONSISTENCY: self._consistency,
            Sys.SHADOW_BIT: lambda: int(state.shadow != SHADOW_NONE),
            Sys.EXIT_CODE: lambda: exit_.code & M32, Sys.EXIT_CODE_HI: lambda: exit_.code >> 32,
            Sys.EXIT_INFO1: lambda: exit_.info1 & M32, Sys.EXIT_INFO1_HI: lambda: exit_.info1 >> 32,
            Sys.EXIT_INFO2: lambda: exit_.info2 & M32, Sys.EXIT_INFO2_HI: lambda: exit_.info2 >> 32,
            Sys.EXIT_INTINFO: lambda: self.delivering & M32, Sys.EXIT_INTINFO_HI: lambda: self.delivering >> 32,
            Sys.NRIP: lambda: exit_.next_eip, Sys.FETCHED: lambda: fetched & M32,
            Sys.FETCHED_1: lambda: fetched >> 32 & M32, Sys.FETCHED_2: lambda: fetched >> 64 & M32,
            Sys.FETCHED_3: lambda: fetched >> 96,
        }[sys]()

    def fetched(self) -> int:
        """The code that a page fault interrupts, as far as its page goes: count and bytes."""
        if self.exit.code != EXCEPTION + Vector.PF or self.delivering:
            return 0
        linear = self.state.segments[1].base + self.start
        count = max(self.insn.length, min(len(self.code), 0x1000 - (linear & 0xFFF)))
        return count | int.from_bytes(self.code[:count], "little") << 8

    def _consistency(self) -> int:
        svm, event = self.state.svm, Event.from_bits(self.eventinj)
        bad_event = event.v and (event.type not in set(EventType) or event.type == EventType.EXCEPTION and (
            event.vector == 2 or event.vector > 31))
        bad_pat = not all(byte in _MEMORY_TYPES for byte in self.pat.to_bytes(8, "little"))
        return int(bool(
            not svm.intercepts_code(ExitCode.VMRUN) or not 0 < svm.asid < ASIDS
            or svm.iopm + IOPM_BYTES > 1 << 32 or svm.msrpm + MSRPM_BYTES > 1 << 32 or bad_event
            or svm.nested and (not self.state.cr0 & Cr0.PG or bad_pat)))

    def write_svm(self, sys: Sys, b: int) -> None:
        state, svm = self.state, self.state.svm
        if sys in _INTERCEPTS:
            svm.intercepts[_INTERCEPTS.index(sys)] = b
        elif sys in (Sys.IOPM, Sys.MSRPM):
            setattr(svm, _FIELDS[sys], b & ~0xFFF)
        elif sys is Sys.VINTR:
            svm.vintr = b & VINTR_WRITABLE
        elif sys in _FIELDS:
            setattr(svm, _FIELDS[sys], b)
        elif sys in _MSRS:
            state.msrs[_MSRS[sys]] = b
        elif sys is Sys.VINTR_HI:
            svm.vector = b & 0xFF
        elif sys is Sys.PAUSE:
            svm.pause_count = b >> 16
        elif sys is Sys.TSC_OFFSET:
            svm.tsc_offset = b
        elif sys is Sys.TSC_OFFSET_HI:
            svm.tsc_offset |= b << 32
        elif sys is Sys.NP:
            svm.nested = bool(b & 1)
        elif sys is Sys.G_PAT:
            self.pat = b
        elif sys is Sys.G_PAT_HI:
            self.pat |= b << 32
        elif sys is Sys.EVENTINJ:
            self.eventinj = b
        elif sys is Sys.EVENTINJ_HI:
            self.eventinj |= b << 32
        elif sys is Sys.SHADOW_BIT:
            state.shadow = SHADOW_STI if b & 1 else SHADOW_NONE
        elif sys is Sys.GIF:
            if svm.guest and svm.vintr & VINTR_GIF_ENABLE:
                svm.vintr = svm.vintr & ~VINTR_GIF | (VINTR_GIF if b & 1 else 0)
            else:
                svm.gif = bool(b & 1)
        elif sys is Sys.GUEST:
            self._world(bool(b))
        elif sys in (Sys.EXIT_INFO1, Sys.EXIT_INFO2):
            setattr(self, sys.name[5:].lower(), b)
        elif sys is Sys.EXIT_INFO2_HI:
            self.info2 |= b << 32
        elif sys is Sys.FORCE_EXIT:
            invalid = b == M32
            raise VmExit(ExitCode.INVALID if invalid else b, self.info1, self.info2,
                         0 if invalid or b == ExitCode.TASK_SWITCH else self.next)
        elif sys in (Sys.TLB_CONTROL, Sys.INVLPGA_ASID, Sys.INVLPGA):
            self.tlb.append((sys, b))
        else:
            raise KeyError(sys)

    def _world(self, guest: bool) -> None:
        state, svm = self.state, self.state.svm
        svm.guest = svm.gif = guest
        if guest:
            svm.host_if, svm.host_pse = bool(state.system_flags & Eflags.IF), bool(state.cr4 & Cr4.PSE)
            svm.event = self.eventinj if self.eventinj & EVENT_V else 0
            self.info1 = self.info2 = 0
        else:
            svm.event = state.pending_debug = 0
            state.shadow, state.halted = SHADOW_NONE, False
            self.active = False
