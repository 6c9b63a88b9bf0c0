"""Decimal adjustment: DAA, DAS, AAA, AAS."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .flags import Flags
from .uop import Alu

__all__ = ["DecimalAdjust"]


class DecimalAdjust(wiring.Component):
    """Combinational. SDM vol. 2A, AAA, AAS, DAA, DAS. Undefined flags: OF is 0, SF, ZF and PF follow AL.

    Members
    -------
    op : In(Alu); ax : In(16); flags : In(Flags)
    result : Out(16); cf, af : Out(1)
    """

    def __init__(self):
        super().__init__({"op": In(Alu), "ax": In(16), "flags": In(Flags), "result": Out(16), "cf": Out(1),
                          "af": Out(1)})

    def elaborate(self, platform):
        m = Module()
        al, ah = self.ax[:8], self.ax[8:]
        low = Signal()
        high = Signal()
        adjusted = Signal(8)
        value = Signal(8)
        subtract = (self.op == Alu.DAS) | (self.op == Alu.AAS)
        m.d.comb += [
            low.eq((al[:4] > 9) | self.flags.af),
            high.eq((al > 0x99) | self.flags.cf),
            self.af.eq(low),
        ]
        with m.If((self.op == Alu.DAA) | (self.op == Alu.DAS)):
            m.d.comb += [
                adjusted.eq(Mux(low, Mux(subtract, al - 6, al + 6), al)),
                value.eq(Mux(high, Mux(subtract, adjusted - 0x60, adjusted + 0x60), adjusted)),
                self.result.eq(Cat(value, ah)),
                # The manual's DAS keeps the borrow of its low step.
                self.cf.eq(high | (subtract & low & (al < 6))),
            ]
        with m.Else():
            changed = Mux(low, Mux(subtract, self.ax - 0x106, self.ax + 0x106), self.ax)
            m.d.comb += [self.result.eq(changed & 0xFF0F), self.cf.eq(low)]
        return m
