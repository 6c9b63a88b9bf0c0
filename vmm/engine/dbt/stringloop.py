"""REP string instructions by the page: one look-up per page instead of one or two per element.

As long as both pointers stay in their pages, the data tables have them, and the budget lasts, iterations run in a loop
of host accesses. Everything else (the last element before a page ends, an element across it, a page that is not in the
tables, a device) goes through the ordinary iteration behind it.
"""

from __future__ import annotations

from typing import Protocol

from rtl.isa.registers import Eflags, Gpr, Seg
from vmm.engine.dbt.accesses import Accesses
from vmm.engine.dbt.contextfields import ContextFields
from vmm.engine.dbt.frontend import Block
from vmm.engine.dbt.layout import Kind
from vmm.engine.dbt.llvmops import GUEST, LlvmOps, NotNative
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.shortways import ShortWays
from vmm.engine.dbt.straight import Straight
from vmm.engine.dbt.values import Builder, Node, known, named
from vmm.engine.dbt.ways import Ways
from vmm.semantics.table import emit

ECX, ESI, EDI = int(Gpr.ECX), int(Gpr.ESI), int(Gpr.EDI)
ES, DS = int(Seg.ES), int(Seg.DS)
_DF, _AC = int(Eflags.DF), int(Eflags.AC)
_POINTERS = {"movs": (ESI, EDI), "cmps": (ESI, EDI), "stos": (EDI,), "scas": (EDI,), "lods": (ESI,)}
_WRITES = frozenset(("movs", "stos"))


class Surroundings(Protocol):
    """What the loop needs of the translation it stands in; see `Region`."""

    setting: Setting
    builder: Builder
    fields: ContextFields
    accesses: Accesses
    ways: Ways | ShortWays
    budget: str

    def label(self, eip: int) -> str: ...
    def component(self, name: str) -> Node: ...
    def to_root(self, now: Straight) -> None: ...
    def resume(self, ops: LlvmOps, block: Block) -> None: ...
    def jump(self, target: Node) -> None: ...


def applies(region: Surroundings, block: Block) -> bool:
    """Whether a block is a REP string instruction on flat segments and 32-bit pointers."""
    insn = block.last.insn
    operation = insn.form.operation
    if not block.repeats or operation not in _POINTERS or insn.adsize != 4 or not region.setting.inline:
        return False
    flat = region.setting.mode.flat
    source = DS if insn.seg is None else int(insn.seg)
    return (ESI not in _POINTERS[operation] or bool(flat >> source & 1)) and (
        EDI not in _POINTERS[operation] or bool(flat >> ES & 1))


