"""Instruction bytes for #VMEXIT: how many are wanted, when they are there, and what comes of a fetch that faults."""

import pytest

from rtl.cpu.fetched import FetchedBytes
from tests.rtl.simulation import simulate

BYTES = int.from_bytes(range(0x90, 0x9F), "little")
ALL = 0xFFFF_FFFF


def fetched(linear, behind, length, have, fault=0):
    """`ready` before the bytes are there, whether they are needed then, and `ready`, count and bytes after."""
    dut = FetchedBytes()
    seen = []

    async def bench(ctx):
        for port, value in ((dut.linear, linear), (dut.behind, behind), (dut.length, length), (dut.go, 1)):
            ctx.set(port, value)
        await ctx.tick()
        ctx.set(dut.go, 0)
        # as long as a slow memory may take
        for _ in range(2000):
            await ctx.tick()
        seen.extend((ctx.get(dut.ready), ctx.get(dut.needed)))
        for port, value in ((dut.have, have), (dut.bytes, BYTES), (dut.fault, fault)):
            ctx.set(port, value)
        await ctx.delay(0)
        image = sum(ctx.get(word) << 32 * number for number, word in enumerate(dut.words))
        seen.extend((ctx.get(dut.ready), image & 0xFF, image >> 8))

    simulate(dut, bench)
    return seen


@pytest.mark.parametrize("linear, behind, length, count", [
    (0x000, ALL, 5, 15), (0xFF1, ALL, 5, 15), (0xFF2, ALL, 5, 14), (0xFFE, ALL, 1, 2), (0xFFE, ALL, 5, 5),
    (0x000, 14, 5, 15), (0x000, 13, 5, 14), (0x000, 4, 5, 5), (0xFF8, 3, 4, 4), (0xFFC, 9, 2, 4), (0xFFC, 3, 2, 4)])
def test_as_many_as_page_and_segment_have(linear, behind, length, count):
    """However long they take: 255 cycles used to be too long, and the count was 0."""
    ready, needed, *rest = fetched(linear, behind, length, 15)
    assert (ready, needed) == (0, 1)
    assert rest == [1, count, BYTES & (1 << 8 * count) - 1]


def test_what_is_not_there_yet_is_waited_for():
    assert fetched(0, ALL, 5, 14)[2] == 0


def test_a_fetch_that_faults_brings_none():
    assert fetched(0, ALL, 5, 4, fault=1)[2:] == [1, 0, 0]
