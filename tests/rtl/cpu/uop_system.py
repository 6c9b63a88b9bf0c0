"""System registers of the interpreter of micro-operations."""
from __future__ import annotations

from rtl.cpu.uop import Aseg, Status, Sys
from rtl.isa.decoder import Insn
from rtl.isa.registers import Cr0, Cr4, Dr6, Dr7, Eflags
from rtl.isa.svm import IoInfo
from tests.rtl.cpu.uop_svm import SvmModel
from vmm.engine.access import Access
from vmm.state import SHADOW_MOV_SS, SegmentCache

M32 = 0xFFFF_FFFF


class SystemModel(SvmModel, Access):
    """What `Src.SYS` reads and WRSYS writes, in terms of the golden model's state."""

    def __init__(self, memory, io=None):
        Access.__init__(self, memory, io)
        SvmModel.__init__(self)
        self.caches = {Aseg.TMP0: SegmentCache(), Aseg.TMP1: SegmentCache()}
        self.ncpl = 0
        self.insn: Insn | None = None
        self.active = False
        self.vector = self.error = self.eeip = self.start = self.mark = 0
        self.has_error = self.soft = self.ext = self.rf = False

    def cache(self, aseg: Aseg) -> SegmentCache:
        if aseg is Aseg.SREG:
            form = self.insn.form
            aseg = self.insn.reg if form.has_modrm else form.opcode >> 3 & 7
        elif aseg is Aseg.EFF:
            aseg = self.insn.segment
        return self.caches[aseg] if aseg in self.caches else self.state.segments[aseg]

    def _debug_number(self) -> int:
        return self.insn.reg + 2 if self.insn.reg in (4, 5) else self.insn.reg

    def status(self, row: dict) -> int:
        state, insn = self.state, self.insn
        bits = {
            Status.OPSIZE16: not self.active and insn.opsize == 2, Status.ADSIZE16: insn.adsize == 2,
            Status.CPL0: state.cpl == 0, Status.IOPL_OK: state.cpl <= state.iopl, Status.SS_B: state.segments[2].big,
            Status.NT: state.system_flags & Eflags.NT, Status.HAS_ERROR: self.has_error, Status.SOFT: self.soft,
            Status.PCE: state.cr4 & Cr4.PCE, Status.TSD: state.cr4 & Cr4.TSD, Status.PG: state.cr0 & Cr0.PG,
            Status.TSS32: self.cache(row["sreg"]).type & 8, Status.DR_GD: state.dr[7] & Dr7.GD,
            Status.DR_UD: insn.reg in (4, 5) and state.cr4 & Cr4.DE,
        } | self.svm_status()
        bits[Status.PORT_OK] = state.cpl <= state.iopl and not bits[Status.IO_INTERCEPT]
        bits[Status.BITMAP_OK] = bits[Status.TSS32] and not bits[Status.IO_INTERCEPT]
        return sum(1 << bit for bit, value in bits.items() if value)

    def io_info(self, row: dict) -> int:
        """EXITINFO1 of an IOIO exit, without STR and the port."""
        insn, form = self.insn, self.insn.form
        size = insn.opsize if form.opcode & 1 else 1
        segment = insn.segment if row["sreg"] is Aseg.EFF else int(row["sreg"])
        return IoInfo.build(input=int(not form.opcode & 2), rep=int(insn.rep is not None), size8=int(size == 1),
                            size16=int(size == 2), size32=int(size == 4), address16=int(insn.adsize == 2),
                            address32=int(insn.adsize == 4), segment=segment)

    def read_sys(self, row: dict) -> int:
        state, sys = self.state, row["sys"]
        cache = self.cache(row.get("sreg", Aseg.ES))
        debug = self._debug_number()
        if sys >= Sys.EFER and sys is not Sys.IO_INFO:
            return self.read_svm(sys)
        return {
            Sys.CR0: lambda: state.cr0, Sys.CR2: lambda: state.cr2, Sys.CR3: lambda: state.cr3,
            Sys.CR4: lambda: state.cr4, Sys.EFLAGS: lambda: state.eflags | (self.active and self.rf) << 16,
            Sys.STATUS: lambda: self.status(row), Sys.EVECTOR: lambda: self.vector, Sys.EERROR: lambda: self.error,
            Sys.EEIP: lambda: self.eeip, Sys.GDT_BASE: lambda: state.gdtr_base, Sys.GDT_LIMIT: lambda: state.gdtr_limit,
            Sys.IDT_BASE: lambda: state.idtr_base, Sys.IDT_LIMIT: lambda: state.idtr_limit, Sys.CPL: lambda: state.cpl,
            Sys.SEL: lambda: cache.selector, Sys.BASE: lambda: cache.base, Sys.LIMIT: lambda: cache.limit,
            Sys.SEGWORD: lambda: cache.selector | cache.attributes << 16,
            Sys.ATTR: lambda: (cache.attributes & 0xFF) << 8 | (cache.attributes & 0xF00) << 12,
            Sys.DR: lambda: state.dr[debug], Sys.DR6: lambda: state.dr[6], Sys.DR7: lambda: state.dr[7],
            Sys.EXT: lambda: int(self.active and self.ext), Sys.TSC_LO: lambda: state.instructions,
            Sys.TSC_HI: lambda: 0, Sys.PERF_LO: lambda: state.instructions, Sys.PERF_HI: lambda: 0,
            Sys.SYSENTER_CS: lambda: state.msrs.get(0x174, 0), Sys.SYSENTER_ESP: lambda: state.msrs.get(0x175, 0),
            Sys.SYSENTER_EIP: lambda: state.msrs.get(0x176, 0), Sys.IO_INFO: lambda: self.io_info(row),
        }[sys]()

    def _wrsys(self, a: int, b: int, size: int, row: dict) -> None:
        state, sys, cache = self.state, row["sys"], self.cache(row.get("sreg", Aseg.ES))
        if sys >= Sys.EFER:
            self.write_svm(sys, b)
        elif sys is Sys.SEL:
            cache.selector = b & 0xFFFF
        elif sys is Sys.SEGWORD:
            cache.selector, cache.attributes = b & 0xFFFF, b >> 16 & 0xFFF
        elif sys is Sys.BASE:
            cache.base = b
        elif sys is Sys.LIMIT:
            cache.limit = b
        elif sys is Sys.SWITCH_CR0:
            state.cr0 = b & 0xE005_002F | 0x11
        elif sys is Sys.SWITCH_CR3:
            state.cr3 = b
        elif sys is Sys.SWITCH_CR4:
            state.cr4 = b
        elif sys is Sys.CR0:
            state.cr0 = b & 0xE005_002F | 0x10
            self.mmu.flush_all()
        elif sys is Sys.CR3:
            state.cr3 = b
            self.mmu.flush_non_global()
        elif sys is Sys.CR4:
            state.cr4 = b
            self.mmu.flush_all()
        elif sys is Sys.EFLAGS:
            state.eflags = b
        elif sys is Sys.EEIP:
            # where the new task begins: faults from there on find its state
            self.start, self.mark, self.flags = b, state.gpr[4], None
        elif sys is Sys.CPL:
            state.cpl = b & 3
        elif sys is Sys.NCPL:
            self.ncpl = b & 3
        elif sys is Sys.TS:
            state.cr0 = state.cr0 & ~8 | (b & 1) << 3
        elif sys is Sys.IFTF:
            clear = Eflags.TF | Eflags.NT | Eflags.RF | (0 if b & 0x100 else Eflags.IF)
            state.system_flags &= ~int(clear)
        elif sys is Sys.EVENT_DONE:
            if self.active and self.vector == 1:
                state.dr[7] &= ~int(Dr7.GD)
            self.active = False
            if b & 1:
                state.pending_debug |= int(Dr6.BT)
        elif sys is Sys.SHADOW:
            state.shadow = SHADOW_MOV_SS
        elif sys in (Sys.DR6, Sys.DR7, Sys.DR):
            number = {Sys.DR6: 6, Sys.DR7: 7}.get(sys, self._debug_number())
            fixed, writable = {6: (0xFFFF_0FF0, 0xE00F), 7: (0x400, 0xFFFF_23FF)}.get(number, (0, M32))
            state.dr[number] = b & writable | fixed
        elif sys in (Sys.SYSENTER_CS, Sys.SYSENTER_ESP, Sys.SYSENTER_EIP):
            state.msrs[0x174 + sys - Sys.SYSENTER_CS] = b
        elif sys is Sys.INVLPG:
            self.mmu.invalidate(b)
        elif sys in (Sys.WBINVD, Sys.NMI_UNBLOCK, Sys.TSC_LO, Sys.TSC_HI):
            pass
        else:
            name = {Sys.CR2: "cr2", Sys.GDT_BASE: "gdtr_base", Sys.GDT_LIMIT: "gdtr_limit", Sys.IDT_BASE: "idtr_base",
                    Sys.IDT_LIMIT: "idtr_limit"}[sys]
            setattr(state, name, b & (0xFFFF if "limit" in name else M32))
