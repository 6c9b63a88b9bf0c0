# amaranth: UnusedElaboratable=no
"""The I/O bridge against a row of byte registers."""

import random

import pytest

from rtl.bus.iobridge import IoBridge
from tests.rtl.simulation import simulate


def _run(recovery, accesses):
    """Make the accesses (write, port, size, data, cycles idle after it). Gives what the bus saw as (cycle, write,
    address, byte), what was read, and the cycles of each access. A register reads as its address's low byte."""
    dut = IoBridge(recovery)
    strobes, reads, cycles = [], [], []
    now = 0

    async def tick(ctx):
        nonlocal now
        assert not (ctx.get(dut.bus.r_stb) and ctx.get(dut.bus.w_stb))
        if ctx.get(dut.bus.r_stb) or ctx.get(dut.bus.w_stb):
            write = ctx.get(dut.bus.w_stb)
            strobes.append((now, write, ctx.get(dut.bus.addr), ctx.get(dut.bus.w_data) if write else None))
        await ctx.tick()
        now += 1

    async def bench(ctx):
        for write, port, size, data, idle in accesses:
            for name, value in dict(valid=1, write=write, port=port, size=size, wdata=data).items():
                ctx.set(getattr(dut.io, name), value)
            start = now
            while True:
                # The device answers combinationally, and only means it with the strobe.
                ctx.set(dut.bus.r_data, ctx.get(dut.bus.addr) & 0xFF if ctx.get(dut.bus.r_stb) else 0xEE)
                if ctx.get(dut.io.ready):
                    break
                assert now - start < 4 * recovery, "never ready"
                await tick(ctx)
            reads.append(None if write else ctx.get(dut.io.rdata) & (1 << (8 << size)) - 1)
            await tick(ctx)
            cycles.append(now - start)
            ctx.set(dut.io.valid, 0)
            for _ in range(idle):
                await tick(ctx)

    simulate(dut, bench)
    return strobes, reads, cycles


@pytest.mark.parametrize("recovery", (1, 2, 8))
def test_splitting(recovery):
    """Each access is its bytes, lowest first; ports wrap at 64 KiB; bytes come `recovery` cycles apart."""
    rng = random.Random(recovery)
    accesses = [(rng.getrandbits(1), rng.choice((rng.getrandbits(16), 0xFFFF, 0xFFFE)), rng.randrange(3),
                 rng.getrandbits(32), rng.choice((0, 0, 1, 5))) for _ in range(60)]
    strobes, reads, cycles = _run(recovery, accesses)
    expected, values = [], []
    for write, port, size, data, _ in accesses:
        addresses = [port + n & 0xFFFF for n in range(1 << size)]
        expected += [(write, address, data >> 8 * n & 0xFF if write else None)
                     for n, address in enumerate(addresses)]
        values.append(None if write else int.from_bytes(bytes(address & 0xFF for address in addresses), "little"))
    assert [strobe[1:] for strobe in strobes] == expected
    assert reads == values
    assert cycles == [recovery << size for _, _, size, _, _ in accesses]
    assert all(after[0] - before[0] >= recovery for before, after in zip(strobes, strobes[1:], strict=False))


def test_recovery_must_be_positive():
    with pytest.raises(ValueError, match="recovery must be at least 1 cycle, not 0"):
        IoBridge(0)
