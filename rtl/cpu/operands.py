"""What X works on: the sources of its operands, the status word and the system registers among them."""

from amaranth.hdl import C, Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.isa.layout import shape
from rtl.isa.registers import Cr0Layout, Cr4Layout, EflagsLayout
from rtl.isa.segments import Attributes
from rtl.isa.svm import ExitCode

from .stages import Latch
from .uop import Aseg, Src, Status, Sys

__all__ = ["Operands", "SystemRead"]


class SystemRead(wiring.Component):
    """The system register that ``x.sys`` names, wherever it is. Combinational.

    1. Units that hold many of them give theirs in one of ``reads``, and zero for others. Those of smaller units, and
       the bits of `Status`, are put together here.

    Parameters
    ----------
    x : Latch
        The micro-operation, read here.

    Members
    -------
    reads : In(32) x 3
    cpl, eflags, cr0, cr4, dr7 : In
        As in `SystemRegisters`.
    x_sel, x_base, x_limit, x_attr, ss_32 : In
        As in `SegmentCaches`.
    mul_hi, div_rem : In(32); count_low, count_high : In
        As in `Execute`; the halves of a performance counter.
    e_has_error, e_soft : In(1); events : In(32); hsave_ram : In(1)
        As in `EventUnit` and `GuestMode`; VM_HSAVE_PA names a page of RAM.
    value : Out(32)
    """

    def __init__(self, x: Latch):
        self._x = x
        super().__init__({
            "reads": In(32).array(3), "cpl": In(2), "eflags": In(shape(EflagsLayout)), "cr0": In(shape(Cr0Layout)),
            "cr4": In(shape(Cr4Layout)), "dr7": In(32),
            "x_sel": In(16), "x_base": In(32), "x_limit": In(32), "x_attr": In(shape(Attributes)), "ss_32": In(1),
            "mul_hi": In(32), "div_rem": In(32), "count_low": In(32), "count_high": In(16),
            "e_has_error": In(1), "e_soft": In(1), "events": In(32), "hsave_ram": In(1), "value": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        x, flags = self._x, self.eflags
        status = Signal(32)
        iopl_ok = self.cpl <= flags.iopl
        tss32 = self.x_attr.type[3]
        io_exits = self.events[ExitCode.IOIO & 31]
        for bit, value in {
                Status.OPSIZE16: x.opsize16, Status.ADSIZE16: x.adsize16, Status.REP: x.repeat[1],
                Status.CPL0: self.cpl == 0, Status.CPL3: self.cpl == 3, Status.IOPL_OK: iopl_ok,
                Status.SS_B: self.ss_32, Status.NT: flags.nt, Status.VM: flags.vm, Status.PE: self.cr0.pe,
                Status.HAS_ERROR: self.e_has_error, Status.SOFT: self.e_soft, Status.MEMORY: x.memory,
                Status.DF: flags.df, Status.PCE: self.cr4.pce, Status.TSD: self.cr4.tsd, Status.PG: self.cr0.pg,
                Status.SREG_SS: x.sreg == Aseg.SS, Status.TSS32: tss32, Status.DR_GD: self.dr7[13],
                Status.DR_UD: (x.reg[1:] == 0b10) & self.cr4.de, Status.IO_INTERCEPT: io_exits,
                Status.MSR_INTERCEPT: self.events[ExitCode.MSR & 31],
                Status.TASK_INTERCEPT: self.events[ExitCode.TASK_SWITCH & 31],
                Status.PORT_OK: iopl_ok & ~io_exits, Status.BITMAP_OK: tss32 & ~io_exits,
                Status.HSAVE_RAM: self.hsave_ram}.items():
            m.d.comb += status[bit].eq(value)
        attributes = self.x_attr.as_value()
        with m.Switch(x.sys):
            for number, value in {
                    Sys.STATUS: status, Sys.SEL: self.x_sel, Sys.BASE: self.x_base, Sys.LIMIT: self.x_limit,
                    Sys.ATTR: Cat(C(0, 8), attributes[:8], C(0, 4), attributes[8:]),
                    Sys.SEGWORD: Cat(self.x_sel, attributes), Sys.MUL_HI: self.mul_hi, Sys.DIV_REM: self.div_rem,
                    Sys.PERF_LO: self.count_low, Sys.PERF_HI: self.count_high}.items():
                with m.Case(number):
                    m.d.comb += self.value.eq(value)
            with m.Default():
                m.d.comb += self.value.eq(self.reads[0] | self.reads[1] | self.reads[2])
        return m


class Operands(wiring.Component):
    """The operands that ``x.a`` and ``x.b`` name, of `Src`. Combinational.

    Parameters
    ----------
    x : Latch
        The micro-operation, read here.
    constants : list of int
        The constant ROM.

    Members
    -------
    a_row, b_row, system : In(32)
        Registers of the register file; the system register.
    a, b, next_eip : Out(32)
    """

    def __init__(self, x: Latch, constants: list[int]):
        self._x = x
        self._constants = constants
        super().__init__({"a_row": In(32), "b_row": In(32), "system": In(32), "a": Out(32), "b": Out(32),
                          "next_eip": Out(32)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.constants = constants = Memory(shape=32, depth=256, init=self._constants)
        constant = constants.read_port(domain="comb")
        x = self._x
        m.d.comb += [constant.addr.eq(x.const), self.next_eip.eq(x.eip + x.length)]
        for value, select, register in ((self.a, x.a, self.a_row), (self.b, x.b, self.b_row)):
            with m.Switch(select):
                for number, source in {
                        Src.SYS: self.system, Src.IMM: x.imm, Src.MEM: x.loaded, Src.EIP: x.eip,
                        Src.NEXT: self.next_eip, Src.CONST: constant.data, Src.ZERO: C(0, 32), Src.IMM2: x.imm2,
                        Src.ADDR: x.linear, Src.RM_NUMBER: Cat(x.rm, C(0, 28), C(1, 1))}.items():
                    with m.Case(number):
                        m.d.comb += value.eq(source)
                with m.Default():
                    m.d.comb += value.eq(register)
        return m
