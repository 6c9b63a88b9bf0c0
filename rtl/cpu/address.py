"""Address generation: the A stage's adders and segment checks."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.layout import shape
from rtl.isa.segments import Attributes

from .events import AccessFault
from .uop import Aseg, Mem, Size, Step

__all__ = ["AddressUnit"]


class AddressUnit(wiring.Component):
    """Forms the linear address of an access and checks it against its segment. Combinational.

    1. ``offset`` is base + index * 2**scale + disp, cut to 16 bits with ``wrap16``; ``linear`` adds the segment base.
    2. ``fault`` is AccessFault.NONE for no access, for Aseg.LIN, and for an access its segment allows: readable
       (writable for RMW and STORE), within the limit, expand-down segments the other way round
       (SDM vol. 3A, 5.3 and 5.5). Alignment, of the linear address, is checked last: ``align`` is CPL 3 with CR0.AM
       and EFLAGS.AC.
    3. ``step_value`` is what the base register becomes; with ``step_half`` only its lower half is written.

    Members
    -------
    base, index : In(32)
        Register values, zero where the address has none.
    scale : In(2); disp : In(32); wrap16 : In(1)
    step : In(Step); delta : In(32)
        ``delta`` is the step of the base register; of a string instruction its size, the sign being that of ``df``.
    df, align : In(1)
    mem : In(Mem); width : In(Size); aseg : In(Aseg)
    seg_base, seg_limit, seg_attr : In
        The caches of segment ``aseg``.
    linear, step_value : Out(32)
    step_half : Out(1)
    fault : Out(AccessFault)
    """

    def __init__(self):
        super().__init__({
            "base": In(32), "index": In(32), "scale": In(2), "disp": In(32), "wrap16": In(1),
            "step": In(Step), "delta": In(32), "df": In(1), "align": In(1),
            "mem": In(Mem), "width": In(Size), "aseg": In(Aseg),
            "seg_base": In(32), "seg_limit": In(32), "seg_attr": In(shape(Attributes)),
            "linear": Out(32), "step_value": Out(32), "step_half": Out(1), "fault": Out(AccessFault),
        })

    def elaborate(self, platform):
        m = Module()
        offset = Signal(32)
        total = Signal(32)
        flat = Signal()
        m.d.comb += [
            total.eq(self.base + (self.index << self.scale) + self.disp),
            offset.eq(Mux(self.wrap16, total[:16], total)),
            flat.eq((self.aseg == Aseg.LIN) | (self.aseg == Aseg.PHYS)),
            self.linear.eq(Mux(flat, offset, self.seg_base + offset)),
        ]

        stepped = Signal(32)
        backward = (self.step == Step.STRING) & self.df
        m.d.comb += [
            stepped.eq(Mux(backward, self.base - self.delta, self.base + self.delta)),
            self.step_half.eq(self.wrap16),
            self.step_value.eq(Mux(self.wrap16, Cat(stepped[:16], self.base[16:]), stepped)),
        ]

        last = Signal(33)
        extra = Signal(2)
        outside = Signal()
        refused = Signal()
        misaligned = Signal()
        with m.Switch(self.width):
            with m.Case(Size.W):
                m.d.comb += extra.eq(1)
            with m.Case(Size.D):
                m.d.comb += extra.eq(3)
        m.d.comb += last.eq(offset + extra)
        with m.If((self.mem != Mem.NONE) & ~flat):
            attr = self.seg_attr
            with m.If(attr.is_expand_down()):
                m.d.comb += outside.eq((offset <= self.seg_limit) | last[32] | (~attr.db & (last[16:32] != 0)))
            with m.Else():
                m.d.comb += outside.eq(last > self.seg_limit)
            m.d.comb += refused.eq(~attr.p | Mux(self.mem == Mem.LOAD, ~attr.is_readable(), ~attr.is_writable()))
            m.d.comb += misaligned.eq(self.align & ((self.linear[:2] & extra) != 0))
            with m.If(outside | refused):
                with m.Switch(self.aseg):
                    with m.Case(Aseg.SS):
                        m.d.comb += self.fault.eq(AccessFault.STACK)
                    with m.Case(Aseg.TMP0, Aseg.TMP1):
                        m.d.comb += self.fault.eq(AccessFault.NEW_STACK)
                    with m.Default():
                        m.d.comb += self.fault.eq(AccessFault.PROTECTION)
            with m.Elif(misaligned):
                m.d.comb += self.fault.eq(AccessFault.ALIGNMENT)
        return m
