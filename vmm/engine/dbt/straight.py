"""Registers and flag components as nodes, at one point of the main path of a translation."""

from __future__ import annotations

from vmm.engine.dbt.values import Node, known

COMPONENTS = ("fz", "fs", "fp", "fo", "fa", "fc")


class Straight:
    """Registers and flag components at one point of the main path; None is a component nobody has changed."""

    __slots__ = ("flags", "regs")

    def __init__(self, regs: list[Node], flags: dict[str, Node | None]):
        self.regs = regs
        self.flags = flags

    def copy(self) -> Straight:
        return Straight(list(self.regs), dict(self.flags))


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
