"""Reads and writes of a buffer of words."""

from __future__ import annotations

import numpy as np
import pytest

from sim.engines.native.cells import Cells
from sim.engines.native.netlist import Chunk

#: Node -> offset and width.
NODES = {1: (0, 100), 2: (16, 48), 3: (24, 32), 4: (28, 9), 5: (30, 8), 6: (31, 1)}


@pytest.fixture
def cells() -> Cells:
    return Cells(np.zeros(40, np.uint8), NODES)


@pytest.mark.parametrize("node", NODES)
def test_words_of_all_sizes(cells: Cells, node: int) -> None:
    offset, width = NODES[node]
    read, write = cells.word(offset, width)
    write((1 << width) - 1)
    assert read() == (1 << width) - 1
    assert all(cells.reader((Chunk(other, 0, NODES[other][1]),))() == 0 for other in NODES if other != node)


def test_a_signal_of_parts(cells: Cells) -> None:
    """Bits 4 to 8 of one node, a constant, a bit four times, bits 90 to 99 of a wide one."""
    parts = (Chunk(4, 4, 5), Chunk(-1, 0b10, 2), Chunk(6, 0, 1, 4), Chunk(1, 90, 10))
    read, write = cells.reader(parts), cells.writer(parts)
    cells.word(*NODES[4])[1](0b1_0000_1111)
    write(0x2A5 << 11 | 0b1111 << 7 | 0b11 << 5 | 0b01010)
    assert read() == 0x2A5 << 11 | 0b1111 << 7 | 0b10 << 5 | 0b01010
    assert cells.word(*NODES[4])[0]() == 0b0_1010_1111, "bits beside the part stay"


def test_what_has_no_place(cells: Cells) -> None:
    assert cells.holds((Chunk(2, 0, 48), Chunk(-1, 1, 1))) and not cells.holds((Chunk(7, 0, 1),))
    cells.writer((Chunk(7, 0, 3), Chunk(5, 0, 8)))(0x5A << 3)
    assert cells.reader((Chunk(5, 0, 8),))() == 0x5A
