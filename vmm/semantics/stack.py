"""PUSH, POP and their families.

Order: everything that may fault comes first. Instructions with several stores check the lowest and then the highest
value of what they will write before the first store.
"""

from __future__ import annotations

from rtl.isa.opcodes import Operand
from rtl.isa.registers import Eflags, Gpr, Seg
from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops, Value
from vmm.semantics.system import load_segment

ESP, EBP = int(Gpr.ESP), int(Gpr.EBP)
SS = int(Seg.SS)
_SEGMENTS = {Operand[seg.name] for seg in list(Seg)[:6]}
_NOT_PUSHED = int(Eflags.RF | Eflags.VM)


def stack_offset(o: Ops, offset: Value) -> Value:
    """A 32-bit number cut to the width of the stack pointer."""
    return offset if o.mode.stack32 else o.zext(o.trunc(offset, 16), 32)


def top(o: Ops) -> Value:
    """ESP or SP, 32 bits."""
    return stack_offset(o, o.reg(ESP, 32))


def moved(o: Ops, offset: Value, change: int) -> Value:
    return stack_offset(o, o.add(offset, o.const(change, 32)))


def set_top(o: Ops, offset: Value) -> None:
    o.set_reg(ESP, offset if o.mode.stack32 else o.trunc(offset, 16))


def push_value(o: Ops, value: Value) -> None:
    offset = moved(o, top(o), -(value.bits // 8))
    o.store(SS, offset, value)
    set_top(o, offset)


def push(o: Ops, x: Operands) -> None:
    if x.kinds[0] in _SEGMENTS:
        value = o.zext(o.selector(x.register(0)), x.size)
    else:
        value = x.read(0)
    push_value(o, value)


def pop(o: Ops, x: Operands) -> None:
    """ESP as a base register of the destination has its value after the pop."""
    offset = top(o)
    after = moved(o, offset, x.size // 8)
    value = o.load(SS, offset, x.size)
    if x.kinds[0] in _SEGMENTS:
        load_segment(o, x.register(0), o.trunc(value, 16))
        set_top(o, after)
    elif x.is_memory(0):
        whole = after
        if not o.mode.stack32:
            whole = o.or_(o.and_(o.reg(ESP, 32), o.const(0xFFFF_0000, 32)), after)
        o.store(x.segment, x.effective_address(esp=whole), value)
        set_top(o, after)
    else:
        set_top(o, after)
        x.write(0, value)


def pusha(o: Ops, x: Operands) -> None:
    size = x.size // 8
    old = top(o)
    values = [o.reg(number, x.size) for number in range(8)]
    bottom = moved(o, old, -8 * size)
    o.check_write(SS, bottom, size)
    o.check_write(SS, moved(o, old, -size), size)
    for number, value in enumerate(values):
        o.store(SS, moved(o, old, -(number + 1) * size), value)
    set_top(o, bottom)


def popa(o: Ops, x: Operands) -> None:
    """The lowest and the highest value first: they bound what may fault. The stored ESP is skipped."""
    size = x.size // 8
    old = top(o)
    loaded = [(7 - k, o.load(SS, moved(o, old, k * size), x.size)) for k in (0, 7, 1, 2, 4, 5, 6)]
    set_top(o, moved(o, old, 8 * size))
    for number, value in loaded:
        o.set_reg(number, value)


def pushf(o: Ops, x: Operands) -> None:
    image = o.and_(o.flags_image(), o.const(~_NOT_PUSHED, 32))
    push_value(o, o.trunc(image, x.size))


def popf(o: Ops, x: Operands) -> None:
    offset = top(o)
    value = o.load(SS, offset, x.size)
    set_top(o, moved(o, offset, x.size // 8))
    o.call("popf", o.zext(value, 32), x.size)


def enter(o: Ops, x: Operands) -> None:
    """The nesting level is modulo 32. The final stack pointer is not touched in memory."""
    size = x.size // 8
    assert x.insn.imm is not None and x.insn.imm2 is not None
    level = x.insn.imm2 & 31
    offset = top(o)
    link = stack_offset(o, o.reg(EBP, 32))
    if level:
        o.check_write(SS, moved(o, offset, -(level + 1) * size), size)
        o.check_write(SS, moved(o, offset, -size), size)
    if level > 1:
        o.check_read(SS, moved(o, link, -(level - 1) * size), size)
        o.check_read(SS, moved(o, link, -size), size)
    offset = moved(o, offset, -size)
    o.store(SS, offset, o.reg(EBP, x.size))
    frame = offset
    for _ in range(level - 1):
        link = moved(o, link, -size)
        value = o.load(SS, link, x.size)
        offset = moved(o, offset, -size)
        o.store(SS, offset, value)
    # the frame pointer has the width of the operand, but a 32-bit stack pointer keeps its upper half
    whole = frame if o.mode.stack32 else o.or_(o.and_(o.reg(ESP, 32), o.const(0xFFFF_0000, 32)), frame)
    if level:
        offset = moved(o, offset, -size)
        o.store(SS, offset, o.trunc(whole, x.size))
    o.set_reg(EBP, o.trunc(whole, x.size))
    set_top(o, moved(o, offset, -x.insn.imm))


def leave(o: Ops, x: Operands) -> None:
    offset = stack_offset(o, o.reg(EBP, 32))
    value = o.load(SS, offset, x.size)
    set_top(o, moved(o, offset, x.size // 8))
    o.set_reg(EBP, value)
