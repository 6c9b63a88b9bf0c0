"""Addition, subtraction, logic, comparison, exchange-and-add."""

from __future__ import annotations

from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops, Value


def add_flags(o: Ops, a: Value, b: Value, result: Value, carry: Value) -> None:
    """Flags of `result` = `a` + `b` (+ carry in), with the carry out given."""
    flip = o.xor(a, result)
    o.set_result(result)
    o.set_carry(carry)
    o.set_adjust(o.xor(flip, b))
    o.set_overflow(o.and_(flip, o.xor(b, result)))


def sub_flags(o: Ops, a: Value, b: Value, result: Value, borrow: Value) -> None:
    """Flags of `result` = `a` - `b` (- borrow in), with the borrow out given."""
    flip = o.xor(a, b)
    o.set_result(result)
    o.set_carry(borrow)
    o.set_adjust(o.xor(flip, result))
    o.set_overflow(o.and_(flip, o.xor(a, result)))


def logic_flags(o: Ops, result: Value) -> None:
    o.set_result(result)
    o.set_carry(o.const(0, 1))
    o.set_overflow(o.const(0, 32))
    o.set_adjust(o.const(0, 32))


def _with_carry(o: Ops, a: Value, b: Value, subtract: bool) -> tuple[Value, Value]:
    """`a` +- `b` +- CF, and the carry or borrow out, by one more bit of width."""
    wide = 2 * a.bits
    operate = o.sub if subtract else o.add
    partial = operate(o.zext(a, wide), o.zext(b, wide))
    total = operate(partial, o.zext(o.carry(), wide))
    return o.trunc(total, a.bits), o.trunc(o.shr(total, a.bits), 1)


def add(o: Ops, x: Operands) -> None:
    a, b = x.read_for_write(0), x.read(1)
    result = o.add(a, b)
    x.write(0, result)
    add_flags(o, a, b, result, o.ult(result, a))


def adc(o: Ops, x: Operands) -> None:
    a, b = x.read_for_write(0), x.read(1)
    result, carry = _with_carry(o, a, b, subtract=False)
    x.write(0, result)
    add_flags(o, a, b, result, carry)


def sub(o: Ops, x: Operands) -> None:
    a, b = x.read_for_write(0), x.read(1)
    result = o.sub(a, b)
    x.write(0, result)
    sub_flags(o, a, b, result, o.ult(a, b))


def sbb(o: Ops, x: Operands) -> None:
    a, b = x.read_for_write(0), x.read(1)
    result, borrow = _with_carry(o, a, b, subtract=True)
    x.write(0, result)
    sub_flags(o, a, b, result, borrow)


def cmp(o: Ops, x: Operands) -> None:
    a, b = x.read(0), x.read(1)
    sub_flags(o, a, b, o.sub(a, b), o.ult(a, b))


def _logic(o: Ops, x: Operands, result: Value) -> None:
    x.write(0, result)
    logic_flags(o, result)


def and_(o: Ops, x: Operands) -> None:
    _logic(o, x, o.and_(x.read_for_write(0), x.read(1)))


def or_(o: Ops, x: Operands) -> None:
    _logic(o, x, o.or_(x.read_for_write(0), x.read(1)))


def xor(o: Ops, x: Operands) -> None:
    _logic(o, x, o.xor(x.read_for_write(0), x.read(1)))


def test(o: Ops, x: Operands) -> None:
    logic_flags(o, o.and_(x.read(0), x.read(1)))


def inc(o: Ops, x: Operands) -> None:
    a = x.read_for_write(0)
    one = o.const(1, a.bits)
    result = o.add(a, one)
    x.write(0, result)
    add_flags(o, a, one, result, o.carry())


def dec(o: Ops, x: Operands) -> None:
    a = x.read_for_write(0)
    one = o.const(1, a.bits)
    result = o.sub(a, one)
    x.write(0, result)
    sub_flags(o, a, one, result, o.carry())


def not_(o: Ops, x: Operands) -> None:
    x.write(0, o.not_(x.read_for_write(0)))


def neg(o: Ops, x: Operands) -> None:
    b = x.read_for_write(0)
    zero = o.const(0, b.bits)
    result = o.sub(zero, b)
    x.write(0, result)
    sub_flags(o, zero, b, result, o.ult(zero, b))


def xadd(o: Ops, x: Operands) -> None:
    a, b = x.read_for_write(0), x.read(1)
    result = o.add(a, b)
    # memory first (it may fault), then the source, then a register destination: XADD r,r with both the same is the sum
    if x.is_memory(0):
        x.write(0, result)
        x.write(1, a)
    else:
        x.write(1, a)
        x.write(0, result)
    add_flags(o, a, b, result, o.ult(result, a))


def cmpxchg(o: Ops, x: Operands) -> None:
    """The destination is written in both cases (SDM vol. 2A), so the access needs write permission in both."""
    destination, source = x.read_for_write(0), x.read(1)
    accumulator = o.reg(0, destination.bits)
    equal = o.eq(accumulator, destination)
    x.write(0, o.select(equal, source, destination))
    with o.if_(equal):
        pass
    with o.else_():
        o.set_reg(0, destination)
    sub_flags(o, accumulator, destination, o.sub(accumulator, destination), o.ult(accumulator, destination))


def cmpxchg8b(o: Ops, x: Operands) -> None:
    low = o.load_for_write(x.segment, x.address(), 32)
    high = o.load_for_write(x.segment, x.displaced(4), 32)
    equal = o.and_(o.eq(low, o.reg(0, 32)), o.eq(high, o.reg(2, 32)))
    o.store(x.segment, x.address(), o.select(equal, o.reg(3, 32), low))
    o.store(x.segment, x.displaced(4), o.select(equal, o.reg(1, 32), high))
    with o.if_(equal):
        pass
    with o.else_():
        o.set_reg(0, low)
        o.set_reg(2, high)
    o.set_zero(equal)
