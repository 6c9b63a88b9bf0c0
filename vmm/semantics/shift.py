"""Shifts and rotates.

Where the manual leaves a flag undefined, this processor does what falls out of the last single-bit step:
AF is cleared by shifts; OF after any non-zero count is what the single-bit rule gives on the final step.
A count of zero (after masking, and for RCL/RCR after reduction by the width plus one) changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops, Value

Core = Callable[[Ops, Value, Value], tuple[Value, Value, Value]]  # (value, count) -> result, carry, overflow
WIDE = 64


def _top(o: Ops, value: Value) -> Value:
    return o.trunc(o.shr(value, value.bits - 1), 1)


def _bit(o: Ops, wide: Value, count: Value | int) -> Value:
    return o.trunc(o.shr(wide, count), 1)


def _less_one(o: Ops, count: Value) -> Value:
    return o.sub(count, o.const(1, count.bits))


def _top_two_differ(o: Ops, value: Value) -> Value:
    return o.xor(value, o.shl(value, 1))


def _carry_differs(o: Ops, result: Value, carry: Value) -> Value:
    return o.xor(result, o.shl(o.zext(carry, result.bits), result.bits - 1))


def _shl(o: Ops, a: Value, count: Value) -> tuple[Value, Value, Value]:
    wide = o.shl(o.zext(a, WIDE), count)
    result, carry = o.trunc(wide, a.bits), _bit(o, wide, a.bits)
    return result, carry, _carry_differs(o, result, carry)


def _shr(o: Ops, a: Value, count: Value) -> tuple[Value, Value, Value]:
    before = o.shr(o.zext(a, WIDE), _less_one(o, count))
    return o.trunc(o.shr(before, 1), a.bits), o.trunc(before, 1), o.trunc(before, a.bits)


def _sar(o: Ops, a: Value, count: Value) -> tuple[Value, Value, Value]:
    before = o.sar(o.sext(a, WIDE), _less_one(o, count))
    return o.trunc(o.shr(before, 1), a.bits), o.trunc(before, 1), o.const(0, a.bits)


def _rol(o: Ops, a: Value, count: Value) -> tuple[Value, Value, Value]:
    result = o.rotate_left(a, count)
    carry = o.trunc(result, 1)
    return result, carry, _carry_differs(o, result, carry)


def _ror(o: Ops, a: Value, count: Value) -> tuple[Value, Value, Value]:
    result = o.rotate_left(a, o.sub(o.const(0, count.bits), count))
    return result, _top(o, result), _top_two_differ(o, result)


def _through_carry(o: Ops, a: Value, left: Value) -> tuple[Value, Value]:
    """CF:`a` rotated left by `left`, 1 to width: the new value and carry. Cannot overflow 128 bits."""
    size = a.bits + 1
    wide = o.or_(o.zext(a, 2 * WIDE), o.shl(o.zext(o.carry(), 2 * WIDE), a.bits))
    turned = o.shr(o.shl(o.or_(wide, o.shl(wide, size)), left), size)
    return o.trunc(turned, a.bits), _bit(o, turned, a.bits)


def _rcl(o: Ops, a: Value, count: Value) -> tuple[Value, Value, Value]:
    result, carry = _through_carry(o, a, count)
    return result, carry, _carry_differs(o, result, carry)


def _rcr(o: Ops, a: Value, count: Value) -> tuple[Value, Value, Value]:
    result, carry = _through_carry(o, a, o.sub(o.const(a.bits + 1, count.bits), count))
    return result, carry, _top_two_differ(o, result)


def _commit(o: Ops, x: Operands, core: Core, a: Value, count: Value, is_shift: bool) -> None:
    result, carry, overflow = core(o, a, count)
    x.write(0, result)
    o.set_carry(carry)
    o.set_overflow(overflow)
    if is_shift:
        o.set_result(result)
        o.set_adjust(o.const(0, 32))


def _apply(o: Ops, x: Operands, core: Core, a: Value, k: int, is_shift: bool, modulus: int = 32) -> None:
    """Shift `a`, the destination, by operand `k` modulo 32 and then modulo `modulus`.

    A count of zero writes the destination back: the read-modify-write cycle is done all the same.
    """
    known = x.known(k)
    if known is not None:
        amount = (known & 31) % modulus
        if amount:
            _commit(o, x, core, a, o.const(amount, 8), is_shift)
        else:
            x.write(0, a)
        return
    count = o.and_(x.read(k), o.const(31, 8))
    if modulus < 32:
        count = o.urem(count, o.const(modulus, 8))
    with o.if_(o.eq(count, o.const(0, 8))):
        x.write(0, a)
    with o.else_():
        _commit(o, x, core, a, count, is_shift)


def _by_count(core: Core, is_shift: bool, through_carry: bool = False) -> Callable[[Ops, Operands], None]:
    def operation(o: Ops, x: Operands) -> None:
        a = x.read_for_write(0)
        modulus = a.bits + 1 if through_carry and a.bits < 32 else 32
        _apply(o, x, core, a, 1, is_shift, modulus)

    return operation


shl, shr, sar = (_by_count(core, is_shift=True) for core in (_shl, _shr, _sar))
rol, ror = (_by_count(core, is_shift=False) for core in (_rol, _ror))
rcl, rcr = (_by_count(core, is_shift=False, through_carry=True) for core in (_rcl, _rcr))


def _double(o: Ops, x: Operands, left: bool) -> None:
    """SHLD and SHRD. With 16 bits and a count above 16 the bits come from destination:source:destination."""
    a, b = x.read_for_write(0), x.read(1)
    bits, wide_bits = a.bits, 2 * WIDE

    def core(o: Ops, a: Value, count: Value) -> tuple[Value, Value, Value]:
        a_wide, b_wide = o.zext(a, wide_bits), o.zext(b, wide_bits)
        joined = o.or_(o.or_(o.shl(a_wide, 2 * bits), o.shl(b_wide, bits)), a_wide)
        if left:
            wide = o.shl(joined, count)
            result, carry = o.trunc(o.shr(wide, 2 * bits), bits), _bit(o, wide, 3 * bits)
            return result, carry, _carry_differs(o, result, carry)
        # the low part is the destination, so the joined value serves both directions
        before = o.shr(joined, _less_one(o, count))
        result = o.trunc(o.shr(before, 1), bits)
        return result, o.trunc(before, 1), _top_two_differ(o, result)

    _apply(o, x, core, a, 2, is_shift=True)


def shld(o: Ops, x: Operands) -> None:
    _double(o, x, left=True)


def shrd(o: Ops, x: Operands) -> None:
    _double(o, x, left=False)
