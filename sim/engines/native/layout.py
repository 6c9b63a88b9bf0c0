"""Where everything lives in the state of a compiled design: one flat byte buffer."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from .netlist import Netlist
from .words import store_bits

#: Header fields, as byte offsets of 64-bit words.
RAM_POINTER, RAM_WORDS, STOP_VALUE, TAP_FULL = 0, 8, 16, 24
HEADER = 64
#: A tap's record in the header: buffer, records in it, capacity in records.
TAP_SIZE = 24


@dataclass
class Layout:
    """Byte offsets in the state.

    Members
    -------
    nodes : offset of each register and input, and of each computed node that passes between functions.
    memories : offset of row 0 of each memory; rows are ``store_bits`` wide.
    sources, skipped : bytes up to the end of the inputs and registers, which come first; of the computed nodes that
        some cycles skip, which come next.
    size : bytes in all.
    """

    taps: int
    nodes: dict[int, int] = field(default_factory=dict)
    memories: list[int] = field(default_factory=list)
    sources: int = 0
    skipped: int = 0
    size: int = 0

    def tap(self, index: int) -> int:
        return HEADER + TAP_SIZE * index


def lay_out(net: Netlist, taps: int, crossing: Iterable[int], skipped: Container[int] = ()) -> Layout:
    """Place inputs and registers first, then crossing words, those among ``skipped`` first, then memories, each group
    sorted by size."""
    layout = Layout(taps)
    position = HEADER + TAP_SIZE * taps
    groups = (
        [*net.inputs.values(), *(register.node for register in net.registers)],
        [node for node in crossing if node in skipped],
        [node for node in crossing if node not in skipped],
    )
    ends = []
    for group in groups:
        for node in sorted(group, key=lambda node: (-store_bits(net.nodes[node].width), node)):
            layout.nodes[node] = position
            position += store_bits(net.nodes[node].width) // 8
        position = (position + 63) // 64 * 64
        ends.append(position)
    layout.sources, layout.skipped, _computed = ends
    for memory in net.memories:
        layout.memories.append(position)
        position += store_bits(memory.width) // 8 * memory.depth
        position = (position + 63) // 64 * 64
    layout.size = position
    return layout
