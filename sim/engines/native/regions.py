"""Which branch each step of a cycle goes under: a tree of tests chosen from the guards."""

from __future__ import annotations

from .guards import Guards, cost, literal
from .netlist import Netlist, Node, const, sig_width
from .program import Do, Literal, Merge

#: A region costing less than this is not worth a branch, nor is a test that adds less than ``OWN`` to the one inside.
WORTH = 24
OWN = 12
_DEPTH = 6

Path = tuple[Literal, ...]


class Regions:
    """A path of tests for every step; the empty path is the cycle itself.

    A step's path holds whenever its guard does. The word behind each test of a path is computed under a path that is
    a prefix of the tests before it, so a test never reads a word that was skipped.
    """

    def __init__(self, net: Netlist, guards: Guards, order: list[int], steps: dict[Do, int]) -> None:
        self._net = net
        self._guards = guards
        self._weights = self._weigh(order, steps)
        self.paths: dict[Do, Path] = {}
        for index in order:
            self.paths[Do("node", index)] = self._choose(guards.nodes.get(index, frozenset()))
        for step in steps:
            self.paths[step] = self._choose(guards.effects[step])
        self._prune(order, steps)
        self.merges: dict[int, Merge] = {}
        self._merge(order)

    def _merge(self, order: list[int]) -> None:
        """Move a multiplexer, AND or OR into the region of its own test, if that makes one of its operands."""
        used = set(self.paths.values())
        for index in order:
            step = Do("node", index)
            base = self.paths[step]
            for merge in _merges_of(self._net.nodes[index]):
                path = (*base, merge.test)
                under = [self.paths.get(Do("node", chunk.node), ()) for chunk in merge.inside]
                if path in used and path in {place[:len(path)] for place in under}:
                    self.merges[index] = merge
                    self.paths[step] = path
                    break

    def _weigh(self, order: list[int], steps: dict[Do, int]) -> dict[Literal, int]:
        weights: dict[Literal, int] = {}
        for index in order:
            price = cost(self._net.nodes[index])
            for item in self._guards.nodes.get(index, ()):
                weights[item] = weights.get(item, 0) + price
        for step, price in steps.items():
            for item in self._guards.effects[step]:
                weights[item] = weights.get(item, 0) + price
        return weights

    def _choose(self, guard: frozenset[Literal]) -> Path:
        weights = self._weights
        waiting = sorted((item for item in guard if weights[item] >= WORTH),
                         key=lambda item: (-weights[item], -item.node, item.offset))
        path: list[Literal] = []
        covered: set[Literal] = set()
        progress = True
        while progress and len(path) < _DEPTH:
            progress = False
            for item in waiting:
                under = self.paths.get(Do("node", item.node), ())
                if item not in covered and set(under) <= set(path):
                    path.append(item)
                    covered |= self._guards.implied(item)
                    progress = True
                    break
        return tuple(path)

    def _prune(self, order: list[int], steps: dict[Do, int]) -> None:
        """Drop tests not worth their branch, innermost first, in all paths through them alike."""
        own: dict[Path, int] = {}
        for step, path in self.paths.items():
            price = steps[step] if step in steps else cost(self._net.nodes[step.index])
            own[path] = own.get(path, 0) + price
            for length in range(len(path)):
                own.setdefault(path[:length], 0)
        total = dict(own)
        children: dict[Path, list[Path]] = {path: [] for path in own}
        for path in sorted(own, key=len, reverse=True):
            if path:
                total[path[:-1]] += total[path]
                children[path[:-1]].append(path)
        renamed: dict[Path, Path] = {(): ()}
        for path in sorted(own, key=len):
            if not path:
                continue
            parent = renamed[path[:-1]]
            small = total[path] < WORTH
            thin = own[path] < OWN and len(children[path]) == 1 and total[path] - own[path] >= WORTH
            renamed[path] = parent if small or thin else (*parent, path[-1])
        self.paths = {step: renamed[path] for step, path in self.paths.items()}


def _merges_of(node: Node) -> list[Merge]:
    """The ways a node is one operand where a test holds and another value where it does not."""
    if node.op == "mux":
        zero, one, select = node.ins
        tests = (literal(select, 1), literal(select, 0))
        return [Merge(test, *sides) for test, sides in zip(tests, ((one, zero), (zero, one)), strict=True)
                if test is not None]
    if node.op in ("and", "or") and node.width == 1 and all(sig_width(sig) == 1 for sig in node.ins):
        value = 1 if node.op == "and" else 0
        pairs = (node.ins, node.ins[::-1])
        return [Merge(test, inside, const(1 - value, 1)) for deciding, inside in pairs
                if (test := literal(deciding, value)) is not None]
    return []
