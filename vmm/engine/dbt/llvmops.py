"""`Ops` that builds LLVM IR: the instructions of one translation, one after the other.

Registers and flag components are nodes in a `Straight`, so that within a stretch of code they live in host registers.
What touches the outside (memory, exits, routines) goes through the `Frame` that the translation provides.
"""

from __future__ import annotations

from rtl.isa.registers import Eflags, Seg
from vmm.engine.dbt.arms import Arms
from vmm.engine.dbt.frame import Frame
from vmm.engine.dbt.layout import offset, segment_offset
from vmm.engine.dbt.pureops import PureOps
from vmm.engine.dbt.straight import Straight
from vmm.engine.dbt.values import Builder, Node, Raw, known, named
from vmm.semantics.ops import Mode

CS = int(Seg.CS)
_DF = int(Eflags.DF)

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


class NotNative(Exception):
    """The instruction needs something translated code cannot do; it is left to the interpreter."""


class Cell:
    """A `Variable` of the semantics."""

    __slots__ = ("bits", "slot")

    def __init__(self, slot: str, bits: int):
        self.slot = slot
        self.bits = bits


class LlvmOps(PureOps, Arms):
    """Emits instructions into `builder`.

    Members
    -------
    next : EIP behind the instruction being emitted. now, ended : see `Arms`.
    """

    def __init__(self, mode: Mode, builder: Builder, frame: Frame, now: Straight):
        super().__init__(builder, frame, now)
        self.mode = mode
        self.next = 0

    # variables

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
            return _top(self.component("fs"))
        if name == "of":
            return _top(self.component("fo"))
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


def _top(node: Node) -> Node:
    if node.bits == 1:
        return node
    if node.known is not None:
        return known(node.known >> node.bits - 1, 1)
    return Node("icmp slt", 1, (node, known(0, node.bits)))
