"""The execution unit: everything X computes from its operands."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .bcd import DecimalAdjust
from .flags import Flags
from .muldiv import MulDiv
from .shifter import Shifter
from .uop import Alu, FlagSet, Size

__all__ = ["Execute"]

_SUBTRACT = (Alu.SUB, Alu.SBB, Alu.LOOP)
_SHIFTS = (Alu.ROL, Alu.ROR, Alu.RCL, Alu.RCR, Alu.SHL, Alu.SHR, Alu.SAR, Alu.SHLD, Alu.SHRD, Alu.SHLD_CL, Alu.SHRD_CL)


class Execute(wiring.Component):
    """Computes ``op`` of `Alu`; operations not computed here pass B.

    1. Operands come right-justified; bits above ``size`` may be anything. Bits of ``result`` above ``size`` mean
       nothing, except for the 16-bit results of byte multiplication and division.
    2. ``start`` is 1 in the first cycle of an operation. ``ready`` is 1 when ``result`` is valid: at once, but for
       multiplication and division.
    3. ``flags_out`` is what the result makes of all six flags; ``flags_mask`` selects the ones to write.

    Members
    -------
    op : In(Alu); size : In(Size); a, b : In(32)
    imm, ecx, edx : In(32)
        Implicit operands: count of SHLD and SHRD, high half of a dividend.
    flags_in : In(Flags); flag_set : In(FlagSet); condition : In(4)
    start : In(1)
    result : Out(32); ready : Out(1)
    flags_out, flags_mask : Out(Flags)
    cond : Out(1)
        Condition ``condition`` holds in ``flags_in``.
    divide_error : Out(1); mul_hi, div_rem : Out(32)
    """

    def __init__(self):
        super().__init__({
            "op": In(Alu), "size": In(Size), "a": In(32), "b": In(32), "imm": In(32), "ecx": In(32), "edx": In(32),
            "flags_in": In(Flags), "flag_set": In(FlagSet), "condition": In(4), "start": In(1),
            "result": Out(32), "ready": Out(1), "flags_out": Out(Flags), "flags_mask": Out(Flags), "cond": Out(1),
            "divide_error": Out(1), "mul_hi": Out(32), "div_rem": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.shifter = shifter = Shifter()
        m.submodules.muldiv = muldiv = MulDiv()
        m.submodules.bcd = bcd = DecimalAdjust()
        op, a, b, flags = self.op, self.a, self.b, self.flags_in
        byte, half = self.size == Size.B, self.size == Size.W

        def sized(value):
            return Mux(byte, value[:8], Mux(half, value[:16], value[:32]))

        # Adder. Operands are cut to their size, so bit `size` of the sum is carry or borrow.
        a_sized = Signal(32)
        b_sized = Signal(32)
        m.d.comb += [a_sized.eq(sized(a)), b_sized.eq(sized(b))]
        subtract = Signal()
        carry_in = Signal()
        addend = Signal(32)
        total = Signal(33)
        with m.Switch(op):
            with m.Case(*_SUBTRACT):
                m.d.comb += subtract.eq(1)
        with m.Switch(op):
            with m.Case(Alu.ADC, Alu.SBB):
                m.d.comb += carry_in.eq(flags.cf)
        m.d.comb += [
            addend.eq(Mux(op == Alu.LOOP, 1, b_sized)),
            total.eq(Mux(subtract, a_sized - addend - carry_in, a_sized + addend + carry_in)),
        ]

        # Condition. SDM vol. 1, appendix B.
        base = Signal()
        with m.Switch(self.condition[1:]):
            for number, value in enumerate((flags.of, flags.cf, flags.zf, flags.cf | flags.zf, flags.sf, flags.pf,
                                            flags.sf ^ flags.of, flags.zf | (flags.sf ^ flags.of))):
                with m.Case(number):
                    m.d.comb += base.eq(value)
        m.d.comb += self.cond.eq(base ^ self.condition[0])

        # Bits.
        index = Mux(half, b[:4], b[:5])
        selected = Signal(32)
        m.d.comb += selected.eq(C(1, 32) << index)
        first = Signal(5)
        last = Signal(5)
        for position in reversed(range(32)):
            with m.If(b_sized[position]):
                m.d.comb += first.eq(position)
        for position in range(32):
            with m.If(b_sized[position]):
                m.d.comb += last.eq(position)

        m.d.comb += [
            shifter.op.eq(op), shifter.size.eq(self.size), shifter.a.eq(a), shifter.b.eq(b),
            shifter.carry.eq(flags.cf), shifter.amount.eq(b),
            muldiv.op.eq(op), muldiv.size.eq(self.size), muldiv.a.eq(a), muldiv.b.eq(b), muldiv.d.eq(self.edx),
            bcd.op.eq(op), bcd.ax.eq(a), bcd.flags.eq(flags),
            self.mul_hi.eq(muldiv.mul_hi), self.div_rem.eq(muldiv.div_rem), self.divide_error.eq(muldiv.error),
            self.ready.eq(1),
        ]
        with m.Switch(op):
            with m.Case(Alu.SHLD, Alu.SHRD):
                m.d.comb += shifter.amount.eq(self.imm)
            with m.Case(Alu.SHLD_CL, Alu.SHRD_CL):
                m.d.comb += shifter.amount.eq(self.ecx)
            with m.Case(Alu.MUL, Alu.IMUL, Alu.DIV, Alu.IDIV):
                m.d.comb += [muldiv.start.eq(self.start), self.ready.eq(muldiv.ready)]

        result = self.result
        sign = Mux(byte, a[7], Mux(half, a[15], a[31]))
        with m.Switch(op):
            with m.Case(Alu.ADD, Alu.ADC, *_SUBTRACT):
                m.d.comb += result.eq(total)
            with m.Case(Alu.AND):
                m.d.comb += result.eq(a & b)
            with m.Case(Alu.OR):
                m.d.comb += result.eq(a | b)
            with m.Case(Alu.XOR):
                m.d.comb += result.eq(a ^ b)
            with m.Case(*_SHIFTS):
                m.d.comb += result.eq(shifter.result)
            with m.Case(Alu.CBW):
                m.d.comb += result.eq(Mux(half, b[:8].as_signed(), b[:16].as_signed()))
            with m.Case(Alu.BT, Alu.JCXZ):
                m.d.comb += result.eq(a)
            with m.Case(Alu.BTS):
                m.d.comb += result.eq(a | selected)
            with m.Case(Alu.BTR):
                m.d.comb += result.eq(a & ~selected)
            with m.Case(Alu.BTC):
                m.d.comb += result.eq(a ^ selected)
            with m.Case(Alu.BSF):
                m.d.comb += result.eq(Mux(b_sized == 0, a, first))
            with m.Case(Alu.BSR):
                m.d.comb += result.eq(Mux(b_sized == 0, a, last))
            with m.Case(Alu.BSWAP):
                m.d.comb += result.eq(Mux(half, 0, Cat(a[24:32], a[16:24], a[8:16], a[:8])))
            with m.Case(Alu.ZX8):
                m.d.comb += result.eq(b[:8])
            with m.Case(Alu.ZX16):
                m.d.comb += result.eq(b[:16])
            with m.Case(Alu.SX8):
                m.d.comb += result.eq(b[:8].as_signed())
            with m.Case(Alu.SX16):
                m.d.comb += result.eq(b[:16].as_signed())
            with m.Case(Alu.SIGN):
                m.d.comb += result.eq(sign.replicate(32))
            with m.Case(Alu.MUL, Alu.IMUL, Alu.DIV, Alu.IDIV):
                m.d.comb += result.eq(muldiv.result)
            with m.Case(Alu.SETCC):
                m.d.comb += result.eq(self.cond)
            with m.Case(Alu.CMOV):
                m.d.comb += result.eq(Mux(self.cond, b, a))
            with m.Case(Alu.LAHF):
                m.d.comb += result.eq(Cat(a[:8], flags.cf, C(1, 1), flags.pf, C(0, 1), flags.af, C(0, 1), flags.zf,
                                          flags.sf))
            with m.Case(Alu.DAA, Alu.DAS, Alu.AAA, Alu.AAS):
                m.d.comb += result.eq(bcd.result)
            with m.Case(Alu.LIMIT):
                m.d.comb += result.eq(Mux(a[23], Cat(C(0xFFF, 12), b[:16], a[16:20]), Cat(b[:16], a[16:20])))
            with m.Default():
                m.d.comb += result.eq(b)

        out = self.flags_out
        adjust = (op == Alu.DAA) | (op == Alu.DAS) | (op == Alu.AAA) | (op == Alu.AAS)
        value = Signal(32)
        top = Signal()
        m.d.comb += [
            value.eq(Mux(adjust, result[:8], sized(result))),
            top.eq(Mux(byte | adjust, value[7], Mux(half, value[15], value[31]))),
            out.zf.eq(value == 0), out.sf.eq(top), out.pf.eq(~value[:8].xor()),
        ]
        a_top, b_top = sign, Mux(byte, b[7], Mux(half, b[15], b[31]))
        with m.Switch(op):
            with m.Case(Alu.ADD, Alu.ADC, *_SUBTRACT):
                m.d.comb += [
                    out.cf.eq(Mux(byte, total[8], Mux(half, total[16], total[32]))),
                    out.af.eq(a[4] ^ addend[4] ^ total[4]),
                    out.of.eq((a_top ^ top) & (a_top ^ b_top ^ ~subtract)),
                ]
            with m.Case(*_SHIFTS):
                m.d.comb += [out.cf.eq(shifter.cf), out.of.eq(shifter.of)]
            with m.Case(Alu.BT, Alu.BTS, Alu.BTR, Alu.BTC):
                m.d.comb += out.cf.eq((a & selected).any())
            with m.Case(Alu.BSF, Alu.BSR):
                m.d.comb += out.zf.eq(b_sized == 0)
            with m.Case(Alu.MUL, Alu.IMUL):
                m.d.comb += [out.cf.eq(muldiv.significant), out.of.eq(muldiv.significant)]
            with m.Case(Alu.DAA, Alu.DAS, Alu.AAA, Alu.AAS):
                m.d.comb += [out.cf.eq(bcd.cf), out.af.eq(bcd.af)]
            with m.Case(Alu.SAHF):
                m.d.comb += [out.cf.eq(a[8]), out.pf.eq(a[10]), out.af.eq(a[12]), out.zf.eq(a[14]), out.sf.eq(a[15]),
                             out.of.eq(flags.of)]

        mask = self.flags_mask
        with m.Switch(self.flag_set):
            with m.Case(FlagSet.ALL):
                m.d.comb += mask.eq(0b111111)
            with m.Case(FlagSet.NO_CF):
                m.d.comb += mask.eq(0b111110)
            with m.Case(FlagSet.CF):
                m.d.comb += mask.cf.eq(1)
            with m.Case(FlagSet.ZF):
                m.d.comb += mask.zf.eq(1)
            with m.Case(FlagSet.SHIFT):
                m.d.comb += mask.eq(Mux(shifter.zero, 0, 0b111111))
            with m.Case(FlagSet.ROTATE):
                m.d.comb += [mask.cf.eq(~shifter.zero), mask.of.eq(~shifter.zero)]
            with m.Case(FlagSet.CF_OF):
                m.d.comb += [mask.cf.eq(1), mask.of.eq(1)]
        return m
