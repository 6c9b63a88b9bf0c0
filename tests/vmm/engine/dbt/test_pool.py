"""What is remembered of code that has gone."""

from __future__ import annotations

from vmm.engine.dbt.frontend import cut
from vmm.engine.dbt.pool import Pool


def test_contents_of_one_place_are_bounded() -> None:
    """A guest that generates code writes other code to the same place for ever; the last is what it is most likely."""
    pool = Pool(1)
    for number in range(100):
        block = cut(0x1000, 0x1000, bytes((0xB8, number, 0, 0, 0, 0xC3)), None, True)
        assert block is not None
        pool.remember((True, 0x1000), block)
    kept = pool.blocks[True, 0x1000]
    assert len(kept) < 20 and [block.code[1] for block in kept[:2]] == [99, 98]
