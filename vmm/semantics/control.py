"""Jumps, calls, returns, software interrupts."""

from __future__ import annotations

from rtl.isa.exceptions import Vector
from rtl.isa.opcodes import Operand
from rtl.isa.registers import Gpr, Seg
from vmm.semantics.conditions import holds
from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops, Value
from vmm.semantics.stack import SS, moved, push_value, set_top, top

ECX = int(Gpr.ECX)
CS = int(Seg.CS)
_RELATIVE = {Operand.Jb, Operand.Jv}


def _cut(o: Ops, x: Operands, target: Value) -> Value:
    """A 16-bit operand size clears the upper half of EIP."""
    return target if x.size == 32 else o.zext(o.trunc(target, 16), 32)


def _target(o: Ops, x: Operands) -> Value:
    if x.kinds[0] in _RELATIVE:
        assert x.insn.imm is not None
        return _cut(o, x, o.add(o.next_eip(), o.const(x.insn.imm, 32)))
    return o.zext(x.read(0), 32)


def jmp(o: Ops, x: Operands) -> None:
    target = _target(o, x)
    o.check_target(target)
    o.jump(target)


def jcc(o: Ops, x: Operands) -> None:
    assert x.insn.form.condition is not None
    condition = holds(o, x.insn.form.condition)
    o.jump_if(condition, _target(o, x))


def call(o: Ops, x: Operands) -> None:
    target = _target(o, x)
    o.check_target(target)
    push_value(o, o.trunc(o.next_eip(), x.size))
    o.jump(target)


def ret(o: Ops, x: Operands) -> None:
    offset = top(o)
    target = o.zext(o.load(SS, offset, x.size), 32)
    o.check_target(target)
    set_top(o, moved(o, offset, x.size // 8 + (x.insn.imm or 0)))
    o.jump(target)


def _loop(o: Ops, x: Operands, zero_flag: int | None) -> None:
    width = 8 * x.insn.adsize
    left = o.sub(o.reg(ECX, width), o.const(1, width))
    taken = o.not_(o.eq(left, o.const(0, width)))
    if zero_flag is not None:
        equal = o.flag("zf")
        taken = o.and_(taken, equal if zero_flag else o.not_(equal))
    target = _target(o, x)
    with o.if_(taken):
        o.check_target(target)
        o.set_reg(ECX, left)
        o.jump(target)
    o.set_reg(ECX, left)


def loop(o: Ops, x: Operands) -> None:
    _loop(o, x, None)


def loope(o: Ops, x: Operands) -> None:
    _loop(o, x, 1)


def loopne(o: Ops, x: Operands) -> None:
    _loop(o, x, 0)


def jcxz(o: Ops, x: Operands) -> None:
    width = 8 * x.insn.adsize
    o.jump_if(o.eq(o.reg(ECX, width), o.const(0, width)), _target(o, x))


def _far_pointer(o: Ops, x: Operands) -> tuple[Value, Value]:
    """Selector and offset."""
    if x.kinds[0] is Operand.Ap:
        assert x.insn.imm is not None and x.insn.imm2 is not None
        return o.const(x.insn.imm2, 16), o.const(x.insn.imm, 32)
    offset = o.zext(o.load(x.segment, x.address(), x.size), 32)
    return o.load(x.segment, x.displaced(x.size // 8), 16), offset


def jmpf(o: Ops, x: Operands) -> None:
    selector, offset = _far_pointer(o, x)
    o.jump_call("far_jump", selector, offset, x.size, o.next_eip())


def callf(o: Ops, x: Operands) -> None:
    selector, offset = _far_pointer(o, x)
    o.jump_call("far_call", selector, offset, x.size, o.next_eip())


def retf(o: Ops, x: Operands) -> None:
    o.jump_call("far_return", x.size, x.insn.imm or 0)


def iret(o: Ops, x: Operands) -> None:
    o.jump_call("interrupt_return", x.size, o.next_eip())


def int_(o: Ops, x: Operands) -> None:
    assert x.insn.imm is not None
    o.jump_call("software_interrupt", x.insn.imm, o.next_eip())


def int3(o: Ops, x: Operands) -> None:
    o.jump_call("software_interrupt", Vector.BP, o.next_eip())


def into(o: Ops, x: Operands) -> None:
    with o.if_(o.flag("of")):
        o.jump_call("software_interrupt", Vector.OF, o.next_eip())


def icebp(o: Ops, x: Operands) -> None:
    o.jump_call("icebp", o.next_eip())


def bound(o: Ops, x: Operands) -> None:
    index = x.read(0)
    lower = o.load(x.segment, x.address(), x.size)
    upper = o.load(x.segment, x.displaced(x.size // 8), x.size)
    with o.if_(o.or_(o.slt(index, lower), o.slt(upper, index))):
        o.fault(Vector.BR)


def ud2(o: Ops, x: Operands) -> None:
    o.fault(Vector.UD)


def sysenter(o: Ops, x: Operands) -> None:
    o.jump_call("sysenter")


def sysexit(o: Ops, x: Operands) -> None:
    o.jump_call("sysexit")


def hlt(o: Ops, x: Operands) -> None:
    o.call("halt")
