"""ANDs of unrelated bits as chains of two-operand ones, so that one bit can spare looking at the others.

Yosys makes the enable of a register one AND of all the conditions it is under. As a chain it starts with the condition
that most other words are under, too, and the rest of it goes behind that one's branch (`guards`).
"""

from __future__ import annotations

from collections import Counter

from .netlist import Chunk, Netlist, Sig


def unfold_reductions(net: Netlist) -> None:
    """Replace every AND of more than one bit, the most used bit first."""
    uses: Counter[tuple[int, int]] = Counter()
    sigs = [sig for node in net.nodes for sig in node.ins]
    sigs += [sig for register in net.registers for sig in (register.d, register.en or ())]
    for sig in sigs:
        uses.update((chunk.node, chunk.offset) for chunk in sig)
    for node in list(net.nodes):
        if node.op == "reduce_and" and node.width == 1 and _separate(node.ins[0]):
            first, *others = sorted(node.ins[0], key=lambda chunk: -uses[chunk.node, chunk.offset])
            node.op, node.ins = "and", ((first,), _chain(net, others))


def _separate(sig: Sig) -> bool:
    return len(sig) > 1 and all(chunk.node >= 0 and chunk.bits == 1 for chunk in sig)


def _chain(net: Netlist, bits: list[Chunk]) -> Sig:
    rest: Sig = (bits[-1],)
    for chunk in reversed(bits[:-1]):
        rest = net.add("and", 1, ((chunk,), rest))
    return rest
