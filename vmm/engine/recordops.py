"""`Ops` that writes down what is emitted: a listing of an instruction's effects, for tests and documentation.

A value is a name; every operation is one line `name:bits = operation arguments`. The listing has no executor's detail,
so it is what two executors of the same instruction have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from rtl.isa.decoder import Insn
from vmm.semantics.ops import Mode, Ops
from vmm.semantics.table import emit


@dataclass(frozen=True, slots=True)
class Recorded:
    name: str
    bits: int

    def __str__(self) -> str:
        return self.name


_SAME_WIDTH = frozenset("add sub mul and_ or_ xor udiv urem sdiv srem".split())
_UNARY = frozenset("not_ count_trailing_zeros count_leading_zeros".split())
_SHIFTS = frozenset("shl shr sar rotate_left".split())
_COMPARISONS = frozenset("eq ult slt".split())
_RESIZED = frozenset("zext sext trunc".split())
_EFFECTS = frozenset(
    "set set_reg store check_write check_read set_carry set_result set_zero set_overflow set_adjust "
    "set_arithmetic_flags set_direction check_target jump jump_if repeat_if fault jump_call".split())
_FIXED_WIDTH = {"carry": 1, "flag": 1, "flags_image": 32, "next_eip": 32, "selector": 16}


class RecordOps:
    """Records one instruction.

    Members
    -------
    lines : the listing so far.

    Raises
    ------
    TypeError
        An operation got operands of different widths, or of widths it cannot have.
    AttributeError
        Semantics used an operation that is not in `Ops`.
    """

    def __init__(self, mode: Mode):
        self.mode = mode
        self.lines: list[str] = []
        self._indent = ""
        self._count = 0

    def _line(self, text: str) -> None:
        self.lines.append(self._indent + text)

    def _value(self, bits: int, operation: str, *args: Any) -> Recorded:
        self._count += 1
        value = Recorded(f"v{self._count}", bits)
        self._line(f"{value}:{bits} = {operation.rstrip('_')} {', '.join(map(str, args))}".rstrip())
        return value

    def const(self, value: int, bits: int) -> Recorded:
        return Recorded(hex(value & (1 << bits) - 1), bits)

    def reg(self, number: int, bits: int) -> Recorded:
        return self._value(bits, "reg", int(number))

    def load(self, segment: int, offset: Recorded, bits: int) -> Recorded:
        return self._value(bits, "load", int(segment), offset)

    def load_for_write(self, segment: int, offset: Recorded, bits: int) -> Recorded:
        return self._value(bits, "load_for_write", int(segment), offset)

    def select(self, condition: Recorded, a: Recorded, b: Recorded) -> Recorded:
        _require(condition.bits == 1 and a.bits == b.bits, "select", condition, a, b)
        return self._value(a.bits, "select", condition, a, b)

    def variable(self, initial: Recorded) -> Recorded:
        return self._value(initial.bits, "variable", initial)

    def get(self, variable: Recorded) -> Recorded:
        return self._value(variable.bits, "get", variable)

    def call(self, name: str, *args: Any, returns: int | None = None) -> Recorded | None:
        if returns is None:
            self._line(f"call {name} {', '.join(map(str, args))}".rstrip())
            return None
        return self._value(returns, f"call {name}", *args)

    @contextmanager
    def if_(self, condition: Recorded) -> Iterator[None]:
        _require(condition.bits == 1, "if", condition)
        self._line(f"if {condition}")
        yield from self._block()

    @contextmanager
    def else_(self) -> Iterator[None]:
        self._line("else")
        yield from self._block()

    def _block(self) -> Iterator[None]:
        outer, self._indent = self._indent, self._indent + "    "
        yield
        self._indent = outer

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        if operation in _EFFECTS:
            return lambda *args: self._line(
                f"{operation} {', '.join(str(int(a)) if isinstance(a, int) else str(a) for a in args)}".rstrip())
        if operation in _FIXED_WIDTH:
            return lambda *args: self._value(_FIXED_WIDTH[operation], operation, *args)
        if operation in _SAME_WIDTH | _COMPARISONS:
            return lambda a, b: self._two(operation, a, b)
        if operation in _UNARY:
            return lambda a: self._value(a.bits, operation, a)
        if operation in _SHIFTS:
            return lambda a, count: self._value(a.bits, operation, a, count)
        if operation in _RESIZED:
            return lambda a, bits: self._resize(operation, a, bits)
        raise AttributeError(f"Ops has no operation {operation!r}")

    def _two(self, operation: str, a: Recorded, b: Recorded) -> Recorded:
        _require(a.bits == b.bits, operation, a, b)
        return self._value(1 if operation in _COMPARISONS else a.bits, operation, a, b)

    def _resize(self, operation: str, a: Recorded, bits: int) -> Recorded:
        _require(bits <= a.bits if operation == "trunc" else bits >= a.bits, operation, a, Recorded("width", bits))
        return self._value(bits, operation, a)


def _require(good: bool, operation: str, *values: Recorded) -> None:
    if not good:
        raise TypeError(f"{operation} cannot take widths {', '.join(str(value.bits) for value in values)}")


def listing(insn: Insn, mode: Mode | None = None) -> str:
    """What an instruction does, as text."""
    ops = RecordOps(mode or Mode(flat=0x3F))
    emit(cast(Ops, ops), insn)
    return "\n".join(ops.lines)
