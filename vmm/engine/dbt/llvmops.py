"""`Ops` that builds LLVM IR: the instructions of one translation, one after the other.

Registers and flag components are nodes in a `Straight`, so that within a stretch of code they live in host registers.
What touches the outside (memory, exits, routines) goes through the `Frame` that the translation provides.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rtl.isa.registers import Eflags, Seg
from vmm.engine.dbt.layout import offset, segment_offset
from vmm.engine.dbt.values import Builder, Node, Raw, known, named
from vmm.semantics.ops import Mode

CS = int(Seg.CS)
_DF = int(Eflags.DF)
COMPONENTS = ("fz", "fs", "fp", "fo", "fa", "fc")

_FOLDS = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << b, "lshr": lambda a, b: a >> b,
    "udiv": lambda a, b: a // b, "urem": lambda a, b: a % b,
    "icmp eq": lambda a, b: a == b, "icmp ult": lambda a, b: a < b,
}
_ZERO_IS_IDENTITY = frozenset(("add", "sub", "or", "xor", "shl", "lshr", "ashr"))


class NotNative(Exception):
    """The instruction needs something translated code cannot do; it is left to the interpreter."""


class Straight:
    """Registers and flag components at one point of the main path; None is a component nobody has changed."""

    __slots__ = ("flags", "regs")

    def __init__(self, regs: list[Node], flags: dict[str, Node | None]):
        self.regs = regs
        self.flags = flags

    def copy(self) -> Straight:
        return Straight(list(self.regs), dict(self.flags))


@dataclass(frozen=True, slots=True)
class _Arm:
    """The end of one arm of an `if_`: the block it ends in, its state there, and whether it left instead."""

    label: str
    now: Straight
    ended: bool


@dataclass(frozen=True, slots=True)
class _Fork:
    """An `if_` whose first arm is done. `place` is where in the text the arms part."""

    join: str
    place: int
    before: Straight
    first: _Arm


class Cell:
    """A `Variable` of the semantics."""

    __slots__ = ("bits", "slot")

    def __init__(self, slot: str, bits: int):
        self.slot = slot
        self.bits = bits


class Frame(Protocol):
    """What the instructions of a translation stand in."""

    def component(self, name: str) -> Node: ...
    def before_arms(self, now: Straight) -> None: ...
    def jump(self, target: Node) -> None: ...
    def jump_either(self, condition: Node, target: Node) -> bool: ...
    def repeat(self, condition: Node) -> None: ...
    def abort(self) -> str: ...
    def raise_fault(self, vector: int, error: int | None) -> None: ...
    def load(self, linear: Node, bits: int, for_write: bool) -> Node: ...
    def store(self, linear: Node, value: Node) -> None: ...
    def routine(self, name: str, args: tuple[Node | int, ...], returns: int | None) -> Node | None: ...
    def linear(self, segment: int, offset: Node, size: int, write: bool) -> Node: ...
    def probe(self, segment: int, offset: Node, size: int, write: bool) -> None: ...


class LlvmOps:
    """Emits instructions into `builder`.

    Members
    -------
    now : the state of registers and flags.
    ended : the main path has left; nothing may follow in this scope.
    next : EIP behind the instruction being emitted.
    """

    def __init__(self, mode: Mode, builder: Builder, frame: Frame, now: Straight):
        self.mode = mode
        self.b = builder
        self.frame = frame
        self.now = now
        self.ended = False
        self.next = 0
        self._pending: _Fork | None = None

    # pure values

    def const(self, value: int, bits: int) -> Node:
        return known(value, bits)

    def _binary(self, op: str, a: Node, b: Node, bits: int | None = None) -> Node:
        assert a.bits == b.bits, (op, a.bits, b.bits)
        width = a.bits if bits is None else bits
        if b.known is not None:
            if a.known is not None and op in _FOLDS:
                return known(int(_FOLDS[op](a.known, b.known)), width)
            if b.known == 0 and op in _ZERO_IS_IDENTITY:
                return a
        return Node(op, width, (a, b))

    def add(self, a: Node, b: Node) -> Node:
        return self._binary("add", a, b)

    def sub(self, a: Node, b: Node) -> Node:
        return known(0, a.bits) if a is b else self._binary("sub", a, b)

    def mul(self, a: Node, b: Node) -> Node:
        return self._binary("mul", a, b)

    def and_(self, a: Node, b: Node) -> Node:
        return self._binary("and", a, b)

    def or_(self, a: Node, b: Node) -> Node:
        return self._binary("or", a, b)

    def xor(self, a: Node, b: Node) -> Node:
        if a.bits == 1:
            less = _signed_less(a, b)
            if less is not None:
                return less
        return known(0, a.bits) if a is b else self._binary("xor", a, b)

    def not_(self, a: Node) -> Node:
        return self._binary("xor", a, known(-1, a.bits))

    def _shift(self, op: str, a: Node, count: Node | int) -> Node:
        if isinstance(count, int):
            count = known(count, a.bits)
        elif count.bits < a.bits:
            count = self.zext(count, a.bits)
        elif count.bits > a.bits:
            count = self.trunc(count, a.bits)
        return self._binary(op, a, count)

    def shl(self, a: Node, count: Node | int) -> Node:
        return self._shift("shl", a, count)

    def shr(self, a: Node, count: Node | int) -> Node:
        return self._shift("lshr", a, count)

    def sar(self, a: Node, count: Node | int) -> Node:
        return self._shift("ashr", a, count)

    def rotate_left(self, a: Node, count: Node | int) -> Node:
        if isinstance(count, int):
            amount = known(count, a.bits)
        else:
            amount = self.zext(count, a.bits) if count.bits < a.bits else self.trunc(count, a.bits)
        return Node("fshl", a.bits, (a, a, amount))

    def udiv(self, a: Node, b: Node) -> Node:
        return self._binary("udiv", a, b)

    def urem(self, a: Node, b: Node) -> Node:
        return self._binary("urem", a, b)

    def sdiv(self, a: Node, b: Node) -> Node:
        """The host traps on the one quotient that does not fit: a divisor of -1 is done as a negation."""
        minus = Node("icmp eq", 1, (b, known(-1, b.bits)))
        divisor = self.select(minus, known(1, b.bits), b)
        return self.select(minus, self.sub(known(0, a.bits), a), self._binary("sdiv", a, divisor))

    def srem(self, a: Node, b: Node) -> Node:
        minus = Node("icmp eq", 1, (b, known(-1, b.bits)))
        return self._binary("srem", a, self.select(minus, known(1, b.bits), b))

    def count_trailing_zeros(self, a: Node) -> Node:
        return Raw(f"call i{a.bits} @llvm.cttz.i{a.bits}(i{a.bits} {{0}}, i1 true)", a.bits, (a,))

    def count_leading_zeros(self, a: Node) -> Node:
        return Raw(f"call i{a.bits} @llvm.ctlz.i{a.bits}(i{a.bits} {{0}}, i1 true)", a.bits, (a,))

    def zext(self, a: Node, bits: int) -> Node:
        if bits == a.bits:
            return a
        return known(a.known, bits) if a.known is not None else Node("zext", bits, (a,))

    def sext(self, a: Node, bits: int) -> Node:
        if bits == a.bits:
            return a
        if a.known is not None:
            sign = 1 << a.bits - 1
            return known((a.known ^ sign) - sign, bits)
        return Node("sext", bits, (a,))

    def trunc(self, a: Node, bits: int) -> Node:
        if bits == a.bits:
            return a
        if a.known is not None:
            return known(a.known, bits)
        if a.op in ("zext", "trunc") and a.args[0].bits >= bits:
            return self.trunc(a.args[0], bits)
        return Node("trunc", bits, (a,))

    def eq(self, a: Node, b: Node) -> Node:
        return self._binary("icmp eq", a, b, 1)

    def ult(self, a: Node, b: Node) -> Node:
        return self._binary("icmp ult", a, b, 1)

    def slt(self, a: Node, b: Node) -> Node:
        return self._binary("icmp slt", a, b, 1)

    def select(self, condition: Node, a: Node, b: Node) -> Node:
        if condition.known is not None:
            return a if condition.known else b
        return Node("select", a.bits, (condition, a, b))

    # control inside an instruction

    @contextmanager
    def if_(self, condition: Node) -> Iterator[None]:
        self.settle()
        b, before = self.b, self.now.copy()
        chosen, other, join = b.new_label("then"), b.new_label("else"), b.new_label("join")
        test = b.text(condition)
        place = len(b.lines)
        b.emit(f"br i1 {test}, label %{chosen}, label %{other}")
        with b.scope():
            b.start(chosen)
            yield
            self.settle()
            arm = self._close(before, join)
        self.ended = False
        self.now = before.copy()
        b.start(other)
        self._pending = _Fork(join, place, before, arm)

    def _close(self, before: Straight, join: str) -> _Arm:
        """End an arm: what it changed is emitted, for the join to choose from."""
        now = self.now
        if not self.ended:
            for number, node in enumerate(now.regs):
                if node is not before.regs[number]:
                    now.regs[number] = named(self.b.text(node), 32)
            for name, flag in now.flags.items():
                if flag is not None and flag is not before.flags[name]:
                    word = canonical(name, flag)
                    now.flags[name] = named(self.b.text(word), word.bits)
            self.b.emit(f"br label %{join}")
        return _Arm(self.b.label, now, self.ended)

    @contextmanager
    def else_(self) -> Iterator[None]:
        assert self._pending is not None
        fork, self._pending = self._pending, None
        with self.b.scope():
            yield
            self.settle()
            arm = self._close(fork.before, fork.join)
        self.ended = False
        self._meet(fork, arm)

    def settle(self) -> None:
        """An `if_` without `else_` ends when something else follows."""
        if self._pending is not None:
            fork, self._pending = self._pending, None
            self.b.emit(f"br label %{fork.join}")
            self._meet(fork, _Arm(self.b.label, fork.before.copy(), False))

    def drop_pending(self) -> None:
        """Forget an unfinished `if_`, with the instruction it belongs to."""
        self._pending = None

    def _meet(self, fork: _Fork, second: _Arm) -> None:
        first = fork.first
        if first.ended and second.ended:
            self.ended = True
            return
        if first.ended or second.ended:
            self.b.start(fork.join)
            self.now = (second if first.ended else first).now
            return
        pairs: list[tuple[int | str, Node, Node]] = [
            (number, one, two) for number, (one, two) in enumerate(zip(first.now.regs, second.now.regs, strict=True))
            if one is not two]
        for name in COMPONENTS:
            one, two = first.now.flags[name], second.now.flags[name]
            if one is not two:
                old = self.frame.component(name)
                pairs.append((name, canonical(name, one or old), canonical(name, two or old)))
        # what only one arm changed must exist before the arms part
        with self.b.before(fork.place):
            for _place, one, two in pairs:
                self.b.text(one)
                self.b.text(two)
        self.b.start(fork.join)
        self.now = second.now
        for place, one, two in pairs:
            bits = max(one.bits, two.bits)
            assert one.bits == two.bits, (place, one.bits, two.bits)
            chosen = named(
                self.b.let(f"phi i{bits} [ {one.text}, %{first.label} ], [ {two.text}, %{second.label} ]"), bits)
            if isinstance(place, int):
                self.now.regs[place] = chosen
            else:
                self.now.flags[place] = chosen

    def variable(self, initial: Node) -> Cell:
        self.settle()
        cell = Cell(self.b.let(f"alloca i{initial.bits}"), initial.bits)
        self.set(cell, initial)
        return cell

    def get(self, variable: Cell) -> Node:
        self.settle()
        return named(self.b.let(f"load i{variable.bits}, ptr {variable.slot}"), variable.bits)

    def set(self, variable: Cell, value: Node) -> None:
        self.settle()
        self.b.emit(f"store i{value.bits} {self.b.text(value)}, ptr {variable.slot}")

    # registers

    def reg(self, number: int, bits: int) -> Node:
        self.settle()
        if bits == 8 and number >= 4:
            return self.trunc(self.shr(self.now.regs[number - 4], 8), 8)
        return self.trunc(self.now.regs[number], bits)

    def set_reg(self, number: int, value: Node) -> None:
        self.settle()
        if value.bits < 32:
            shift = 8 if value.bits == 8 and number >= 4 else 0
            number -= 4 if shift else 0
            kept = known(~(((1 << value.bits) - 1) << shift), 32)
            value = self.or_(self.and_(self.now.regs[number], kept), self.shl(self.zext(value, 32), shift))
        # emitted here and not in every exit that wants it
        self.b.text(value)
        self.now.regs[number] = value

    def selector(self, segment: int) -> Node:
        self.settle()
        place = segment_offset(segment, "selector")
        return named(self.b.let(f"trunc i32 {self._field(place)} to i16"), 16)

    def _field(self, place: int) -> str:
        return self.b.let(f"load i32, ptr {self.b.let(f'getelementptr i8, ptr %c, i64 {place}')}{CONTEXT}")

    # memory

    def _linear(self, segment: int, place: Node, size: int, write: bool) -> Node:
        self.settle()
        if self.mode.flat >> segment & 1 and not (write and segment == CS):
            return place
        return self.frame.linear(segment, place, size, write)

    def load(self, segment: int, offset: Node, bits: int) -> Node:
        return self.frame.load(self._linear(segment, offset, bits // 8, False), bits, False)

    def load_for_write(self, segment: int, offset: Node, bits: int) -> Node:
        return self.frame.load(self._linear(segment, offset, bits // 8, True), bits, True)

    def store(self, segment: int, offset: Node, value: Node) -> None:
        self.frame.store(self._linear(segment, offset, value.bits // 8, True), value)

    def check_write(self, segment: int, offset: Node, size: int) -> None:
        self.settle()
        self.frame.probe(segment, offset, size, True)

    def check_read(self, segment: int, offset: Node, size: int) -> None:
        self.settle()
        self.frame.probe(segment, offset, size, False)

    # flags

    def component(self, name: str) -> Node:
        self.settle()
        node = self.now.flags[name]
        return self.frame.component(name) if node is None else node

    def carry(self) -> Node:
        return self.component("fc")

    def flag(self, name: str) -> Node:
        if name == "cf":
            return self.component("fc")
        if name == "zf":
            node = self.component("fz")
            return self.eq(node, known(0, node.bits))
        if name == "sf":
            return _top(self, self.component("fs"))
        if name == "of":
            return _top(self, self.component("fo"))
        if name == "af":
            return self.trunc(self.shr(self.component("fa"), 4), 1)
        if name == "pf":
            ones = Raw("call i8 @llvm.ctpop.i8(i8 {0})", 8, (self.trunc(self.component("fp"), 8),))
            return self.not_(self.trunc(ones, 1))
        self.settle()
        flags = named(self._field(offset("system_flags")), 32)
        return self.trunc(self.shr(flags, _DF.bit_length() - 1), 1)

    def _set(self, name: str, node: Node) -> None:
        self.settle()
        self.now.flags[name] = node

    def set_carry(self, bit: Node) -> None:
        self._set("fc", bit)

    def set_result(self, result: Node) -> None:
        for name in ("fz", "fs", "fp"):
            self._set(name, result)

    def set_zero(self, bit: Node) -> None:
        self._set("fz", self.not_(bit))

    def set_overflow(self, value: Node) -> None:
        self._set("fo", value)

    def set_adjust(self, value: Node) -> None:
        self._set("fa", value)

    def flags_image(self) -> Node:
        self.settle()
        image = self.or_(named(self._field(offset("system_flags")), 32), known(2, 32))
        for name, shift in (("cf", 0), ("pf", 2), ("af", 4), ("zf", 6), ("sf", 7), ("of", 11)):
            image = self.or_(image, self.shl(self.zext(self.flag(name), 32), shift))
        return image

    def set_arithmetic_flags(self, image: Node) -> None:
        self.set_carry(self.trunc(image, 1))
        self._set("fp", self.and_(self.xor(self.shr(image, 2), known(1, 32)), known(1, 32)))
        self._set("fa", image)
        self._set("fz", self.and_(self.not_(image), known(int(Eflags.ZF), 32)))
        self._set("fs", self.shl(image, 24))
        self._set("fo", self.shl(image, 20))

    def set_direction(self, bit: Node) -> None:
        self.settle()
        old = named(self._field(offset("system_flags")), 32)
        new = self.or_(self.and_(old, known(~_DF, 32)), self.shl(self.zext(bit, 32), _DF.bit_length() - 1))
        place = self.b.let(f"getelementptr i8, ptr %c, i64 {offset('system_flags')}")
        self.b.emit(f"store i32 {self.b.text(new)}, ptr {place}{CONTEXT}")

    # control transfer

    def next_eip(self) -> Node:
        return known(self.next, 32)

    def check_target(self, target: Node) -> None:
        """Code is translated only while CS is flat, where every target is good."""

    def jump(self, target: Node) -> None:
        self.settle()
        self.frame.jump(target)
        self.ended = True

    def jump_if(self, condition: Node, target: Node) -> None:
        self.settle()
        if self.frame.jump_either(condition, target):
            self.ended = True
            return
        self.b.text(condition)
        self.frame.before_arms(self.now)
        with self.if_(condition):
            self.jump(target)

    def repeat_if(self, condition: Node) -> None:
        self.settle()
        self.frame.repeat(condition)

    def fault(self, vector: int, error: int | None = None) -> None:
        self.settle()
        self.frame.raise_fault(int(vector), error)
        self.ended = True

    def call(self, name: str, *args: Node | int, returns: int | None = None) -> Node | None:
        self.settle()
        return self.frame.routine(name, args, returns)

    def jump_call(self, name: str, *args: Node | int) -> None:
        self.settle()
        target = self.frame.routine(name, args, 32)
        assert target is not None
        self.frame.jump(target)
        self.ended = True


#: Suffixes of accesses to the context and to guest memory, which never overlap.
CONTEXT = ", !alias.scope !3, !noalias !2"
GUEST = ", align 1, !alias.scope !2, !noalias !3"
METADATA = """
!0 = !{!"branch_weights", i32 1, i32 100000}
!1 = distinct !{!1, !"memory"}
!2 = !{!4}
!3 = !{!5}
!4 = distinct !{!4, !1, !"guest"}
!5 = distinct !{!5, !1, !"context"}
!6 = !{!"branch_weights", i32 100000, i32 1}
"""


def canonical(name: str, node: Node) -> Node:
    """A flag component as the context keeps it: 32 bits; only the carry stays one bit."""
    if name == "fc" or node.bits == 32:
        return node
    if node.known is not None:
        shift = 32 - node.bits if name in ("fs", "fo") else 0
        return known(node.known << shift, 32)
    if node.bits > 32:
        assert name == "fp"
        return Node("trunc", 32, (node,))
    wide = Node("zext", 32, (node,))
    return Node("shl", 32, (wide, known(32 - node.bits, 32))) if name in ("fs", "fo") else wide


def _top(o: LlvmOps, node: Node) -> Node:
    if node.bits == 1:
        return node
    if node.known is not None:
        return known(node.known >> node.bits - 1, 1)
    return Node("icmp slt", 1, (node, known(0, node.bits)))


def _signed_less(sign: Node, overflow: Node) -> Node | None:
    """SF xor OF behind a subtraction is a signed comparison of its operands, which the host has an instruction for."""
    if sign.op != "icmp slt" or overflow.op != "icmp slt":
        return None
    result, spread = sign.args[0], overflow.args[0]
    if result.op != "sub" or spread.op != "and" or sign.args[1].known != 0 or overflow.args[1].known != 0:
        return None
    a, b = result.args
    flip, change = spread.args
    if flip.op == "xor" and change.op == "xor" and flip.args == (a, b) and change.args == (a, result):
        return Node("icmp slt", 1, (a, b))
    return None
