"""Ways out of a region, and from one of its blocks to another.

Registers that cross go through `alloca`s, which LLVM turns into host registers; flags cross as recipes. Every exit to
Python puts them there and goes to the epilogue.
"""

from __future__ import annotations

from vmm.engine.dbt.contextfields import ContextFields
from vmm.engine.dbt.layout import Exit
from vmm.engine.dbt.llvmops import CONTEXT
from vmm.engine.dbt.recipes import GROUPS, LEAVES, Recipes, freeze, settle_raw, store_components
from vmm.engine.dbt.straight import COMPONENTS, Straight
from vmm.engine.dbt.values import UNLIKELY, Builder, Node, Raw

#: Why native code leaves, or None if that has been said already.
Reason = Exit | str | None


def call(builder: Builder, target: str, registers: list[str], budget: str) -> None:
    """Leave the function for another one of its kind."""
    args = ", ".join(["ptr %c", *(f"i32 {register}" for register in registers), f"i64 {budget}"])
    builder.emit(f"musttail call ghccc void {target}({args})")
    builder.emit("ret void")


def slot_of(name: str, number: int) -> str:
    """The address of a chain slot of translation `name`."""
    return f"getelementptr ([0 x ptr], ptr @slots_{name}, i64 0, i64 {number})" if number else f"@slots_{name}"


