"""Instructions on EFLAGS itself, except POPF, CLI and STI, which the machine decides."""

from __future__ import annotations

from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops


def clc(o: Ops, x: Operands) -> None:
    o.set_carry(o.const(0, 1))


def stc(o: Ops, x: Operands) -> None:
    o.set_carry(o.const(1, 1))


def cmc(o: Ops, x: Operands) -> None:
    o.set_carry(o.not_(o.carry()))


def cld(o: Ops, x: Operands) -> None:
    o.set_direction(o.const(0, 1))


def std(o: Ops, x: Operands) -> None:
    o.set_direction(o.const(1, 1))


def lahf(o: Ops, x: Operands) -> None:
    o.set_reg(4, o.trunc(o.flags_image(), 8))


def sahf(o: Ops, x: Operands) -> None:
    """OF is not in AH and stays."""
    high = o.shl(o.zext(o.flag("of"), 32), 11)
    o.set_arithmetic_flags(o.or_(o.zext(o.reg(4, 8), 32), high))


def salc(o: Ops, x: Operands) -> None:
    o.set_reg(0, o.select(o.carry(), o.const(0xFF, 8), o.const(0, 8)))


def nop(o: Ops, x: Operands) -> None:
    """Hint NOPs with a memory operand do not access it."""
