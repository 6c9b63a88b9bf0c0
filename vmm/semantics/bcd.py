"""Decimal adjustment.

Undefined flags are ours: OF is cleared by DAA, DAS, AAA and AAS; AAA and AAS set SF, ZF and PF from AL;
AAM and AAD clear CF, OF and AF.
"""

from __future__ import annotations

from rtl.isa.exceptions import Vector
from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops, Value


def _low_digit_adjust(o: Ops, al: Value) -> Value:
    """(AL AND 0FH) > 9 or AF = 1."""
    low = o.and_(al, o.const(0xF, 8))
    return o.or_(o.ult(o.const(9, 8), low), o.flag("af"))


def _decimal(o: Ops, subtract: bool) -> None:
    old, old_carry = o.reg(0, 8), o.flag("cf")
    operate = o.sub if subtract else o.add
    low = _low_digit_adjust(o, old)
    high = o.or_(o.ult(o.const(0x99, 8), old), old_carry)
    after_low = operate(old, o.select(low, o.const(6, 8), o.const(0, 8)))
    result = operate(after_low, o.select(high, o.const(0x60, 8), o.const(0, 8)))
    carry = high
    if subtract:
        # the manual's DAS keeps the borrow of the low step
        carry = o.or_(high, o.and_(low, o.ult(old, o.const(6, 8))))
    o.set_reg(0, result)
    o.set_result(result)
    o.set_carry(carry)
    o.set_adjust(o.shl(o.zext(low, 32), 4))
    o.set_overflow(o.const(0, 32))


def daa(o: Ops, x: Operands) -> None:
    _decimal(o, subtract=False)


def das(o: Ops, x: Operands) -> None:
    _decimal(o, subtract=True)


def _ascii(o: Ops, subtract: bool) -> None:
    ax = o.reg(0, 16)
    adjust = _low_digit_adjust(o, o.trunc(ax, 8))
    operate = o.sub if subtract else o.add
    changed = operate(ax, o.select(adjust, o.const(0x106, 16), o.const(0, 16)))
    result = o.and_(changed, o.const(0xFF0F, 16))
    o.set_reg(0, result)
    o.set_result(o.trunc(result, 8))
    o.set_carry(adjust)
    o.set_adjust(o.shl(o.zext(adjust, 32), 4))
    o.set_overflow(o.const(0, 32))


def aaa(o: Ops, x: Operands) -> None:
    _ascii(o, subtract=False)


def aas(o: Ops, x: Operands) -> None:
    _ascii(o, subtract=True)


def _cleared(o: Ops) -> None:
    o.set_carry(o.const(0, 1))
    o.set_overflow(o.const(0, 32))
    o.set_adjust(o.const(0, 32))


def aam(o: Ops, x: Operands) -> None:
    base = x.known(0)
    if not base:
        o.fault(Vector.DE)
        return
    al = o.reg(0, 8)
    high, low = o.udiv(al, o.const(base, 8)), o.urem(al, o.const(base, 8))
    o.set_reg(0, o.or_(o.shl(o.zext(high, 16), 8), o.zext(low, 16)))
    o.set_result(low)
    _cleared(o)


def aad(o: Ops, x: Operands) -> None:
    result = o.add(o.reg(0, 8), o.mul(o.reg(4, 8), x.read(0)))
    o.set_reg(0, o.zext(result, 16))
    o.set_result(result)
    _cleared(o)
