"""The victim's buffer beside a line in arrays: copied from any word on, with pauses, and read back whole."""

import random

import pytest

from rtl.cache.victim import VictimBuffer
from tests.rtl.simulation import simulate


@pytest.mark.parametrize("first", range(8))
def test_a_line_is_copied_from_any_word_on(first):
    rng = random.Random(first)
    line = [rng.getrandbits(32) for _ in range(8)]
    dut = VictimBuffer()

    async def bench(ctx):
        for port, value in ((dut.begin, 1), (dut.first, first)):
            ctx.set(port, value)
        await ctx.tick()
        ctx.set(dut.begin, 0)
        order = []
        while ctx.get(dut.copying):
            steps = rng.random() < 0.6
            ctx.set(dut.step, steps)
            word = ctx.get(dut.word)
            await ctx.tick()
            if steps:
                order.append(word)
            # The arrays answer a cycle later, and at other times give anything.
            ctx.set(dut.data, line[word] if steps else rng.getrandbits(32))
        ctx.set(dut.step, 0)
        await ctx.tick()
        assert order == [(first + number) % 8 for number in range(8)]
        for number in range(8):
            ctx.set(dut.out_word, number)
            assert ctx.get(dut.out) == line[number]

    simulate(dut, bench)