class StringLoop:
    """The loop of one REP string instruction; the `Frame` of its iterations."""

    def __init__(self, region: Surroundings, block: Block):
        self._region = region
        self._b = region.builder
        self._insn = block.last.insn
        self._block = block
        operation = self._insn.form.operation
        self._pointers = _POINTERS[operation]
        form = self._insn.form
        self._size = 1 if any(kind.name in ("Xb", "Yb") for kind in form.operands) else self._insn.opsize
        self._writes = operation in _WRITES
        self._slots = {number: f"%S{block.eip:x}_{number}" for number in self._pointers}
        self._left, self._done = f"%SN{block.eip:x}", f"%SX{block.eip:x}"
        self._label = f"s{block.eip:x}"
        self._start: Straight

    def test(self, now: Straight, budget: str) -> None:
        """Go to the loop if it may run at all."""
        b, region = self._b, self._region
        region.fields.entry += [f"{slot} = alloca i64" for slot in self._slots.values()]
        region.fields.entry += [f"{self._left} = alloca i64", f"{self._done} = alloca i64"]
        flags = region.fields.load("system_flags")
        down = b.let(f"icmp ne i32 {b.let(f'and i32 {flags}, {_DF}')}, 0")
        count = b.let(f"zext i32 {b.text(now.regs[ECX])} to i64")
        room = self._least(count, budget)
        # misaligned elements may have to be seen one by one
        there = b.let(f"icmp eq i32 {b.let(f'and i32 {flags}, {_AC * region.setting.user}')}, 0")
        for number in self._pointers:
            address = b.text(now.regs[number])
            entry = self._entry(number, address)
            b.emit(f"store i64 {entry}, ptr {self._slots[number]}")
            there = b.let(f"and i1 {there}, {b.let(f'icmp ne i64 {entry}, 0')}")
            room = self._least(room, self._elements(address, down))
        room, there = self._restrict(now, down, room, there)
        b.emit(f"store i64 {room}, ptr {self._left}")
        b.emit(f"store i64 0, ptr {self._done}")
        some = b.let(f"icmp sgt i64 {room}, 0")
        normal = b.new_label("single")
        b.emit(f"br i1 {b.let(f'and i1 {some}, {there}')}, label %{self._label}, label %{normal}")
        b.start(normal)

    def _restrict(self, now: Straight, down: str, room: str, there: str) -> tuple[str, str]:
        """For how many elements the loop may run, and whether it may: what it needs besides pages."""
        return room, there

    def _least(self, a: str, b: str) -> str:
        less = self._b.let(f"icmp slt i64 {a}, {b}")
        return self._b.let(f"select i1 {less}, i64 {a}, i64 {b}")

    def _entry(self, number: int, address: str) -> str:
        kind = Kind.WRITE if self._writes and number == EDI else Kind.READ
        return self._region.accesses.entry(kind, self._b.let(f"lshr i32 {address}, 12"))

    def _elements(self, address: str, down: str) -> str:
        """How many elements from `address` on lie in its page."""
        b, size = self._b, self._size
        within = b.let(f"and i32 {address}, 4095")
        shift = size.bit_length() - 1
        above = b.let(f"lshr i32 {b.let(f'sub i32 4096, {within}')}, {shift}")
        below = b.let(f"add i32 {b.let(f'lshr i32 {within}, {shift}')}, 1")
        fits = b.let(f"icmp ule i32 {within}, {4096 - size}")
        below = b.let(f"select i1 {fits}, i32 {below}, i32 0")
        return b.let(f"zext i32 {b.let(f'select i1 {down}, i32 {below}, i32 {above}')} to i64")

    def body(self) -> None:
        """The loop itself."""
        b, region = self._b, self._region
        with b.scope():
            b.start(self._label)
            now, budget = region.ways.arrive()
            self._start = now.copy()
            region.budget = b.let(f"sub i64 {budget}, 1")
            ops = LlvmOps(region.setting.mode, b, self, now)
            ops.next = self._block.end
            region.resume(ops, self._block)
            self._ops = ops
            emit(ops, self._insn)  # type: ignore[arg-type]
            ops.settle()
            if not ops.ended:
                ops.jump(known(self._block.end, 32))

    def _account(self, done: str) -> None:
        """Iterations that were not the last are steps but no instructions."""
        fields = self._region.fields
        fields.store("extra", self._b.let(f"add i64 {fields.load('extra', 'i64')}, {done}"), "i64")

    # the frame of an iteration

    def component(self, name: str) -> Node:
        return self._region.component(name)

    def before_arms(self, now: Straight) -> None:
        """No string instruction jumps on a condition."""

    def jump(self, target: Node) -> None:
        self._account(self._b.let(f"load i64, ptr {self._done}"))
        self._region.jump(target)

    def jump_either(self, condition: Node, target: Node) -> bool:
        return False

    def repeat(self, condition: Node) -> None:
        b, region = self._b, self._region
        again, finished, spent = b.new_label("again"), b.new_label("finished"), b.new_label("spent")
        b.emit(f"br i1 {b.text(condition)}, label %{again}, label %{finished}")
        with b.scope():
            b.start(again)
            region.to_root(self._ops.now)
            left = b.let(f"sub i64 {b.let(f'load i64, ptr {self._left}')}, 1")
            done = b.let(f"add i64 {b.let(f'load i64, ptr {self._done}')}, 1")
            b.emit(f"store i64 {left}, ptr {self._left}")
            b.emit(f"store i64 {done}, ptr {self._done}")
            b.emit(f"br i1 {b.let(f'icmp eq i64 {left}, 0')}, label %{spent}, label %{self._label}")
            b.start(spent)
            self._account(done)
            region.fields.store("repeating", 1, "i8")
            b.emit(f"br label %{region.label(self._block.eip)}")
        b.start(finished)

    def _host(self, linear: Node) -> str:
        b = self._b
        number = next(n for n in self._pointers if linear is self._start.regs[n])
        return self._region.accesses.host(b.let(f"load i64, ptr {self._slots[number]}"), b.text(linear))

    def load(self, linear: Node, bits: int, for_write: bool) -> Node:
        return named(self._b.let(f"load i{bits}, ptr {self._host(linear)}{GUEST}"), bits)

    def store(self, linear: Node, value: Node) -> None:
        datum = self._b.text(value)
        self._b.emit(f"store i{value.bits} {datum}, ptr {self._host(linear)}{GUEST}")

    def abort(self) -> str:
        raise NotNative

    def raise_fault(self, vector: int, error: int | None) -> None:
        raise NotNative

    def routine(self, name: str, args: tuple[Node | int, ...], returns: int | None) -> Node | None:
        raise NotNative

    def linear(self, segment: int, offset: Node, size: int, write: bool) -> Node:
        raise NotNative

    def probe(self, segment: int, offset: Node, size: int, write: bool) -> None:
        raise NotNative
