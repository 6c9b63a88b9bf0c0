"""Order of the steps of a cycle."""

from __future__ import annotations

from .emit import Sinks
from .netlist import SOURCES, Netlist, Sig
from .program import Block, Call, Do, Program

#: Steps in one LLVM function; code generation time grows faster than linearly above.
FUNCTION_SIZE = 600


def nodes_of(sigs: tuple[Sig, ...]) -> set[int]:
    return {chunk.node for sig in sigs for chunk in sig if chunk.node >= 0}


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


def sink_inputs(net: Netlist, sinks: Sinks) -> dict[Do, set[int]]:
    """Every effect of a cycle with the nodes it reads."""
    effects: dict[Do, set[int]] = {}
    if sinks.stop is not None:
        effects[Do("stop")] = nodes_of((sinks.stop,))
    for index, tap in enumerate(sinks.taps):
        effects[Do("tap", index)] = nodes_of((tap.valid, *tap.fields))
    if sinks.ram is not None:
        effects[Do("ram")] = nodes_of(sinks.ram)
    for index, write in enumerate(net.writes):
        effects[Do("memory", index)] = nodes_of((write.addr, write.data, write.en))
    for index, register in enumerate(net.registers):
        effects[Do("register", index)] = nodes_of((register.d,) if register.en is None else (register.d, register.en))
    return effects


def split(blocks: Block, size: int = FUNCTION_SIZE) -> list[Block]:
    return [blocks[start:start + size] for start in range(0, len(blocks), size)]


def straight(net: Netlist, sinks: Sinks) -> Program:
    """Everything computed, then every effect; registers that feed each other are copied first."""
    effects = sink_inputs(net, sinks)
    block: Block = [Do("node", node) for node in topological(net, set().union(*effects.values()))]
    node_register = {register.node: index for index, register in enumerate(net.registers)}
    if sinks.rdata >= 0:
        node_register[sinks.rdata] = -1
    for register in net.registers:
        register.d = _copied(net, register.d, node_register, block)
        if register.en is not None:
            register.en = _copied(net, register.en, node_register, block)
    for write in net.writes:
        write.addr, write.data, write.en = (
            _copied(net, sig, node_register, block) for sig in (write.addr, write.data, write.en))
    block += effects
    functions = split(block)
    calls: Block = [Call(number + 1) for number in range(len(functions))]
    return Program([calls, *functions], sorted(crossing(net, sinks, functions)))


def _copied(net: Netlist, sig: Sig, sources: dict[int, int], block: Block) -> Sig:
    chunks = []
    for chunk in sig:
        if chunk.node in sources:
            copy = net.add("copy", net.nodes[chunk.node].width, (((chunk._replace(
                offset=0, width=net.nodes[chunk.node].width, repeat=1)),),))
            block.append(Do("node", copy[0].node))
            chunk = chunk._replace(node=copy[0].node)
        chunks.append(chunk)
    return tuple(chunks)


def crossing(net: Netlist, sinks: Sinks, functions: list[Block]) -> set[int]:
    """Computed nodes used in another function than the one that computes them."""
    home: dict[int, int] = {}
    for number, block in enumerate(functions):
        for step in block:
            if isinstance(step, Do) and step.what == "node":
                home[step.index] = number
    effects = sink_inputs(net, sinks)
    result = set()
    for number, block in enumerate(functions):
        for step in block:
            assert isinstance(step, Do)
            used = nodes_of(net.nodes[step.index].ins) if step.what == "node" else effects[step]
            result |= {node for node in used if home.get(node, number) != number}
    return result
