"""Bit test and scan, byte swap, sign extension into another register."""

from __future__ import annotations

from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops, Value


def _bit_test(o: Ops, x: Operands, change: str | None) -> None:
    """BT and family. CF is the bit; the other flags stay. A register index reaches memory beyond the operand."""
    size = x.size
    index = x.read(1)
    position = o.zext(o.trunc(index, 8), 32)
    position = o.and_(position, o.const(size - 1, 32))
    in_memory = x.is_memory(0)
    if in_memory:
        address = x.address()
        if x.known(1) is None:
            # signed bit index to signed byte offset of the operand it falls in
            words = o.sar(o.sext(index, 32), 5 if size == 32 else 4)
            address = x.wrap(o.add(address, o.shl(words, 2 if size == 32 else 1)))
        read = o.load_for_write if change else o.load
        value = read(x.segment, address, size)
    else:
        value = o.reg(x.register(0), size)
    bit = o.trunc(o.shr(value, position), 1)
    if change is not None:
        mask = o.shl(o.const(1, size), position)
        result = {
            "set": lambda: o.or_(value, mask),
            "reset": lambda: o.and_(value, o.not_(mask)),
            "complement": lambda: o.xor(value, mask),
        }[change]()
        if in_memory:
            o.store(x.segment, address, result)
        else:
            o.set_reg(x.register(0), result)
    o.set_carry(bit)


def bt(o: Ops, x: Operands) -> None:
    _bit_test(o, x, None)


def bts(o: Ops, x: Operands) -> None:
    _bit_test(o, x, "set")


def btr(o: Ops, x: Operands) -> None:
    _bit_test(o, x, "reset")


def btc(o: Ops, x: Operands) -> None:
    _bit_test(o, x, "complement")


def _scan(o: Ops, x: Operands, forward: bool) -> None:
    """A zero source sets ZF and leaves the destination; only ZF changes."""
    source: Value = x.read(1)
    zero = o.eq(source, o.const(0, source.bits))
    with o.if_(zero):
        pass
    with o.else_():
        if forward:
            x.write(0, o.count_trailing_zeros(source))
        else:
            x.write(0, o.sub(o.const(source.bits - 1, source.bits), o.count_leading_zeros(source)))
    o.set_zero(zero)


def bsf(o: Ops, x: Operands) -> None:
    _scan(o, x, forward=True)


def bsr(o: Ops, x: Operands) -> None:
    _scan(o, x, forward=False)


def bswap(o: Ops, x: Operands) -> None:
    """With a 16-bit operand the result is zero (undefined by the manual)."""
    if x.size == 16:
        x.write(0, o.const(0, 16))
        return
    a = x.read(0)
    byte = o.const(0xFF, 32)
    result = o.or_(o.shl(a, 24), o.shr(a, 24))
    result = o.or_(result, o.shl(o.and_(o.shr(a, 8), byte), 16))
    result = o.or_(result, o.shl(o.and_(o.shr(a, 16), byte), 8))
    x.write(0, result)


def cbw(o: Ops, x: Operands) -> None:
    o.set_reg(0, o.sext(o.reg(0, x.size // 2), x.size))


def cwd(o: Ops, x: Operands) -> None:
    o.set_reg(2, o.sar(o.reg(0, x.size), x.size - 1))
