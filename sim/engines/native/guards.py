"""When a word matters: conditions without which no effect of the cycle depends on a node.

A guard is a set of literals. A node's guard holds whenever its value can reach an effect, so it need only be computed
when every literal of the guard does. The guard of a node is the intersection, over its uses, of the user's guard and
the literals of the operand position: one side of a multiplexer, the far operand of an AND, the data of a register
with enable.
"""

from __future__ import annotations

from collections.abc import Iterable

from .netlist import SOURCES, Netlist, Node, Sig, sig_width
from .program import Do, Literal
from .sinks import Sinks
from .words import bit

Guard = frozenset[Literal]

_EMPTY: Guard = frozenset()
#: Literals kept per guard; more only cost time here.
_LIMIT = 12
_COSTS = {"mul": 4, "div": 40, "mod": 40, "divfloor": 50, "modfloor": 50, "memrd": 3, "shl": 2, "shr": 2, "sshr": 2,
          "shift": 3, "reduce_xor": 2}


def cost(node: Node) -> int:
    """Rough number of machine instructions of a node."""
    if node.op in SOURCES:
        return 0
    words = (max([node.width, *map(sig_width, node.ins)]) + 63) // 64
    pieces = sum(max(len(sig) - 1, 0) for sig in node.ins)
    own = len(node.ins) - 2 if node.op in ("pmux", "bmux") else _COSTS.get(node.op, 1)
    return own * words + 2 * pieces


def literal(sig: Sig, value: int) -> Literal | None:
    """The literal that a one-bit signal has ``value``; None for a constant."""
    chunk = sig[0]
    return None if chunk.node < 0 else Literal(chunk.node, chunk.offset, value)


