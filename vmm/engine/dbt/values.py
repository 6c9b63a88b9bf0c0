"""Values of translated code: expressions that are emitted where they are used, if they are used at all.

Most of what an instruction computes (the flags above all) nobody reads. A `Node` therefore stays an expression until
an effect needs it; `Builder.text` then emits it, once for everything the present scope dominates. Used only in an exit
that is hardly ever taken, it is computed only there.

Rules:

1. Nodes are immutable and pure. What depends on time (a register, a load) is captured by the node that is current.
2. A scope is a stretch of code that dominates what follows in it. Leaving a scope forgets what was emitted inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

#: Hardly ever: `!prof` of branches towards exits and slow paths.
UNLIKELY = ", !prof !0"


class Node:
    """An expression of `bits` bits.

    `op` is an LLVM opcode, or "known" (a constant), "text" (something emitted already), "raw" (a template).
    """

    __slots__ = ("args", "bits", "known", "op", "text")

    def __init__(self, op: str, bits: int, args: tuple[Node, ...] = (), known: int | None = None,
                 text: str | None = None):
        self.op = op
        self.bits = bits
        self.args = args
        self.known = known
        self.text = text


class Raw(Node):
    """A pure expression given as a line of IR without its result; `args` are substituted for {0}, {1}..."""

    __slots__ = ("template",)

    def __init__(self, template: str, bits: int, args: tuple[Node, ...] = ()):
        super().__init__("raw", bits, args)
        self.template = template


def known(value: int, bits: int) -> Node:
    value &= (1 << bits) - 1
    text = str(value) if bits > 1 else ("true" if value else "false")
    return Node("known", bits, (), value, text)


def named(text: str, bits: int) -> Node:
    return Node("text", bits, (), None, text)


class Builder:
    """Text of one LLVM function.

    Members
    -------
    lines : where code goes now; the main path or a cold block.
    label : the basic block being filled.
    """

    def __init__(self) -> None:
        self.main: list[str] = []
        self.cold: list[str] = []
        self.lines = self.main
        self.label = "entry"
        self._count = 0
        self._scopes: list[list[Node]] = [[]]

    def name(self, stem: str = "v") -> str:
        self._count += 1
        return f"%{stem}{self._count}"

    def new_label(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def emit(self, line: str) -> None:
        self.lines.append(line)

    def let(self, expression: str) -> str:
        self._count += 1
        name = f"%v{self._count}"
        self.lines.append(f"{name} = {expression}")
        return name

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def text(self, node: Node) -> str:
        """The operand a node is, emitted first if it has to be."""
        text = node.text
        if text is None:
            args = [self.text(arg) for arg in node.args]
            text = node.text = self.let(self._expression(node, args))
            self._scopes[-1].append(node)
        return text

    def _expression(self, node: Node, args: list[str]) -> str:
        op = node.op
        if op == "raw":
            assert isinstance(node, Raw)
            return node.template.format(*args)
        first = node.args[0]
        if op in ("zext", "sext", "trunc"):
            return f"{op} i{first.bits} {args[0]} to i{node.bits}"
        if op == "select":
            return f"select i1 {args[0]}, i{node.bits} {args[1]}, i{node.bits} {args[2]}"
        if op == "fshl":
            kind = f"i{node.bits}"
            return f"call {kind} @llvm.fshl.{kind}({kind} {args[0]}, {kind} {args[1]}, {kind} {args[2]})"
        return f"{op} i{first.bits} {args[0]}, {args[1]}"

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is emitted inside does not dominate what comes after."""
        self._scopes.append([])
        yield
        for node in self._scopes.pop():
            node.text = None

    @property
    def innermost(self) -> list[Node]:
        """The present scope, to ask later whether it `is_open`."""
        return self._scopes[-1]

    def is_open(self, scope: list[Node]) -> bool:
        return any(scope is other for other in self._scopes)

    @property
    def depth(self) -> tuple[int, int]:
        return len(self._scopes), len(self._scopes[-1])

    def rewind(self, main: int, cold: int, label: str, depth: tuple[int, int]) -> None:
        """Take back what was emitted since the texts had these lengths and the scopes this `depth`."""
        del self.main[main:], self.cold[cold:]
        self.lines, self.label = self.main, label
        while len(self._scopes) > depth[0]:
            for node in self._scopes.pop():
                node.text = None
        for node in self._scopes[-1][depth[1]:]:
            node.text = None
        del self._scopes[-1][depth[1]:]

    @contextmanager
    def before(self, place: int) -> Iterator[None]:
        """Emit in front of line `place` of where code goes now; no line changes its number."""
        lines, here, self.lines = self.lines, self.label, []
        yield
        lines[place] = "\n".join([*self.lines, lines[place]])
        self.lines, self.label = lines, here

    @contextmanager
    def earlier(self, place: int, depth: tuple[int, int]) -> Iterator[None]:
        """Emit in front of line `place` of the main path, as if it were when the scopes had this `depth`."""
        scopes, lines = self._scopes, self.lines
        inner = [scopes[depth[0] - 1][depth[1]:], *scopes[depth[0]:]]
        later = {node: node.text for scope in inner for node in scope}
        for node in later:
            node.text = None
        self._scopes, self.lines = scopes[:depth[0]], self.main
        with self.before(place):
            yield
        self._scopes, self.lines = scopes, lines
        for scope in scopes[depth[0]:]:
            # what has a name from further out keeps it when this scope ends
            scope[:] = [node for node in scope if node.text is None]
        for node, text in later.items():
            if node.text is None:
                node.text = text

    @contextmanager
    def aside(self, label: str) -> Iterator[None]:
        """Fill a cold block of its own, away from the main path."""
        lines, here = self.lines, self.label
        self.lines = self.cold
        with self.scope():
            self.start(label)
            yield
        self.lines, self.label = lines, here
