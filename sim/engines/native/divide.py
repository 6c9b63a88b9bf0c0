"""Dividing the steps of a cycle into functions: code generation time grows faster than linearly with their size."""

from __future__ import annotations

from collections.abc import Iterator

from .netlist import Netlist
from .program import Block, Call, Do, If, Program
from .sinks import Sinks, nodes_of, sink_inputs

#: Steps in one LLVM function.
FUNCTION_SIZE = 500


def size(block: Block) -> int:
    return sum(1 + size(step.body) if isinstance(step, If) else 1 for step in block)


def divide(net: Netlist, sinks: Sinks, block: Block, limit: int = FUNCTION_SIZE) -> Program:
    """The program with functions of about ``limit`` steps, and the nodes that pass between them."""
    functions: list[Block] = [[]]
    functions[0] = _split(block, limit, functions)
    crossing = _crossing(net, sinks, functions)
    return Program(functions, sorted(crossing), crossing - set(_always(functions[0], functions)))


def _split(block: Block, limit: int, functions: list[Block]) -> Block:
    """Calls that together do the steps of ``block``."""
    calls: Block = []
    part: Block = []
    filled = 0
    for step in block:
        length = 1
        if isinstance(step, If):
            length += size(step.body)
            if length > limit:
                step.body = _split(step.body, limit, functions)
                length = len(step.body) + 1
        if part and filled + length > limit:
            calls.append(_outline(part, functions))
            part, filled = [], 0
        part.append(step)
        filled += length
    if part:
        calls.append(_outline(part, functions))
    return calls


def _outline(part: Block, functions: list[Block]) -> Call:
    functions.append(part)
    return Call(len(functions) - 1)


def steps_of(block: Block) -> Iterator[Do | If]:
    """All steps and tests, nested ones included."""
    for step in block:
        if not isinstance(step, Call):
            yield step
        if isinstance(step, If):
            yield from steps_of(step.body)


def _always(block: Block, functions: list[Block]) -> Iterator[int]:
    """The nodes computed in every cycle."""
    for step in block:
        if isinstance(step, Call):
            yield from _always(functions[step.function], functions)
        elif isinstance(step, Do) and step.what == "node":
            yield step.index


def _crossing(net: Netlist, sinks: Sinks, functions: list[Block]) -> set[int]:
    home = {step.index: number for number, block in enumerate(functions) for step in steps_of(block)
            if isinstance(step, Do) and step.what == "node"}
    effects = sink_inputs(net, sinks)
    return {node for number, block in enumerate(functions) for step in steps_of(block)
            for node in read_by(net, effects, step) if home.get(node, number) != number}


def read_by(net: Netlist, effects: dict[Do, set[int]], step: Do | If) -> set[int]:
    """Nodes a step reads; of a test, only the test."""
    if isinstance(step, If):
        return {step.test.node}
    return nodes_of(net.nodes[step.index].ins) if step.what == "node" else effects[step]


def exports(net: Netlist, sinks: Sinks, block: Block) -> dict[int, int]:
    """For each node computed in a function, how many tests deep its uses in that function share with it."""
    chains: dict[int, tuple[int, ...]] = {}
    depth: dict[int, int] = {}
    effects = sink_inputs(net, sinks)

    def walk(part: Block, chain: tuple[int, ...]) -> None:
        for step in part:
            if isinstance(step, Call):
                continue
            for node in read_by(net, effects, step):
                if node in chains:
                    shared = 0
                    for one, two in zip(chains[node], chain, strict=False):
                        if one != two:
                            break
                        shared += 1
                    depth[node] = min(depth[node], shared)
            if isinstance(step, If):
                walk(step.body, (*chain, id(step)))
            elif step.what == "node":
                chains[step.index] = chain
                depth[step.index] = len(chain)

    walk(block, ())
    return depth