class Guards:
    """Guards of all nodes and effects of a netlist.

    Members
    -------
    nodes, effects : their guards. needs : of each node, the guards of its uses.
    cones : cost of each node with all it alone needs, counting only operands used once.
    """

    def __init__(self, net: Netlist, sinks: Sinks, order: list[int]) -> None:
        self.net = net
        self.sinks = sinks
        self._implied: dict[Literal, Guard] = {}
        self._uses: dict[int, int] = {}
        self.cones = self._exclusive_cones(order)
        self.nodes: dict[int, Guard] = {}
        self.needs: dict[int, list[Guard]] = {}
        self.effects: dict[Do, Guard] = {}
        self._place_effects()
        for index in reversed(order):
            self._visit(index)

    def implied(self, start: Literal | None) -> Guard:
        """``start`` and what follows from it."""
        if start is None:
            return _EMPTY
        known = self._implied.get(start)
        if known is None:
            found: dict[Literal, None] = {}
            work = [start]
            while work and len(found) < _LIMIT:
                item = work.pop(0)
                if item not in found:
                    found[item] = None
                    work += [other for other in self._consequences(item) if other is not None]
            known = self._implied[start] = frozenset(found)
        return known

    def _consequences(self, item: Literal) -> Iterable[Literal | None]:
        node = self.net.nodes[item.node]
        op, value = node.op, item.value
        if op == "not":
            return [self._bit_literal(node.ins[0], item.offset, 1 - value)]
        if op == "and" and value or op == "or" and not value:
            return [self._bit_literal(sig, item.offset, value) for sig in node.ins]
        if item.offset:
            return []
        if op == "logic_and" and value or op == "logic_or" and not value:
            return [literal(sig, value) for sig in node.ins if sig_width(sig) == 1]
        if op == "reduce_and" and value or op == "reduce_or" and not value or op == "logic_not" and value:
            bits = sig_width(node.ins[0])
            level = 0 if op == "logic_not" else value
            return [self._bit_literal(node.ins[0], i, level) for i in range(bits)] if bits <= 8 else []
        if op in ("reduce_and", "reduce_or", "logic_not") and sig_width(node.ins[0]) == 1:
            return [literal(node.ins[0], value if op != "logic_not" else 1 - value)]
        return []

    @staticmethod
    def _bit_literal(sig: Sig, offset: int, value: int) -> Literal | None:
        return literal(bit(sig, offset), value) if offset < sig_width(sig) else None

    def _exclusive_cones(self, order: list[int]) -> dict[int, int]:
        """Cost of each node with all it alone needs, counting only operands used once."""
        uses = self._uses
        for index in order:
            for sig in self.net.nodes[index].ins:
                for chunk in sig:
                    uses[chunk.node] = uses.get(chunk.node, 0) + 1
        cones: dict[int, int] = {}
        for index in order:
            node = self.net.nodes[index]
            total = cost(node)
            for operand in {chunk.node for sig in node.ins for chunk in sig}:
                if uses[operand] == 1:
                    total += cones.get(operand, 0)
            cones[index] = total
        return cones

    def _need(self, sig: Sig, guard: Guard) -> None:
        for chunk in sig:
            if chunk.node >= 0:
                self.needs.setdefault(chunk.node, []).append(guard)
                known = self.nodes.get(chunk.node)
                self.nodes[chunk.node] = guard if known is None else known & guard

    def _join(self, guard: Guard, item: Literal | None) -> Guard:
        more = self.implied(item)
        joined = guard | more
        if len(joined) > 2 * _LIMIT:
            return guard
        return joined

    def _effect(self, step: Do, test: Sig | None, data: tuple[Sig, ...], base: Guard = _EMPTY) -> None:
        guard = base
        if test is not None:
            item = literal(test, 1)
            guard = base | self.implied(item)
            self._need(test, base | self._leads(item))
        self.effects[step] = guard
        for sig in data:
            self._need(sig, guard)

    def _leads(self, item: Literal | None) -> Guard:
        """Literals that decide a test one after the other: where one fails, the test fails and need not be read."""
        found: set[Literal] = set()
        while item is not None and item.value == 1:
            node = self.net.nodes[item.node]
            item = self._decisive(node) if node.op in ("and", "logic_and") else None
            if item is None or item in found:
                break
            found.add(item)
        return frozenset(found)

    def _place_effects(self) -> None:
        net, sinks = self.net, self.sinks
        if sinks.stop is not None:
            self._effect(Do("stop"), None, (sinks.stop,))
        for index, tap in enumerate(sinks.taps):
            enabled = literal(tap.enabled, 1)
            assert enabled is not None
            self._effect(Do("tap", index), tap.valid, tap.fields, frozenset({enabled}))
        if sinks.ram is not None:
            en, *others = sinks.ram
            self._effect(Do("ram"), en, tuple(others))
        for index, write in enumerate(net.writes):
            first, width = write.en[0], sig_width(write.en)
            test = bit(write.en, 0) if first.node >= 0 and first.repeat == width or width == 1 else None
            self._effect(Do("memory", index), test, (write.addr, write.data) if test else
                         (write.addr, write.data, write.en))
        for index, register in enumerate(net.registers):
            self._effect(Do("register", index), register.en, (register.d,))

    def _visit(self, index: int) -> None:
        node, guard = self.net.nodes[index], self.nodes.get(index, _EMPTY)
        if node.op == "mux":
            zero, one, test = node.ins
            self._need(test, guard)
            self._need(one, self._join(guard, literal(test, 1)))
            self._need(zero, self._join(guard, literal(test, 0)))
        elif node.op == "pmux":
            default, *cases, select = node.ins
            self._need(select, guard)
            others = guard
            for position, case in enumerate(cases):
                chosen = bit(select, position)
                self._need(case, self._join(guard, literal(chosen, 1)))
                others = self._join(others, literal(chosen, 0))
            self._need(default, others)
        elif (leader := self._leader(node)) is not None:
            item = literal((node.ins[leader][0]._replace(repeat=1),), 1 if node.op in ("and", "logic_and") else 0)
            assert item is not None
            self._need(node.ins[leader], guard - {item})
            self._need(node.ins[1 - leader], self._join(guard, item))
        else:
            for sig in node.ins:
                self._need(sig, guard)

    def _leader(self, node: Node) -> int | None:
        """The operand of an AND or OR that, alone, may decide it: the cheaper one, or the one more used."""
        if node.op not in ("and", "or", "logic_and", "logic_or"):
            return None
        able = [index for index, sig in enumerate(node.ins)
                if len(sig) == 1 and sig[0].node >= 0 and sig[0].bits == node.width
                and (node.width == 1 or sig[0].repeat > 1)]
        if not able:
            return None
        return min(able, key=lambda index: (self._own_cost(node.ins[index]), -self._uses[node.ins[index][0].node]))

    def _own_cost(self, sig: Sig) -> int:
        return max((self.cones.get(chunk.node, 0) for chunk in sig if self._uses.get(chunk.node) == 1), default=0)

    def _decisive(self, node: Node) -> Literal | None:
        """The literal of the leader without which the node has its idle value; only for one-bit nodes."""
        leader = self._leader(node)
        if leader is None or node.width != 1:
            return None
        return literal(node.ins[leader], 1 if node.op in ("and", "logic_and") else 0)
