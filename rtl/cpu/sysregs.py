"""The system registers: control, flags, descriptor tables, debug, model-specific."""

from amaranth.hdl import Array, C, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.apic import APIC_BASE_ENABLE
from rtl.isa.layout import shape
from rtl.isa.msrs import MSRS, Msr
from rtl.isa.registers import (
    CR0_FIXED,
    CR0_WRITABLE,
    CR4_WRITABLE,
    DR6_FIXED,
    DR6_WRITABLE,
    DR7_FIXED,
    DR7_WRITABLE,
    Cr0,
    Cr0Layout,
    Cr4Layout,
    EflagsLayout,
)
from rtl.mmu.control import PagingControl

from .flags import Flags
from .uop import FlagOp, Size, Sys

__all__ = ["SystemRegisters"]

_ARITHMETIC = ("cf", "pf", "af", "zf", "sf", "of")
_APIC_ENABLE = APIC_BASE_ENABLE.bit_length() - 1
_APIC_BASE = MSRS[Msr.APIC_BASE].reset & ~APIC_BASE_ENABLE
_SYSTEM_FLAGS = {"tf": 1, "if_": 1, "df": 1, "iopl": 2, "nt": 1, "rf": 1, "ac": 1, "id": 1}


class SystemRegisters(wiring.Component):
    """EFLAGS, CR0-CR4, DR0-DR7, GDTR, IDTR, the SYSENTER MSRs, the time-stamp counter, CPL.

    1. ``write`` (a committing WRSYS) writes ``data`` to register ``sys``; registers held elsewhere are ignored.
    2. ``flags_en`` writes the arithmetic flags that ``flags_mask`` selects. ``flag_op``, ``popf`` and ``iret`` are
       committing FLAG, POPF and IRETF micro-operations with ``data`` and ``size``.
    3. ``read`` is register ``sys``, combinational; zero for registers held elsewhere.
    4. ``cr2_en`` sets CR2 on a page fault; ``dr6_set`` sets bits of DR6; ``debug_done`` is the end of the delivery of
       #DB, which clears DR7.GD.
    5. ``rf_clear`` is the end of an instruction: RF falls unless the instruction has written it.

    6. Writing CR3 gives ``inv_nonglobal``, writing CR4 or another PG, WP or PE to CR0 ``inv_all``, in the same cycle.
       SWITCH_CR0, SWITCH_CR3 and SWITCH_CR4 give neither, and SWITCH_CR0 sets PE: #VMEXIT does, whatever the host save
       area says, and VMRUN takes no guest without it.
    7. Reserved bits are dropped, fixed bits stay. What may not be written (#GP) is not written: the program checks.

    Members
    -------
    apic_enable : Out(1)
        IA32_APIC_BASE bit 11.
    tsc_offset : In(64)
        Added to the time-stamp counter that is read.
    sys : In(Sys); live : In(1); dr_index : In(3); read : Out(32)
        ``live``: a micro-operation is there to read ``sys``. ``dr_index`` is ModRM.reg, for Sys.DR.
    write, popf, iret, flag_op, flags_en : In(1)
        What the committing micro-operation does; at most one of the first four.
    data : In(32); size : In(Size); flag_kind : In(FlagOp)
    flags_in, flags_mask : In(Flags)
    rf_clear, cr2_en, debug_done : In(1); cr2_data, dr6_set : In(32)
    flags : Out(Flags); eflags : Out(EflagsLayout); cpl, ncpl : Out(2)
    cr0, cr2, cr3, cr4, dr, dr6, dr7, gdt_*, idt_*, sysenter_*, tsc : Out
        The registers.
    control : Out(PagingControl)
    inv_all, inv_nonglobal : Out(1)
    sti : Out(1)
        An STI that sets IF commits: no interrupt before the next instruction is complete.
    """

    def __init__(self):
        super().__init__({
            "tsc_offset": In(64), "sys": In(Sys), "live": In(1), "dr_index": In(3), "read": Out(32),
            "write": In(1), "data": In(32), "size": In(Size),
            "flags_en": In(1), "flags_in": In(Flags), "flags_mask": In(Flags),
            "flag_op": In(1), "flag_kind": In(FlagOp), "popf": In(1), "iret": In(1),
            "rf_clear": In(1), "cr2_en": In(1), "cr2_data": In(32), "dr6_set": In(32),
            "debug_done": In(1),
            "flags": Out(Flags), "eflags": Out(shape(EflagsLayout)), "cpl": Out(2), "ncpl": Out(2),
            "cr0": Out(shape(Cr0Layout), init={"pe": 1, "et": 1}), "cr2": Out(32), "cr3": Out(32),
            "cr4": Out(shape(Cr4Layout)),
            "gdt_base": Out(32), "gdt_limit": Out(16), "idt_base": Out(32), "idt_limit": Out(16),
            "dr": Out(32).array(4), "dr6": Out(32, init=DR6_FIXED), "dr7": Out(32, init=DR7_FIXED),
            "sysenter_cs": Out(32), "sysenter_esp": Out(32), "sysenter_eip": Out(32), "tsc": Out(64),
            "control": Out(PagingControl), "inv_all": Out(1), "inv_nonglobal": Out(1),
            "sti": Out(1), "apic_enable": Out(1, init=1),
        })

    def elaborate(self, platform):
        m = Module()
        arithmetic = {name: Signal(name=f"eflags_{name}") for name in _ARITHMETIC}
        system = {name: Signal(width, name=f"eflags_{name.rstrip('_')}") for name, width in _SYSTEM_FLAGS.items()}
        for name, flag in (arithmetic | system).items():
            m.d.comb += self.eflags[name].eq(flag)
        m.d.comb += self.eflags.one.eq(1)
        for name, flag in arithmetic.items():
            m.d.comb += self.flags[name].eq(flag)

        m.d.sync += self.tsc.eq(self.tsc + 1)
        # TSC_HI belongs to the TSC_LO read before it: the counter may carry in between.
        tsc_high = Signal(32)
        tsc = Signal(64, name="tsc_read")
        with m.If(self.sys == Sys.TSC_LO):
            m.d.comb += tsc.eq(self.tsc + self.tsc_offset)
            with m.If(self.live):
                m.d.sync += tsc_high.eq(tsc[32:])

        # Arithmetic flags.
        with m.If(self.flags_en):
            for name, flag in arithmetic.items():
                with m.If(self.flags_mask[name]):
                    m.d.sync += flag.eq(self.flags_in[name])
        with m.If(self.flag_op):
            with m.Switch(self.flag_kind):
                with m.Case(FlagOp.CLC):
                    m.d.sync += arithmetic["cf"].eq(0)
                with m.Case(FlagOp.STC):
                    m.d.sync += arithmetic["cf"].eq(1)
                with m.Case(FlagOp.CMC):
                    m.d.sync += arithmetic["cf"].eq(~arithmetic["cf"])
                with m.Case(FlagOp.CLD):
                    m.d.sync += system["df"].eq(0)
                with m.Case(FlagOp.STD):
                    m.d.sync += system["df"].eq(1)
                with m.Case(FlagOp.CLI):
                    m.d.sync += system["if_"].eq(0)
                with m.Case(FlagOp.STI):
                    m.d.sync += system["if_"].eq(1)
        m.d.comb += self.sti.eq(self.flag_op & (self.flag_kind == FlagOp.STI) & ~system["if_"])

        # Images of EFLAGS: POPF and IRET obey CPL and IOPL; WRSYS (task switch) does not.
        image = shape(EflagsLayout)(self.data)
        wide = self.size == Size.D
        whole = self.write & (self.sys == Sys.EFLAGS)
        load = Signal()
        m.d.comb += load.eq(self.popf | self.iret | whole)
        rf_written = Signal()
        with m.If(self.rf_clear):
            m.d.sync += rf_written.eq(0)
            with m.If(~rf_written):
                m.d.sync += system["rf"].eq(0)
        with m.If(load):
            m.d.sync += [flag.eq(image[name]) for name, flag in arithmetic.items()]
            m.d.sync += [system[name].eq(image[name]) for name in ("tf", "df", "nt")]
            with m.If(whole | (self.cpl <= system["iopl"])):
                m.d.sync += system["if_"].eq(image.if_)
            with m.If(whole | (self.cpl == 0)):
                m.d.sync += system["iopl"].eq(image.iopl)
            with m.If(whole | wide):
                m.d.sync += [system["ac"].eq(image.ac), system["id"].eq(image.id)]
            with m.If(whole | (self.iret & wide)):
                m.d.sync += [system["rf"].eq(image.rf), rf_written.eq(~self.rf_clear)]

        with m.If(self.write):
            with m.Switch(self.sys):
                with m.Case(Sys.IFTF):
                    m.d.sync += [system["tf"].eq(0), system["nt"].eq(0), system["rf"].eq(0)]
                    with m.If(~self.data[8]):
                        m.d.sync += system["if_"].eq(0)
                with m.Case(Sys.NT):
                    m.d.sync += system["nt"].eq(self.data[0])
                with m.Case(Sys.CR0):
                    m.d.sync += self.cr0.eq((self.data & CR0_WRITABLE) | CR0_FIXED)
                with m.Case(Sys.SWITCH_CR0):
                    m.d.sync += self.cr0.eq((self.data & CR0_WRITABLE) | CR0_FIXED | Cr0.PE)
                with m.Case(Sys.TS):
                    m.d.sync += self.cr0.ts.eq(self.data[0])
                with m.Case(Sys.CR2):
                    m.d.sync += self.cr2.eq(self.data)
                with m.Case(Sys.CR3, Sys.SWITCH_CR3):
                    m.d.sync += self.cr3.eq(self.data)
                with m.Case(Sys.CR4, Sys.SWITCH_CR4):
                    m.d.sync += self.cr4.eq(self.data & CR4_WRITABLE)
                with m.Case(Sys.CPL):
                    m.d.sync += self.cpl.eq(self.data[:2])
                with m.Case(Sys.NCPL):
                    m.d.sync += self.ncpl.eq(self.data[:2])
                with m.Case(Sys.GDT_BASE):
                    m.d.sync += self.gdt_base.eq(self.data)
                with m.Case(Sys.GDT_LIMIT):
                    m.d.sync += self.gdt_limit.eq(self.data)
                with m.Case(Sys.IDT_BASE):
                    m.d.sync += self.idt_base.eq(self.data)
                with m.Case(Sys.IDT_LIMIT):
                    m.d.sync += self.idt_limit.eq(self.data)
                with m.Case(Sys.DR):
                    with m.Switch(self.dr_index):
                        for index in range(4):
                            with m.Case(index):
                                m.d.sync += self.dr[index].eq(self.data)
                        with m.Case(4, 6):
                            m.d.sync += self.dr6.eq((self.data & DR6_WRITABLE) | DR6_FIXED)
                        with m.Case(5, 7):
                            m.d.sync += self.dr7.eq((self.data & DR7_WRITABLE) | DR7_FIXED)
                with m.Case(Sys.DR6):
                    m.d.sync += self.dr6.eq((self.data & DR6_WRITABLE) | DR6_FIXED)
                with m.Case(Sys.DR7):
                    m.d.sync += self.dr7.eq((self.data & DR7_WRITABLE) | DR7_FIXED)
                with m.Case(Sys.SYSENTER_CS):
                    m.d.sync += self.sysenter_cs.eq(self.data)
                with m.Case(Sys.SYSENTER_ESP):
                    m.d.sync += self.sysenter_esp.eq(self.data)
                with m.Case(Sys.SYSENTER_EIP):
                    m.d.sync += self.sysenter_eip.eq(self.data)
                with m.Case(Sys.APIC_BASE):
                    m.d.sync += self.apic_enable.eq(self.data[_APIC_ENABLE])
                with m.Case(Sys.TSC_LO):
                    m.d.sync += self.tsc[:32].eq(self.data)
                with m.Case(Sys.TSC_HI):
                    m.d.sync += self.tsc[32:].eq(self.data)
        with m.If(self.cr2_en):
            m.d.sync += self.cr2.eq(self.cr2_data)
        with m.If(self.debug_done):
            m.d.sync += self.dr7[13].eq(0)
        with m.If(self.dr6_set != 0):
            m.d.sync += self.dr6.eq(self.dr6 | self.dr6_set)

        # Paging.
        translation = int(Cr0.PG) | int(Cr0.WP) | int(Cr0.PE)
        m.d.comb += [
            self.inv_all.eq(self.write & (((self.sys == Sys.CR0) & (
                ((self.data ^ self.cr0.as_value()) & translation) != 0)) | (self.sys == Sys.CR4))),
            self.inv_nonglobal.eq(self.write & (self.sys == Sys.CR3)),
            self.control.paging.eq(self.cr0.pg),
            self.control.wp.eq(self.cr0.wp),
            self.control.pse.eq(self.cr4.pse),
            self.control.pge.eq(self.cr4.pge),
            self.control.cache_disable.eq(self.cr0.cd),
            self.control.cr3_base.eq(self.cr3[12:]),
        ]

        with m.Switch(self.sys):
            for number, value in (
                    (Sys.CR0, self.cr0.as_value()), (Sys.CR2, self.cr2), (Sys.CR3, self.cr3),
                    (Sys.CR4, self.cr4.as_value()), (Sys.EFLAGS, self.eflags.as_value()),
                    (Sys.GDT_BASE, self.gdt_base), (Sys.GDT_LIMIT, self.gdt_limit), (Sys.IDT_BASE, self.idt_base),
                    (Sys.IDT_LIMIT, self.idt_limit), (Sys.TSC_LO, tsc[:32]), (Sys.TSC_HI, tsc_high),
                    (Sys.CPL, self.cpl), (Sys.NCPL, self.ncpl), (Sys.DR6, self.dr6), (Sys.DR7, self.dr7),
                    (Sys.SYSENTER_CS, self.sysenter_cs), (Sys.SYSENTER_ESP, self.sysenter_esp),
                    (Sys.SYSENTER_EIP, self.sysenter_eip),
                    (Sys.APIC_BASE, C(_APIC_BASE, 32) | (self.apic_enable << _APIC_ENABLE))):
                with m.Case(number):
                    m.d.comb += self.read.eq(value)
            with m.Case(Sys.DR):
                debug = [*self.dr, self.dr6, self.dr7, self.dr6, self.dr7]
                m.d.comb += self.read.eq(Array(debug)[self.dr_index])
        return m
