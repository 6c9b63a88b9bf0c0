"""Notices of stores, and what becomes of their answers."""

import itertools

from rtl.cpu.notices import StoreNotices
from tests.rtl.simulation import simulate


class _Bench:
    def __init__(self, ctx, dut):
        self.ctx, self.dut = ctx, dut

    async def cycle(self, answer=0, **inputs):
        """One cycle with these inputs; whether there was a notice, and of which line."""
        for name, value in inputs.items():
            self.ctx.set(getattr(self.dut, name), value)
        self.ctx.set(self.dut.snoop.hit, answer)
        told = self.ctx.get(self.dut.snoop.line) if self.ctx.get(self.dut.snoop.valid) else None
        self.hit = self.ctx.get(self.dut.hit)
        await self.ctx.tick()
        for name in inputs:
            self.ctx.set(getattr(self.dut, name), 0)
        return told


def _run(body):
    dut = StoreNotices()

    async def bench(ctx):
        await body(_Bench(ctx, dut))

    simulate(dut, bench)


def test_an_answer_stays_while_the_store_is_in_x():
    async def body(b):
        assert await b.cycle(take=1, line=5) == 5
        for answer in (1, 0, 0):
            assert await b.cycle(answer) is None and b.hit
        await b.cycle(begin=1)
        await b.cycle(take=1, line=6)
        await b.cycle(0)
        assert not b.hit, "another store, another answer"
    _run(body)


def test_the_first_of_two_lines_counts():
    async def body(b):
        for first, second, late in itertools.product((0, 1), repeat=3):
            await b.cycle(begin=1)
            assert await b.cycle(first=1, line=7) == 7
            if late:
                assert await b.cycle(first, at_second=1) is None
            assert await b.cycle(first and not late, at_second=1, take=1, line=8) == 8
            await b.cycle(second)
            await b.cycle()
            assert b.hit == (first | second)
    _run(body)


def test_a_killed_store_has_no_answer():
    async def body(b):
        await b.cycle(take=1, line=5)
        await b.cycle(begin=1)
        await b.cycle(first=1, kill=1, line=6)
        await b.cycle(1)
        await b.cycle()
        assert not b.hit
    _run(body)


def test_others_wait_for_stores():
    async def body(b):
        assert await b.cycle(other=1, other_line=9, take=1, line=5) == 5
        assert b.ctx.get(b.dut.busy)
        assert await b.cycle(take=1, line=6) == 6
        assert await b.cycle() == 9 and not b.ctx.get(b.dut.busy)
        assert await b.cycle() is None
    _run(body)
