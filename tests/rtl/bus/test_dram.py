"""The memory controller: when words move, in which order, and what is not RAM."""

import pytest
from amaranth.sim import Simulator

from rtl.bus.config import MemoryConfig
from rtl.bus.dram import MemoryController

WORDS = 1 << 14


def run(latency, body):
    """Simulate `body(ctx, bus, ram_words)` with a RAM that answers as the signature says."""
    controller = MemoryController(MemoryConfig(latency))
    words = {}
    simulator = Simulator(controller)
    simulator.add_clock(1e-6)
    ram = controller.ram

    async def ram_process(ctx):
        async for _, _, en, addr, we, wdata in ctx.tick().sample(ram.en, ram.addr, ram.we, ram.wdata):
            if en:
                old = words.get(addr, addr)
                ctx.set(ram.rdata, old)
                bits = sum(0xFF << 8 * i for i in range(4) if we >> i & 1)
                if we:
                    words[addr] = old & ~bits | wdata & bits

    async def testbench(ctx):
        ctx.set(controller.ram_size_words, WORDS)
        await body(ctx, controller, words)

    simulator.add_process(ram_process)
    simulator.add_testbench(testbench)
    simulator.run()


async def request(ctx, bus, addr, *, line=0, write=0, mask=15, data=()):
    """Words read, or none; and the cycles after the request in which they moved."""
    for name, value in (("valid", 1), ("addr", addr), ("line", line), ("write", write), ("mask", mask)):
        ctx.set(getattr(bus, name), value)
    assert ctx.get(bus.ready)
    words, cycles, data = [], [], list(data)
    for cycle in range(400):
        if write and data:
            ctx.set(bus.wdata, data[0])
        if cycle and ctx.get(bus.rvalid):
            words.append(ctx.get(bus.rdata))
            cycles.append(cycle)
        if ctx.get(bus.wready):
            data.pop(0)
            cycles.append(cycle)
        if len(cycles) == (8 if line else 1):
            break
        await ctx.tick()
        ctx.set(bus.valid, 0)
        assert not ctx.get(bus.ready) or not write and len(cycles) >= (7 if line else 0)
    if write:
        await ctx.tick()
    return words, cycles


@pytest.mark.parametrize("latency", [2, 8, 20])
def test_latency_then_one_word_per_cycle(latency):
    async def body(ctx, controller, words):
        bus = controller.bus
        got, cycles = await request(ctx, bus, 0x114, line=1)
        assert got == [0x45, 0x46, 0x47, 0x40, 0x41, 0x42, 0x43, 0x44], "the word asked for comes first"
        assert cycles == [latency + i for i in range(8)]
        assert await request(ctx, bus, 0x200) == ([0x80], [latency])
        _, cycles = await request(ctx, bus, 0x300, line=1, write=1, data=range(8))
        assert cycles == [latency + i for i in range(8)]
        assert [words[0xC0 + i] for i in range(8)] == list(range(8))
        await request(ctx, bus, 0x304, write=1, mask=0b0110, data=[0xAABBCCDD])
        assert words[0xC1] == 0x00BB_CC01

    run(latency, body)


def test_next_request_in_the_last_words_cycle():
    async def body(ctx, controller, words):
        await request(ctx, controller.bus, 0x0)
        assert ctx.get(controller.bus.ready) and ctx.get(controller.bus.rvalid)
        assert await request(ctx, controller.bus, 0x40) == ([0x10], [8])

    run(8, body)


def test_what_is_not_ram():
    async def body(ctx, controller, words):
        bus, mmio = controller.bus, controller.mmio
        got, _ = await request(ctx, bus, WORDS * 4, line=1)
        assert got == [0xFFFF_FFFF] * 8
        ctx.set(mmio.rdata, 0x1234)
        ctx.set(mmio.ready, 1)
        assert await request(ctx, bus, WORDS * 4 + 8) == ([0x1234], [1])
        await ctx.tick()
        ctx.set(mmio.ready, 0)
        for name, value in (("valid", 1), ("addr", WORDS * 4), ("write", 1), ("mask", 0b0011), ("wdata", 0x77)):
            ctx.set(getattr(bus, name), value)
        await ctx.tick()
        ctx.set(bus.valid, 0)
        for _ in range(5):
            assert (ctx.get(mmio.valid), ctx.get(mmio.write), ctx.get(mmio.mask)) == (1, 1, 0b0011)
            assert (ctx.get(mmio.addr), ctx.get(mmio.wdata), ctx.get(bus.wready)) == (WORDS * 4, 0x77, 0)
            await ctx.tick()
        ctx.set(mmio.ready, 1)
        assert ctx.get(bus.wready)
        await ctx.tick()
        assert not ctx.get(mmio.valid) and ctx.get(bus.ready)
        assert not words

    run(8, body)


def test_bad_latency():
    with pytest.raises(ValueError, match="latency must be from 2 to 255 cycles, not 1"):
        MemoryConfig(1)
