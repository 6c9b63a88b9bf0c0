"""Data movement between registers and memory."""

from __future__ import annotations

from rtl.isa.opcodes import Operand
from vmm.semantics.conditions import holds
from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops
from vmm.semantics.system import load_segment, move_control, move_debug

_SPECIAL = {Operand.Cd: move_control, Operand.Dd: move_debug}


def mov(o: Ops, x: Operands) -> None:
    for kind in x.kinds:
        if kind in _SPECIAL:
            _SPECIAL[kind](o, x)
            return
    if x.kinds[0] is Operand.Sw:
        load_segment(o, x.register(0), x.read(1))
    elif x.kinds[1] is Operand.Sw:
        x.write(0, o.zext(o.selector(x.register(1)), x.bits(0)))
    else:
        x.write(0, x.read(1))


def movzx(o: Ops, x: Operands) -> None:
    x.write(0, o.zext(x.read(1), x.size) if x.bits(1) < x.size else x.read(1))


def movsx(o: Ops, x: Operands) -> None:
    x.write(0, o.sext(x.read(1), x.size) if x.bits(1) < x.size else x.read(1))


def lea(o: Ops, x: Operands) -> None:
    x.write(0, o.trunc(x.address(), x.size))


def xchg(o: Ops, x: Operands) -> None:
    a, b = x.read_for_write(0), x.read(1)
    x.write(0, b)
    x.write(1, a)


def cmovcc(o: Ops, x: Operands) -> None:
    """The source is read, and may fault, whether or not the condition holds."""
    source = x.read(1)
    assert x.insn.form.condition is not None
    with o.if_(holds(o, x.insn.form.condition)):
        x.write(0, source)


def setcc(o: Ops, x: Operands) -> None:
    assert x.insn.form.condition is not None
    x.write(0, o.zext(holds(o, x.insn.form.condition), 8))


def xlat(o: Ops, x: Operands) -> None:
    segment = 3 if x.insn.seg is None else int(x.insn.seg)
    address = x.wrap(o.add(o.reg(3, 32), o.zext(o.reg(0, 8), 32)))
    o.set_reg(0, o.load(segment, address, 8))


def _load_far(segment: int):  # type: ignore[no-untyped-def]
    def operation(o: Ops, x: Operands) -> None:
        offset = o.load(x.segment, x.address(), x.size)
        selector = o.load(x.segment, x.displaced(x.size // 8), 16)
        load_segment(o, segment, selector)
        x.write(0, offset)

    return operation


les, lss, lds, lfs, lgs = (_load_far(segment) for segment in (0, 2, 3, 4, 5))
