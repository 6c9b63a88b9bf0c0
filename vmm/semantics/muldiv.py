"""Multiplication and division.

Undefined flags are ours: multiplication sets SF, ZF and PF from the low half and clears AF; division changes no flag.
"""

from __future__ import annotations

from rtl.isa.exceptions import Vector
from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops, Value


def _flags(o: Ops, low: Value, significant: Value) -> None:
    o.set_result(low)
    o.set_adjust(o.const(0, 32))
    o.set_carry(significant)
    o.set_overflow(significant)


def _write_double(o: Ops, product: Value, bits: int) -> None:
    """AX, DX:AX or EDX:EAX."""
    if bits == 8:
        o.set_reg(0, product)
    else:
        o.set_reg(0, o.trunc(product, bits))
        o.set_reg(2, o.trunc(o.shr(product, bits), bits))


def mul(o: Ops, x: Operands) -> None:
    b = x.read(0)
    bits = b.bits
    product = o.mul(o.zext(o.reg(0, bits), 2 * bits), o.zext(b, 2 * bits))
    low = o.trunc(product, bits)
    _write_double(o, product, bits)
    _flags(o, low, _differs(o, product, o.zext(low, 2 * bits)))


def _differs(o: Ops, a: Value, b: Value) -> Value:
    return o.not_(o.eq(a, b))


def imul(o: Ops, x: Operands) -> None:
    """One operand: into the accumulator pair; two or three: into the first."""
    if len(x.kinds) == 1:
        a, b = o.reg(0, x.bits(0)), x.read(0)
    elif len(x.kinds) == 2:
        a, b = x.read(0), x.read(1)
    else:
        a, b = x.read(1), x.read(2)
    bits = a.bits
    product = o.mul(o.sext(a, 2 * bits), o.sext(b, 2 * bits))
    low = o.trunc(product, bits)
    if len(x.kinds) == 1:
        _write_double(o, product, bits)
    else:
        x.write(0, low)
    _flags(o, low, _differs(o, product, o.sext(low, 2 * bits)))


def _dividend(o: Ops, bits: int) -> Value:
    if bits == 8:
        return o.reg(0, 16)
    high = o.shl(o.zext(o.reg(2, bits), 2 * bits), bits)
    return o.or_(high, o.zext(o.reg(0, bits), 2 * bits))


def _write_quotient(o: Ops, quotient: Value, remainder: Value, bits: int) -> None:
    if bits == 8:
        pair = o.or_(o.shl(remainder, 8), o.and_(quotient, o.const(0xFF, 16)))
        o.set_reg(0, pair)
    else:
        o.set_reg(0, o.trunc(quotient, bits))
        o.set_reg(2, o.trunc(remainder, bits))


def _refuse(o: Ops, condition: Value) -> None:
    with o.if_(condition):
        o.fault(Vector.DE)


def div(o: Ops, x: Operands) -> None:
    divisor = x.read(0)
    bits = divisor.bits
    dividend, wide = _dividend(o, bits), o.zext(divisor, 2 * bits)
    # a quotient that fits is the same as a high half below the divisor, and that covers division by zero
    _refuse(o, o.not_(o.ult(o.shr(dividend, bits), wide)))
    _write_quotient(o, o.udiv(dividend, wide), o.urem(dividend, wide), bits)


def idiv(o: Ops, x: Operands) -> None:
    divisor = x.read(0)
    bits = divisor.bits
    _refuse(o, o.eq(divisor, o.const(0, bits)))
    dividend, wide = _dividend(o, bits), o.sext(divisor, 2 * bits)
    quotient = o.sdiv(dividend, wide)
    _refuse(o, _differs(o, quotient, o.sext(o.trunc(quotient, bits), 2 * bits)))
    _write_quotient(o, quotient, o.srem(dividend, wide), bits)