class Ways:
    """The ways of one region.

    Parameters
    ----------
    slots : chain slots given out so far; extended.
    """

    def __init__(self, name: str, builder: Builder, fields: ContextFields, recipes: Recipes, slots: list[int]):
        self._name = name
        self._builder = builder
        self._fields = fields
        self._recipes = recipes
        self._slots = slots
        self._start: Straight
        self._eip = self._index = 0
        self._abort_label: str | None = None
        self._abort_scope: list[Node] = []

    def prologue(self) -> list[str]:
        lines = [f"%R{n} = alloca i32\nstore i32 %r{n}, ptr %R{n}" for n in range(8)]
        lines += ["%B = alloca i64", "store i64 %b, ptr %B", "%E = alloca i32"]
        for group in GROUPS:
            lines += [f"%K{group} = alloca i32\nstore i32 0, ptr %K{group}"]
            lines += [f"%L{group}{n} = alloca i32\nstore i32 0, ptr %L{group}{n}" for n in range(LEAVES[group])]
        return lines

    def epilogue(self) -> None:
        """Where every exit to Python ends: registers and flags from where joins keep them."""
        b = self._builder
        with b.aside("epilogue"):
            for group in GROUPS:
                self._store_recipe(group)
            self._fields.store("eip", b.let("load i32, ptr %E"))
            registers = [b.let(f"load i32, ptr %R{n}") for n in range(8)]
            call(b, self._fields.load("exit", "ptr"), registers, b.let("load i64, ptr %B"))

    def arrive(self) -> tuple[Straight, str]:
        """Registers, flags and budget at a block that is entered by its label."""
        b = self._builder
        now = Straight([kept(n) for n in range(8)], dict.fromkeys(COMPONENTS))
        for node in now.regs:
            b.text(node)
        return now, b.let("load i64, ptr %B")

    # one instruction

    def begin(self, start: Straight, eip: int, index: int) -> None:
        """The instruction at EIP comes next, behind `index` others of its block."""
        self._start, self._eip, self._index = start, eip, index
        self._abort_label = None

    def undo(self) -> None:
        """Nothing of the instruction stays."""

    def abort(self, entered: str) -> str:
        """The label that gives up the present instruction: its state before, and the reason as it was left.

        `entered` is the budget its block was entered with.
        """
        b = self._builder
        if self._abort_label is None or not b.is_open(self._abort_scope):
            self._abort_scope = b.innermost
            self._abort_label = b.new_label("abort")
            with b.aside(self._abort_label):
                self.exit(self._eip, self._start, b.let(f"sub i64 {entered}, {self._index}"), None)
        return self._abort_label

    # flags

    def component(self, name: str) -> Node:
        """A flag component that this stretch has not changed."""
        group = "c" if name == "fc" else "o"
        words = [f"%K{group}", *(f"%L{group}{n}" for n in range(LEAVES[group]))]
        args = tuple(Raw(f"load i32, ptr {word}", 32) for word in words)
        places = ", ".join(f"i32 {{{n}}}" for n in range(len(args)))
        bits = 1 if name == "fc" else 32
        return Raw(f"call i{bits} @eval_{name}(ptr %c, {places})", bits, args)

    def before_arms(self, now: Straight) -> None:
        """What crosses as a recipe costs the arms nothing."""

    def flags_out(self, now: Straight) -> None:
        """All flags into the context, for code that does not know recipes."""
        changed: dict[str, Node] = {}
        for group, names in GROUPS.items():
            if all(now.flags[name] is None for name in names):
                self._store_recipe(group)
            else:
                changed.update({name: now.flags[name] or self.component(name) for name in names})
        store_components(self._builder, changed)

    def _store_recipe(self, group: str) -> None:
        args = [self._builder.let(f"load i32, ptr %K{group}")]
        args += [self._builder.let(f"load i32, ptr %L{group}{n}") for n in range(LEAVES[group])]
        self._builder.emit(f"call void @store_{group}(ptr %c, {', '.join(f'i32 {a}' for a in args)})")

    def _flags_to_root(self, now: Straight) -> list[str]:
        """Emit what recipes are made from; the stores, to be done when all of that has been read."""
        b = self._builder
        stores: list[str] = []
        for group, names in GROUPS.items():
            if all(now.flags[name] is None for name in names):
                continue
            components = [now.flags[name] or self.component(name) for name in names]
            for node in components:
                settle_raw(b, node)
            memo: dict[int, Node] = {}
            numbered = self._recipes.number(group, [freeze(node, memo) for node in components])
            if numbered is None:
                store_components(b, dict(zip(names, components, strict=True)))
                b.emit(f"store i32 0, ptr %K{group}")
                continue
            number, leaves = numbered
            stores.append(f"store i32 {number}, ptr %K{group}")
            for n, leaf in enumerate(leaves):
                word = leaf if leaf.bits == 32 else Node("zext", 32, (leaf,))
                stores.append(f"store i32 {b.text(word)}, ptr %L{group}{n}")
        return stores

    # leaving

    def to_root(self, now: Straight, budget: str) -> None:
        """Registers, flags and budget to where joins keep them."""
        b = self._builder
        for line in self._flags_to_root(now):
            b.emit(line)
        self._keep(now, budget)

    def _keep(self, now: Straight, budget: str) -> None:
        b = self._builder
        changed = [(n, b.text(node)) for n, node in enumerate(now.regs) if not _is_kept(n, node)]
        for number, text in changed:
            b.emit(f"store i32 {text}, ptr %R{number}")
        b.emit(f"store i64 {budget}, ptr %B")

    def exit(self, eip: int, now: Straight, budget: str, reason: Reason) -> None:
        """To Python."""
        self._builder.emit(f"store i32 {eip}, ptr %E")
        self.to_root(now, budget)
        self._leave(reason)

    def _leave(self, reason: Reason) -> None:
        if reason is not None:
            self._fields.store("reason", int(reason))
        self._builder.emit("br label %epilogue")

    def leave(self, target: str, now: Straight, budget: str) -> None:
        """To other code, with the flags in the context."""
        call(self._builder, target, [self._builder.text(node) for node in now.regs], budget)

    def chain(self, eip: int, now: Straight, budget: str) -> None:
        """To a translation elsewhere, directly once its address is known."""
        b = self._builder
        self.flags_out(now)
        slot = slot_of(self._name, len(self._slots))
        self._slots.append(eip)
        code = b.let(f"load ptr, ptr {slot}")
        missing, there = b.new_label("unlinked"), b.new_label("linked")
        b.emit(f"br i1 {b.let(f'icmp eq ptr {code}, null')}, label %{missing}, label %{there}{UNLIKELY}")
        with b.aside(missing):
            self._fields.store("slot", slot, "ptr")
            b.emit(f"store i32 {eip}, ptr %E")
            for group in GROUPS:
                b.emit(f"store i32 0, ptr %K{group}")
            self._keep(now, budget)
            self._leave(Exit.MISSING)
        b.start(there)
        self.leave(code, now, budget)

    def chain_either(self, condition: Node, eip: int, other: int, now: Straight, budget: str) -> bool:
        """To one of two translations, if that is no dearer than a jump; False if it is and nothing was done."""
        return False

    def by_jump_cache(self, eip: str, entry: str, hit: str, now: Straight, budget: str) -> None:
        """To the code that an entry of the jump cache holds, or to look further."""
        b = self._builder
        other, found = b.new_label("other"), b.new_label("hit")
        b.emit(f"br i1 {hit}, label %{found}, label %{other}, !prof !6")
        with b.aside(other):
            self._fields.store("eip", eip)
            self.leave(self._fields.load("lookup", "ptr"), now, budget)
        b.start(found)
        place = b.let(f"getelementptr i8, ptr {entry}, i64 8")
        self.leave(b.let(f"load ptr, ptr {place}{CONTEXT}"), now, budget)


def kept(number: int) -> Node:
    """A register where joins keep it."""
    return Raw(f"load i32, ptr %R{number}", 32)


def _is_kept(number: int, node: Node) -> bool:
    return isinstance(node, Raw) and node.template == f"load i32, ptr %R{number}"
