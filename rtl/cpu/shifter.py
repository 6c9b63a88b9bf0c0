"""Shifts, rotates and double shifts: one funnel shifter."""

from amaranth.hdl import Array, C, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .uop import Alu, Size

__all__ = ["Shifter"]

_LEFT = (Alu.SHL, Alu.ROL, Alu.SHLD, Alu.SHLD_CL)
_DOUBLE_LEFT = (Alu.SHLD, Alu.SHLD_CL)
_DOUBLE_RIGHT = (Alu.SHRD, Alu.SHRD_CL)


class Shifter(wiring.Component):
    """Every shift is a 64-bit word shifted right. Combinational. SDM vol. 2B, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD.

    1. ``amount`` is masked to 5 bits; RCL and RCR reduce it by the width plus one. ``zero`` says that nothing is left
       to do: ``result`` is ``a`` and no flag changes.
    2. Flags the manual leaves undefined are those of the last single-bit step; AF is 0.
    3. SHLD and SHRD of 16 bits by more than 16 shift the destination in again behind the source.

    Members
    -------
    op : In(Alu); size : In(Size)
    a, b : In(32); amount : In(5); carry : In(1)
    result : Out(32); cf, of, zero : Out(1)
    """

    def __init__(self):
        super().__init__({
            "op": In(Alu), "size": In(Size), "a": In(32), "b": In(32), "amount": In(5), "carry": In(1),
            "result": Out(32), "cf": Out(1), "of": Out(1), "zero": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        a, b = self.a, self.b
        through = (self.op == Alu.RCL) | (self.op == Alu.RCR)
        count = Signal(5)
        m.d.comb += count.eq(self.amount)
        with m.If(through & (self.size == Size.B)):
            m.d.comb += count.eq(Array(Const(n % 9, 5) for n in range(32))[self.amount])
        with m.If(through & (self.size == Size.W)):
            m.d.comb += count.eq(Array(Const(n % 17, 5) for n in range(32))[self.amount])
        m.d.comb += self.zero.eq(count == 0)

        bits = Signal(6)
        word = Signal(64)
        byte, half = self.size == Size.B, self.size == Size.W
        with m.If(byte):
            m.d.comb += bits.eq(8)
        with m.Elif(half):
            m.d.comb += bits.eq(16)
        with m.Else():
            m.d.comb += bits.eq(32)
        a_masked = Signal(32)
        m.d.comb += a_masked.eq(Mux(byte, a[:8], Mux(half, a[:16], a)))
        # One less than the distance to the right: the last bit shifted out stays visible as bit 0.
        distance = Signal(6)
        m.d.comb += distance.eq(count - 1)
        with m.Switch(self.op):
            with m.Case(Alu.SHR):
                m.d.comb += word.eq(a_masked)
            with m.Case(Alu.SAR):
                m.d.comb += word.eq(Mux(byte, a[:8].as_signed(), Mux(half, a[:16].as_signed(), a.as_signed())))
            with m.Case(Alu.SHL):
                m.d.comb += word.eq(Cat(C(0, 32), a_masked))
            with m.Case(Alu.ROL, Alu.ROR):
                m.d.comb += word.eq(Mux(byte, a[:8].replicate(8), Mux(half, a[:16].replicate(4), a.replicate(2))))
            with m.Case(Alu.RCL, Alu.RCR):
                m.d.comb += word.eq(Mux(byte, Cat(a[:8], self.carry, a[:8]),
                                        Mux(half, Cat(a[:16], self.carry, a[:16]), Cat(a, self.carry, a))))
            with m.Case(*_DOUBLE_LEFT):
                m.d.comb += word.eq(Mux(half, Cat(a[:16], b[:16], a[:16]), Cat(b, a)))
            with m.Case(*_DOUBLE_RIGHT):
                m.d.comb += word.eq(Mux(half, Cat(a[:16], b[:16], a[:16]), Cat(a, b)))
        with m.Switch(self.op):
            with m.Case(*_LEFT):
                m.d.comb += distance.eq(31 - count)
            with m.Case(Alu.RCL):
                m.d.comb += distance.eq(bits - count)

        shifted = Signal(64)
        result = Signal(32)
        top = Signal()
        second = Signal()
        above = Signal()
        before = Signal()
        m.d.comb += [
            shifted.eq(word >> distance),
            result.eq(shifted[1:33]),
            top.eq(Mux(byte, result[7], Mux(half, result[15], result[31]))),
            second.eq(Mux(byte, result[6], Mux(half, result[14], result[30]))),
            above.eq(Mux(byte, shifted[9], Mux(half, shifted[17], shifted[33]))),
            before.eq(Mux(byte, shifted[7], Mux(half, shifted[15], shifted[31]))),
            self.result.eq(Mux(self.zero, a, result)),
            self.cf.eq(shifted[0]),
        ]
        with m.Switch(self.op):
            with m.Case(Alu.SHL, *_DOUBLE_LEFT):
                m.d.comb += [self.cf.eq(above), self.of.eq(top ^ above)]
            with m.Case(Alu.ROL):
                m.d.comb += [self.cf.eq(result[0]), self.of.eq(top ^ result[0])]
            with m.Case(Alu.ROR):
                m.d.comb += [self.cf.eq(top), self.of.eq(top ^ second)]
            with m.Case(Alu.RCL):
                m.d.comb += self.of.eq(top ^ shifted[0])
            with m.Case(Alu.RCR, *_DOUBLE_RIGHT):
                m.d.comb += self.of.eq(top ^ second)
            with m.Case(Alu.SHR):
                m.d.comb += self.of.eq(before)
        return m
