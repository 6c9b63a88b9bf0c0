"""From a netlist to the program of a cycle."""

from __future__ import annotations

from collections.abc import Callable

from .chains import unfold_reductions
from .divide import divide
from .gates import Gates
from .guards import Guards
from .netlist import SOURCES, Netlist
from .order import Ordering
from .program import Do, Program
from .regions import Regions
from .sinks import Sinks, nodes_of, sink_inputs
from .split import Splitter

#: Splitting a register lets the words that feed it be split in the next round.
SPLIT_ROUNDS = 4


def topological(net: Netlist, roots: set[int]) -> list[int]:
    """Computed nodes needed for ``roots``, operands first."""
    order: list[int] = []
    done: set[int] = set()
    stack = [(node, False) for node in sorted(roots, reverse=True)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif node not in done:
            done.add(node)
            if net.nodes[node].op not in SOURCES:
                stack.append((node, True))
                stack += [(other, False) for other in sorted(nodes_of(net.nodes[node].ins)) if other not in done]
    return order


def effect_cost(net: Netlist, step: Do) -> int:
    """Rough number of machine instructions of an effect."""
    if step.what == "register":
        return 1 if net.registers[step.index].en is None else 2
    return {"memory": 4, "ram": 12, "tap": 12, "stop": 1}[step.what]


def split_words(net: Netlist, describe: Callable[[Netlist], Sinks]) -> Sinks:
    """Split the words of ``net`` where that saves putting them together; the sinks of the result."""
    for _ in range(SPLIT_ROUNDS):
        sinks = describe(net)
        order = topological(net, set().union(*sink_inputs(net, sinks).values()))
        if not Splitter(net, sinks, order).run():
            break
    return describe(net)


def plan(net: Netlist, sinks: Sinks) -> Program:
    """The program of a cycle: guarded, ordered, divided into functions. Adds copies to ``net`` where needed."""
    unfold_reductions(net)
    effects = sink_inputs(net, sinks)
    order = topological(net, set().union(*effects.values()))
    guards = Guards(net, sinks, order)
    if Gates(net, sinks, order, guards).run():
        effects = sink_inputs(net, sinks)
        order = topological(net, set().union(*effects.values()))
        guards = Guards(net, sinks, order)
    regions = Regions(net, guards, order, {step: effect_cost(net, step) for step in effects})
    return divide(net, sinks, Ordering(net, sinks, order, regions.paths, regions.merges).run())


def observation(net: Netlist, wanted: set[int]) -> Program:
    """The program that computes the nodes ``wanted``, all of them always."""
    return divide(net, Sinks((), None, None), [Do("node", node) for node in topological(net, wanted)])
