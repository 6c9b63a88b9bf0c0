"""Multiplication and division."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .uop import Alu, Size

__all__ = ["MulDiv"]


class MulDiv(wiring.Component):
    """One multiplier of two cycles' latency, one divider of a bit per cycle. SDM vol. 2A, MUL, IMUL, DIV, IDIV.

    1. ``start`` is 1 in the first cycle of an operation; ``op``, ``size`` and the operands stay until ``ready``.
    2. ``ready`` is 1 from the cycle the result is valid in until the next ``start``. A new ``start`` abandons an
       operation under way.
    3. ``result`` is the low half of a product (of bytes: all 16 bits) or the quotient (of bytes: remainder and
       quotient in bits 15:8 and 7:0). ``mul_hi`` and ``div_rem`` hold the other half until the next operation, as long
       as ``size`` stays.
    4. ``error`` with ``ready``: division by zero, or a quotient that does not fit.

    A product takes 3 cycles, a quotient its width plus 3.

    Members
    -------
    start : In(1); op : In(Alu); size : In(Size)
    a, b, d : In(32)
        Operands; ``d`` is the high half of a dividend (not of a byte division, whose dividend is a[15:0]).
    ready, error : Out(1)
    result, mul_hi, div_rem : Out(32)
    significant : Out(1)
        The high half of the product holds more than the extension of the low half.
    """

    def __init__(self):
        super().__init__({
            "start": In(1), "op": In(Alu), "size": In(Size), "a": In(32), "b": In(32), "d": In(32),
            "ready": Out(1), "error": Out(1), "result": Out(32), "mul_hi": Out(32), "div_rem": Out(32),
            "significant": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        byte, half = self.size == Size.B, self.size == Size.W
        signed = (self.op == Alu.IMUL) | (self.op == Alu.IDIV)

        def extended(value):
            return Mux(byte, Cat(value[:8], (signed & value[7]).replicate(25)),
                       Mux(half, Cat(value[:16], (signed & value[15]).replicate(17)),
                           Cat(value, signed & value[31])))

        a = Signal(33)
        b = Signal(33)
        m.d.comb += [a.eq(extended(self.a)), b.eq(extended(self.b))]

        # Multiplier: operands and product registered.
        multiply = (self.op == Alu.MUL) | (self.op == Alu.IMUL)
        factor_a = Signal(33)
        factor_b = Signal(33)
        product = Signal(64)
        mul_go = Signal()
        mul_ready = Signal()
        with m.If(self.start & multiply):
            m.d.sync += [factor_a.eq(a), factor_b.eq(b), mul_ready.eq(0), mul_go.eq(1)]
        with m.If(mul_go):
            m.d.sync += [
                product.eq(factor_a.as_signed() * factor_b.as_signed()), mul_ready.eq(1), mul_go.eq(0)]
        high = Mux(byte, product[8:16], Mux(half, product[16:32], product[32:]))
        low_sign = Mux(byte, product[7], Mux(half, product[15], product[31]))
        ones = Mux(byte, C(0xFF, 32), Mux(half, C(0xFFFF, 32), C(0xFFFFFFFF, 32)))
        m.d.comb += [
            self.mul_hi.eq(high),
            self.significant.eq(high != Mux(signed & low_sign, ones, 0)),
        ]

        # Divider: restoring, one bit per cycle, on magnitudes.
        divide = (self.op == Alu.DIV) | (self.op == Alu.IDIV)
        dividend = Signal(64)
        negative = Signal()
        m.d.comb += dividend.eq(Mux(byte, self.a[:16], Mux(half, Cat(self.a[:16], self.d[:16]), Cat(self.a, self.d))))
        m.d.comb += negative.eq(signed & Mux(byte, self.a[15], Mux(half, self.d[15], self.d[31])))
        magnitude = Signal(64)
        m.d.comb += magnitude.eq(Mux(negative, -dividend, dividend))
        divisor = Signal(32)
        remainder = Signal(32)
        quotient = Signal(32)
        left = Signal(6)
        preparing = Signal()
        running = Signal()
        div_ready = Signal()
        negative_quotient = Signal()
        negative_remainder = Signal()
        overflow = Signal()
        width = Mux(byte, 8, Mux(half, 16, 32))
        high_half = Mux(byte, magnitude[8:16], Mux(half, magnitude[16:32], magnitude[32:]))
        low_half = Mux(byte, Cat(C(0, 24), magnitude[:8]), Mux(half, Cat(C(0, 16), magnitude[:16]), magnitude[:32]))
        with m.If(self.start & divide):
            m.d.sync += [
                divisor.eq(Mux(b[32], -b, b)), remainder.eq(high_half), quotient.eq(low_half),
                negative_quotient.eq(negative ^ b[32]), negative_remainder.eq(negative), left.eq(width),
                div_ready.eq(0), preparing.eq(1), running.eq(0),
            ]
        with m.Elif(preparing):
            m.d.sync += [overflow.eq(remainder >= divisor), preparing.eq(0), running.eq(1)]
        with m.Elif(running):
            shifted = Cat(quotient[31], remainder)
            difference = Signal(34)
            m.d.comb += difference.eq(shifted - divisor)
            m.d.sync += [
                remainder.eq(Mux(difference[33], shifted, difference)),
                quotient.eq(Cat(~difference[33], quotient[:31])),
                left.eq(left - 1),
            ]
            with m.If(overflow | (left == 1)):
                m.d.sync += [running.eq(0), div_ready.eq(1)]
        limit = Mux(byte, C(0x80, 32), Mux(half, C(0x8000, 32), C(0x80000000, 32)))
        signed_quotient = Mux(negative_quotient, -quotient, quotient)[:32]
        masked = Mux(byte, signed_quotient[:8], Mux(half, signed_quotient[:16], signed_quotient))
        signed_remainder = Signal(32)
        m.d.comb += [
            signed_remainder.eq(Mux(negative_remainder, -remainder, remainder)),
            self.div_rem.eq(signed_remainder),
            self.error.eq(divide & (overflow | (signed & Mux(negative_quotient, quotient > limit, quotient >= limit)))),
            self.ready.eq(~self.start & Mux(multiply, mul_ready, div_ready)),
            self.result.eq(Mux(multiply, product[:32], Mux(byte, Cat(masked[:8], signed_remainder[:8]), masked))),
        ]
        return m
