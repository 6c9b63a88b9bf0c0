"""Words that several others need, each under a condition of its own: they get a condition of their own, too.

A guard is what all uses of a word have in common, which is often nothing: an operand read by either of two inputs is
needed if one or the other selects it. Such a word becomes 0 where no use needs it, by a multiplexer whose test is the
OR of conditions of its uses; the word and all it alone needs then have that test as their guard.
"""

from __future__ import annotations

from .guards import Guards
from .netlist import Chunk, Netlist, Sig, const
from .program import Literal
from .sinks import Sinks, nodes_of, watched

#: Cost a word has, with all it alone needs, to be worth a test; conditions in a test; uses looked at.
WORTH = 24
_CONDITIONS = 3
_USES = 12


class Gates:
    """Finds the words and puts the multiplexers in."""

    def __init__(self, net: Netlist, sinks: Sinks, order: list[int], guards: Guards) -> None:
        self._net = net
        self._guards = guards
        self._order = order
        self._levels: dict[int, int] = {}
        for index in order:
            operands = nodes_of(net.nodes[index].ins)
            self._levels[index] = 1 + max((self._levels.get(node, 0) for node in operands), default=0)
        self._watched = nodes_of(watched(sinks))

    def run(self) -> bool:
        """Whether anything has changed."""
        tests = {}
        for index in self._order:
            if self._guards.cones[index] >= WORTH and index not in self._watched:
                test = self._conditions(index)
                if test:
                    tests[index] = test
        moved: dict[int, int] = {}
        for index in tests:
            width = self._net.nodes[index].width
            moved[index] = len(self._net.nodes)
            self._net.add("mux", width, (const(0, width), (Chunk(index, 0, width),), const(1, 1)))
        for index, test in tests.items():
            node = self._net.nodes[moved[index]]
            node.ins = (*node.ins[:2], self._any(test))
        self._substitute(moved)
        return bool(tests)

    def _conditions(self, index: int) -> list[Literal]:
        """Conditions one of which holds whenever the word is needed; none if there are no such few.

        A condition is no deeper in the netlist than the word, so it cannot depend on it, and no circle arises from all
        multiplexers together.
        """
        left = self._guards.needs.get(index, [])
        if not 1 < len(left) <= _USES or self._guards.nodes.get(index):
            return []
        found: list[Literal] = []
        while left and len(found) < _CONDITIONS:
            able = [item for guard in left for item in guard
                    if self._levels.get(item.node, 0) <= self._levels[index]]
            if not able:
                return []
            best = max(able, key=lambda item: (sum(item in guard for guard in left), item.value,
                                               self._levels.get(item.node, 0), item))
            found.append(best)
            left = [guard for guard in left if best not in guard]
        return [] if left else found

    def _any(self, test: list[Literal]) -> Sig:
        whole: Sig | None = None
        for item in test:
            one: Sig = (Chunk(item.node, item.offset, 1),)
            if not item.value:
                one = self._net.add("not", 1, (one,))
            whole = one if whole is None else self._net.add("or", 1, (whole, one))
        assert whole is not None
        return whole

    def _substitute(self, moved: dict[int, int]) -> None:
        net = self._net
        own = set(moved.values())

        def sig(old: Sig) -> Sig:
            if not any(chunk.node in moved for chunk in old):
                return old
            return tuple(chunk._replace(node=moved.get(chunk.node, chunk.node)) for chunk in old)

        for index, node in enumerate(net.nodes):
            if index not in own:
                node.ins = tuple(sig(old) for old in node.ins)
        for register in net.registers:
            register.d = sig(register.d)
            register.en = None if register.en is None else sig(register.en)
        for write in net.writes:
            write.addr, write.data, write.en = sig(write.addr), sig(write.data), sig(write.en)
