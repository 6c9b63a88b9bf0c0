"""Ways out of the code of one block that is to be compiled quickly: few lines, and one call for all of them.

1. Registers and flags need no place of their own: nothing joins.
2. An instruction that may be given up finds the state before it saved: flags in the context, and the registers that the
   block has changed in `alloca`s. All of them are given up in one place.
3. Every way ends at "leave", the only call: LLVM takes longer for one than for twenty other lines.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmm.engine.dbt.contextfields import ContextFields
from vmm.engine.dbt.layout import Exit, offset
from vmm.engine.dbt.llvmops import CONTEXT
from vmm.engine.dbt.recipes import store_components
from vmm.engine.dbt.straight import COMPONENTS, Straight
from vmm.engine.dbt.values import Builder, Node, Raw, named
from vmm.engine.dbt.ways import Reason, call, slot_of


@dataclass(frozen=True, slots=True)
class _Edge:
    """A way to "leave": from block `label`, for `target`."""

    label: str
    target: str
    registers: list[str]
    budget: str


@dataclass(frozen=True, slots=True)
class _Abort:
    """Where the instruction at EIP is given up, behind `index` others."""

    label: str
    eip: int
    index: int


class ShortWays:
    """The ways of one block; like `Ways`, but for what joins."""

    def __init__(self, name: str, builder: Builder, fields: ContextFields, slots: list[int]):
        self._name = name
        self._builder = builder
        self._fields = fields
        self._slots = slots
        self._edges: list[_Edge] = []
        self._aborts: list[_Abort] = []
        self._changed: set[int] = set()
        self._entered = Straight([named(f"%r{n}", 32) for n in range(8)], dict.fromkeys(COMPONENTS))
        self._saved = self._before = self._start = self._entered
        self._eip = self._index = self._place = 0
        self._depth = (0, 0)
        self._lengths = (0, 0)
        self._abort_label: str | None = None

    def prologue(self) -> list[str]:
        return [f"%R{n} = alloca i32\nstore i32 %r{n}, ptr %R{n}" for n in sorted(self._changed)]

    def epilogue(self) -> None:
        b = self._builder
        if self._aborts:
            with b.aside("abort"):
                eip = self._choice("i32", [(str(one.eip), one.label) for one in self._aborts])
                done = self._choice("i64", [(str(one.index), one.label) for one in self._aborts])
                registers = [Raw(f"load i32, ptr %R{n}", 32) if n in self._changed else named(f"%r{n}", 32)
                             for n in range(8)]
                now = Straight(registers, dict.fromkeys(COMPONENTS))
                self.exit(eip, now, b.let(f"sub i64 %b, {done}"), None)
        edges = self._edges
        with b.aside("leave"):
            target = self._choice("ptr", [(edge.target, edge.label) for edge in edges])
            words = [self._choice("i32", [(edge.registers[n], edge.label) for edge in edges]) for n in range(8)]
            call(b, target, words, self._choice("i64", [(edge.budget, edge.label) for edge in edges]))

    def _choice(self, kind: str, ways: list[tuple[str, str]]) -> str:
        """A value that depends on where one comes from."""
        if len({value for value, _ in ways}) == 1:
            return ways[0][0]
        return self._builder.let(f"phi {kind} {', '.join(f'[ {value}, %{label} ]' for value, label in ways)}")

    def arrive(self) -> tuple[Straight, str]:
        return self._entered.copy(), "%b"

    # one instruction

    def begin(self, start: Straight, eip: int, index: int) -> None:
        b = self._builder
        self._start, self._eip, self._index = start, eip, index
        self._before, self._lengths = self._saved, (len(self._edges), len(self._aborts))
        self._abort_label = None
        # the state is saved here, if the instruction turns out to be one that may be given up
        self._place, self._depth = len(b.main), b.depth
        b.emit("")

    def undo(self) -> None:
        self._saved = self._before
        del self._edges[self._lengths[0]:], self._aborts[self._lengths[1]:]

    def abort(self, entered: str) -> str:
        b = self._builder
        if self._abort_label is None:
            with b.earlier(self._place, self._depth):
                self._save(self._start)
            self._abort_label = b.new_label("abort")
            with b.aside(self._abort_label):
                b.emit("br label %abort")
            self._aborts.append(_Abort(self._abort_label, self._eip, self._index))
        return self._abort_label

    def _save(self, now: Straight) -> None:
        b, saved = self._builder, self._saved
        for number, node in enumerate(now.regs):
            if node is not saved.regs[number]:
                b.emit(f"store i32 {b.text(node)}, ptr %R{number}")
                self._changed.add(number)
        self.flags_out(now)
        self._saved = now

    # flags

    def component(self, name: str) -> Node:
        place = Raw(f"getelementptr i8, ptr %c, i64 {offset(name)}", 64)
        load = Raw(f"load i32, ptr {{0}}{CONTEXT}", 32, (place,))
        return Node("trunc", 1, (load,)) if name == "fc" else load

    def before_arms(self, now: Straight) -> None:
        """Flags go to the context once, before the ways part, and not on each of them."""
        self.flags_out(now)
        now.flags.update(dict.fromkeys(COMPONENTS))

    def flags_out(self, now: Straight) -> None:
        saved = self._saved.flags
        store_components(self._builder, {name: node for name, node in now.flags.items()
                                         if node is not None and node is not saved[name]})

    # leaving

    def exit(self, eip: int | str, now: Straight, budget: str, reason: Reason) -> None:
        self.flags_out(now)
        self._fields.store("eip", eip)
        if reason is not None:
            self._fields.store("reason", reason if isinstance(reason, str) else int(reason))
        if reason is not None and reason is not Exit.MISSING:
            # a chain slot that was used on the way here is not missing anything
            self._fields.store("slot", 0, "i64")
        self.leave(self._fields.load("exit", "ptr"), now, budget)

    def leave(self, target: str, now: Straight, budget: str) -> None:
        b = self._builder
        registers = [b.text(node) for node in now.regs]
        self._edges.append(_Edge(b.label, target, registers, budget))
        b.emit("br label %leave")

    def chain(self, eip: int, now: Straight, budget: str) -> None:
        self.flags_out(now)
        self._follow(self._slot(eip), str(eip), now, budget)

    def chain_either(self, condition: Node, eip: int, other: int, now: Straight, budget: str) -> bool:
        b = self._builder
        chosen = b.text(condition)
        self.flags_out(now)
        slot = b.let(f"select i1 {chosen}, ptr {self._slot(eip)}, ptr {self._slot(other)}")
        self._follow(slot, b.let(f"select i1 {chosen}, i32 {eip}, i32 {other}"), now, budget)
        return True

    def _slot(self, eip: int) -> str:
        self._slots.append(eip)
        return slot_of(self._name, len(self._slots) - 1)

    def _follow(self, slot: str, eip: str, now: Straight, budget: str) -> None:
        """Where a slot leads, or out with its address: for that everything is said beforehand."""
        b, fields = self._builder, self._fields
        fields.store("slot", slot, "ptr")
        fields.store("eip", eip)
        fields.store("reason", int(Exit.MISSING))
        code = b.let(f"load ptr, ptr {slot}")
        missing = b.let(f"icmp eq ptr {code}, null")
        self.leave(b.let(f"select i1 {missing}, ptr {fields.load('exit', 'ptr')}, ptr {code}"), now, budget)

    def by_jump_cache(self, eip: str, entry: str, hit: str, now: Straight, budget: str) -> None:
        b = self._builder
        self._fields.store("eip", eip)
        place = b.let(f"getelementptr i8, ptr {entry}, i64 8")
        code = b.let(f"load ptr, ptr {place}{CONTEXT}")
        self.leave(b.let(f"select i1 {hit}, ptr {code}, ptr {self._fields.load('lookup', 'ptr')}"), now, budget)
