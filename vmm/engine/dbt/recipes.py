"""Flags that cross from one basic block of a translation to another, as operands and a number that says what of.

Computing five flag components at the end of every block, for an exit that might want them, costs more than the block.
What crosses is instead the few values they are made from (often guest registers that are in host registers anyway)
and the number of a recipe. Only an exit, or an instruction that reads flags of another block, evaluates the recipe.
Recipe 0 is "the components are in the context".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vmm.engine.dbt.layout import offset
from vmm.engine.dbt.llvmops import CONTEXT
from vmm.engine.dbt.straight import canonical
from vmm.engine.dbt.values import Builder, Node, Raw, known, named

#: The two groups: an instruction that leaves CF alone changes all the others.
GROUPS = {"o": ("fz", "fs", "fp", "fo", "fa"), "c": ("fc",)}
LEAVES = {"o": 5, "c": 3}


def freeze(node: Node, memo: dict[int, Node]) -> Node:
    """A copy that stands on what has been emitted and survives the end of the scope."""
    if node.op in ("known", "text"):
        return node
    found = memo.get(id(node))
    if found is None:
        if node.text is not None:
            found = named(node.text, node.bits)
        elif isinstance(node, Raw):
            found = Raw(node.template, node.bits, tuple(freeze(arg, memo) for arg in node.args))
        else:
            found = Node(node.op, node.bits, tuple(freeze(arg, memo) for arg in node.args))
        memo[id(node)] = found
    return found


@dataclass(slots=True)
class _Abstract:
    """Components as expressions over numbered leaves."""

    leaves: list[Node] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    memo: dict[int, tuple[str, Node]] = field(default_factory=dict)

    def visit(self, node: Node) -> tuple[str, Node]:
        if node.op == "known":
            return f"{node.known}:{node.bits}", node
        found = self.memo.get(id(node))
        if found is not None:
            return found
        if node.op == "text":
            assert node.text is not None
            number = self.numbers.setdefault(node.text, len(self.leaves))
            if number == len(self.leaves):
                self.leaves.append(node)
            found = f"L{number}:{node.bits}", named(f"%l{number}", node.bits)
        else:
            parts = [self.visit(arg) for arg in node.args]
            template = node.template if isinstance(node, Raw) else node.op
            key = f"({template}:{node.bits} {' '.join(key for key, _ in parts)})"
            args = tuple(arg for _, arg in parts)
            found = key, Raw(template, node.bits, args) if isinstance(node, Raw) else Node(node.op, node.bits, args)
        self.memo[id(node)] = found
        return found


class Recipes:
    """The recipes of one module."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, tuple[int, list[Node], list[int]]]] = {"o": {}, "c": {}}

    def number(self, group: str, components: list[Node]) -> tuple[int, list[Node]] | None:
        """The recipe of a group's components and the leaves it is used with; None if it takes too many."""
        abstract = _Abstract()
        visited = [abstract.visit(node) for node in components]
        if len(abstract.leaves) > LEAVES[group] or any(leaf.bits > 32 for leaf in abstract.leaves):
            return None
        table = self._known[group]
        key = " ".join(key for key, _ in visited)
        if key not in table:
            table[key] = (len(table) + 1, [node for _, node in visited], [leaf.bits for leaf in abstract.leaves])
        return table[key][0], abstract.leaves

    def functions(self) -> str:
        """The IR that evaluates recipes: one function per component, and one per group that stores them."""
        return "\n".join(
            [self._evaluate(group, name) for group in GROUPS for name in GROUPS[group]]
            + [self._store(group) for group in GROUPS])

    def _arms(self, group: str, returned: str, name: str) -> Builder:
        """The head of a function of a group: `switch` by recipe; behind "stored" the caller goes on for recipe 0."""
        builder = Builder()
        parameters = ", ".join(["ptr %c", "i32 %k", *(f"i32 %{group}{n}" for n in range(LEAVES[group]))])
        cases = " ".join(f"i32 {number}, label %k{number}" for number, _, _ in self._known[group].values())
        builder.emit(f"define internal {returned} @{name}({parameters}) {{")
        builder.emit(f"switch i32 %k, label %stored [ {cases} ]")
        return builder

    def _instances(self, builder: Builder, group: str, number: int, nodes: list[Node],
                   widths: list[int]) -> list[Node]:
        """Start the arm of a recipe: its components, over the parameters."""
        builder.start(f"k{number}")
        leaves = {}
        for n, bits in enumerate(widths):
            word = f"%{group}{n}"
            leaves[f"%l{n}"] = builder.let(f"trunc i32 {word} to i{bits}") if bits < 32 else word
        memo: dict[int, Node] = {}
        return [_rename(node, leaves, memo) for node in nodes]

    def _evaluate(self, group: str, name: str) -> str:
        kind = "i1" if name == "fc" else "i32"
        index = GROUPS[group].index(name)
        builder = self._arms(group, kind, f"eval_{name}")
        for number, nodes, widths in self._known[group].values():
            with builder.scope():
                node = self._instances(builder, group, number, nodes, widths)[index]
                builder.emit(f"ret {kind} {builder.text(canonical(name, node))}")
        builder.start("stored")
        place = builder.let(f"getelementptr i8, ptr %c, i64 {offset(name)}")
        value = builder.let(f"load i32, ptr {place}{CONTEXT}")
        if kind == "i1":
            value = builder.let(f"trunc i32 {value} to i1")
        return "\n".join([*builder.main, f"ret {kind} {value}", "}"])

    def _store(self, group: str) -> str:
        builder = self._arms(group, "void", f"store_{group}")
        for number, nodes, widths in self._known[group].values():
            with builder.scope():
                instances = self._instances(builder, group, number, nodes, widths)
                store_components(builder, dict(zip(GROUPS[group], instances, strict=True)))
                builder.emit("ret void")
        builder.start("stored")
        return "\n".join([*builder.main, "ret void", "}"])


def store_components(builder: Builder, components: dict[str, Node]) -> None:
    """Put components into the context, all of them computed before the first is stored."""
    words = {}
    for name, node in components.items():
        word = canonical(name, node)
        if word.bits == 1:
            word = known(word.known, 32) if word.known is not None else Node("zext", 32, (word,))
        words[name] = builder.text(word)
    for name, text in words.items():
        place = builder.let(f"getelementptr i8, ptr %c, i64 {offset(name)}")
        builder.emit(f"store i32 {text}, ptr {place}{CONTEXT}")


def settle_raw(builder: Builder, node: Node) -> None:
    """Emit every raw expression in `node`: what it reads may be about to change."""
    if node.text is None:
        if isinstance(node, Raw):
            builder.text(node)
        else:
            for arg in node.args:
                settle_raw(builder, arg)


def _rename(node: Node, names: dict[str, str], memo: dict[int, Node]) -> Node:
    if node.op == "known":
        return node
    found = memo.get(id(node))
    if found is None:
        if node.op == "text":
            found = named(names[str(node.text)], node.bits)
        elif isinstance(node, Raw):
            found = Raw(node.template, node.bits, tuple(_rename(arg, names, memo) for arg in node.args))
        else:
            found = Node(node.op, node.bits, tuple(_rename(arg, names, memo) for arg in node.args))
        memo[id(node)] = found
    return found
