"""The A stage: the address registers as they will be, and the address they make."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.layout import shape
from rtl.isa.registers import Cr0Layout, EflagsLayout
from rtl.isa.segments import Attributes

from .address import AddressUnit
from .events import AccessFault
from .stages import Latch
from .uop import Aseg, Size, Step
from .wires import same

__all__ = ["AddressStage"]


class AddressStage(wiring.Component):
    """Forwards base and index from M and X to A, and forms the address. Combinational.

    1. ``wait`` : an older micro-operation still computes what the address depends on: a register that M writes, or X
       in this cycle only if it does not ``commit`` a whole register; a segment; DF. Otherwise the results are those of
       the program's order. A register that X or M steps is taken from there.
    2. ``linear``, ``step_half``, ``step_value`` and ``fault`` are those of `AddressUnit`.

    Parameters
    ----------
    a, m, x : Latch
        The micro-operations in the three stages, read here.

    Members
    -------
    base, index : In(32)
        What the register file has for them.
    result : In(32); commit : In(1)
        What X computes, and whether it is written at the next edge.
    user : In(1)
        CPL is 3.
    cr0, eflags, seg_base, seg_limit, seg_attr : In
    wait : Out(1); linear, step_value : Out(32); step_half : Out(1); fault : Out(AccessFault)
    """

    def __init__(self, a: Latch, m: Latch, x: Latch):
        self._stages = a, m, x
        super().__init__({
            "base": In(32), "index": In(32), "result": In(32), "commit": In(1), "user": In(1),
            "cr0": In(shape(Cr0Layout)), "eflags": In(shape(EflagsLayout)),
            "seg_base": In(32), "seg_limit": In(32), "seg_attr": In(shape(Attributes)),
            "wait": Out(1), "linear": Out(32), "step_value": Out(32), "step_half": Out(1), "fault": Out(AccessFault),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.address = address = AddressUnit()
        a, mm, x = self._stages

        def forwarded(row, present, file_value, name):
            """The value of an address register, and whether it must be waited for."""
            value, wait = Signal(32, name=f"{name}_value"), Signal(name=f"{name}_wait")
            with m.If(~present):
                pass
            with m.Elif(mm.valid & (mm.dst == row)):
                m.d.comb += wait.eq(1)
            with m.Elif(mm.valid & mm.step_en & (mm.step_reg == row)):
                m.d.comb += [value.eq(mm.step_value), wait.eq(mm.step_half)]
            with m.Elif(x.valid & (x.dst == row)):
                m.d.comb += [value.eq(self.result), wait.eq((x.dst_size != Size.D) | ~self.commit)]
            with m.Elif(x.valid & x.step_en & (x.step_reg == row)):
                m.d.comb += [value.eq(x.step_value), wait.eq(x.step_half)]
            with m.Else():
                m.d.comb += value.eq(file_value)
            return value, wait

        base, base_wait = forwarded(a.base, a.has_base, self.base, "base")
        index, index_wait = forwarded(a.index, a.has_index, self.index, "index")
        m.d.comb += [
            address.base.eq(base), address.index.eq(index),
            *same(address, a, "scale", "disp", "step", "delta", "mem", "width", "aseg"),
            *same(address, self, "seg_base", "seg_limit", "seg_attr"),
            address.wrap16.eq(a.wrap16 | (a.by_stack & ~self.seg_attr.db)),
            address.df.eq(self.eflags.df), address.align.eq(self.user & self.cr0.am & self.eflags.ac),
            *same(self, address, "linear", "step_value", "step_half", "fault"),
            self.wait.eq(base_wait | index_wait
                         | ((a.aseg < Aseg.PHYS) & ((mm.valid & mm.system_write) | (x.valid & x.system_write)))
                         | ((a.step == Step.STRING) & ((mm.valid & mm.df_write) | (x.valid & x.df_write)))),
        ]
        return m
