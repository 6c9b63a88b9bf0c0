"""The front end delivers exactly the bytes of memory, in order, whatever happens around it."""

import pytest

from rtl.cache.config import CacheConfig
from tests.rtl.cpu.fetch_bench import RAM_PAGES, Bench, Page, World
from tests.rtl.simulation import simulate


async def reach(ctx, bench, eip):
    """Runs straight on until `eip`, which must take no longer than code that is uncached."""
    for _ in range(6000):
        bench.cycle(ctx)
        await ctx.tick()
        if bench.eip >= eip:
            return
    raise AssertionError(f"stuck at {bench.eip:#x}")


FLAT = {page: Page(page) for page in range(RAM_PAGES)}


@pytest.mark.parametrize("seed", range(3))
def test_bytes_in_order_without_paging(seed):
    bench = Bench(World(seed, targets=[0x1000, 0x1FFD, 0x2123, 0x5007, 0x3FF8]))
    bench.run(2000)
    assert bench.taken > 1500 and bench.redirects > 60
    assert bench.pulses["p_miss"] > 20 and bench.pulses["p_hit"] > 100
    assert not bench.walker.walks
    assert all(line for _, line in bench.side.requests)


def test_code_segment_base_wraps():
    bench = Bench(World(7, cs_base=0xFFFFF000, targets=[0x1000, 0x2345, 0x4FFE]))
    bench.run(1000)
    assert bench.taken > 500


@pytest.mark.parametrize("seed", range(3))
def test_replacement_in_a_small_cache(seed):
    world = World(seed, targets=[0x1000 * i + 8 * i for i in range(8)], redirect_chance=0.1)
    bench = Bench(world, cache=CacheConfig(icache_bytes=512))
    bench.run(2000)
    assert bench.taken > 1000 and bench.pulses["p_miss"] > 60


@pytest.mark.parametrize("seed", range(4))
def test_paging_with_faults_in_order(seed):
    pages = {0x80000 + i: Page((7 * i + 3) % RAM_PAGES) for i in range(12)}
    pages[0x80005].user = 0
    del pages[0x80009]
    pages |= {0x400: Page(0, large=1), 0x401: Page(1, large=1)}
    targets = [0x80000FF0, 0x80001001, 0x80004FE5, 0x80007800, 0x80008FF5, 0x8000BFF0, 0x00400FFA, 0x80005013]
    world = World(seed, pages=pages, user=seed & 1, targets=targets, redirect_chance=0.03)
    bench = Bench(world)
    bench.run(2500)
    assert bench.taken > 600 and bench.faults > 3
    assert bench.pulses["p_itlb_miss"] == len(bench.walker.walks) > 10
    assert bench.pulses["p_itlb_hit"] > 50


@pytest.mark.parametrize("guest_paging", [0, 1])
@pytest.mark.parametrize("seed", range(2))
def test_nested_faults(seed, guest_paging):
    """Of the page, of a table, and the guest's own, with the guest-physical address of the byte or of the entry."""
    pages = {0x80000 + i: Page((7 * i + 3) % RAM_PAGES) for i in range(6)}
    del pages[0x80002]
    refused = {0x80001: (0x5000, 0), 0x80004: (0x6014, 1)}
    targets = [0x80000FF0, 0x80001001, 0x80004FE5, 0x800010F3, 0x80001FF5, 0x80003FF2, 0x80002123]
    bench = Bench(World(seed, pages=pages, refused=refused, guest_paging=guest_paging, targets=targets,
                        redirect_chance=0.03))
    bench.run(2000)
    assert bench.faults > 20 and bench.pulses["p_itlb_hit"] > 5


def test_a_page_is_walked_once():
    """4 KiB pages one by one; a 4 MiB page serves its neighbours too."""
    small = Bench(World(1, pages=FLAT, targets=[0x1000, 0x2000, 0x3000], redirect_walks=False))
    small.run(1500)
    assert len(small.walker.walks) == len(set(small.walker.walks)) >= 3
    large = Bench(World(1, pages={i: Page(i, large=1) for i in range(RAM_PAGES)}, targets=[0x1000, 0x2000, 0x3000],
                        redirect_walks=False))
    large.run(1000)
    assert len(large.walker.walks) == 1 and large.taken > 300


@pytest.mark.parametrize("seed", range(2))
def test_uncached_code_is_read_by_single_words_and_not_kept(seed):
    pages = {i: Page(i, uncached=i & 1) for i in range(8)} | {8: Page(RAM_PAGES + 4)}
    targets = [0x1004, 0x2F01, 0x3010, 0x8003, 0x2F41]
    world = World(seed, pages=pages, targets=targets, redirect_chance=0.02, take_chance=1)
    bench = Bench(world, cache=CacheConfig(icache_bytes=256))
    bench.run(2000)
    assert bench.taken > 300
    single = [address for address, line in bench.side.requests if not line]
    assert len(single) > len(set(single)) > 20
    assert all((address >> 12 & 1 and address < 0x8000) or address >> 12 == RAM_PAGES + 4 for address in single)


def test_cache_disable_serves_hits_but_keeps_nothing_new():
    bench = Bench(World(3, targets=[0x1000], redirect_chance=0, longest=4))
    world, dut = bench.world, bench.dut

    async def body(ctx):
        bench.start(ctx)
        for _ in range(150):
            bench.cycle(ctx)
            await ctx.tick()
        lines = {address >> 5 for address, _ in bench.side.requests}
        ctx.set(dut.control.cache_disable, 1)
        bench.side.requests.clear()
        for _ in range(2):
            bench.eip, bench.pending = 0x1000, True
            await reach(ctx, bench, 0x1200)
        single = [address for address, line in bench.side.requests if not line]
        assert len(single) == len(bench.side.requests) >= 2 * (0x200 - 32 * len(lines)) // 4 - 8
        # One line may have been on its way when caching was disabled.
        assert not {address >> 5 for address in single} & set(sorted(lines)[:-2])

    world.drained_chance = 1
    simulate(dut, body)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [512, 8192])
def test_stores_into_the_code_are_seen_by_the_next_instruction(seed, size):
    pages = {i: Page((5 * i + 2) % RAM_PAGES, uncached=i == 5) for i in range(10)} if seed % 2 else None
    targets = [0x1000, 0x1FF3, 0x2010, 0x3010, 0x4010, 0x5020, 0x6010]
    world = World(seed, pages=pages, targets=targets, store_chance=0.15, redirect_chance=0.04, longest=6)
    bench = Bench(world, cache=CacheConfig(icache_bytes=size))
    bench.run(1500)
    assert bench.taken > 250 and bench.storer.stores > 60
    assert bench.storer.hits > 20
    if seed % 2 == 0 and size == 8192:
        assert bench.storer.hits < bench.storer.stores


def test_invalidate_empties_the_cache():
    bench = Bench(World(5, targets=[0x1E00], redirect_chance=0, take_chance=1, longest=4))
    dut = bench.dut

    async def body(ctx):
        bench.start(ctx)
        for _ in range(300):
            bench.cycle(ctx)
            await ctx.tick()
        assert bench.eip > 0x1F00
        # A write the cache is not told of: only emptying it brings the new bytes.
        bench.world.ram[0x1E00:0x1F00] = bytes(b ^ 0xFF for b in bench.world.ram[0x1E00:0x1F00])
        ctx.set(dut.invalidate, 1)
        bench.cycle(ctx)
        await ctx.tick()
        ctx.set(dut.invalidate, 0)
        bench.eip, bench.pending = 0x1E00, True
        sweep = 0
        while ctx.get(dut.invalidating):
            bench.cycle(ctx)
            # Notices of stores elsewhere must not let an old line through.
            ctx.set(dut.snoop.valid, sweep % 3 == 0)
            ctx.set(dut.snoop.line, 0x7000 >> 5)
            await ctx.tick()
            sweep += 1
        assert 128 <= sweep < 256
        assert bench.eip == 0x1E00
        for _ in range(400):
            bench.cycle(ctx)
            await ctx.tick()
        assert bench.eip > 0x1F00

    simulate(dut, body)


class Warm:
    """A cache that holds the first 512 bytes of code, and nothing else happening: for counting cycles."""

    def __init__(self, measure):
        self.bench = Bench(World(0, latency=(0, 0), redirect_chance=0, take_chance=1, longest=4))
        async def body(ctx):
            self.bench.start(ctx)
            await reach(ctx, self.bench, 0x200)
            ctx.set(self.bench.dut.d_take, 0)
            await measure(ctx, self.bench.dut)

        simulate(self.bench.dut, body)


@pytest.mark.parametrize("offset", [0, 1, 4, 5, 7])
def test_redirection_shows_the_target_two_cycles_later(offset):
    async def measure(ctx, dut):
        ctx.set(dut.d_redirect, 1)
        ctx.set(dut.d_redirect_eip, 0x40 + offset)
        await ctx.tick()
        ctx.set(dut.d_redirect, 0)
        counts = []
        for _ in range(4):
            counts.append(ctx.get(dut.q_count))
            await ctx.tick()
        assert counts == [0, 8 - offset, min(12, 16 - offset), 12]

    Warm(measure)


@pytest.mark.parametrize("take", range(1, 9))
def test_sequential_code_streams_at_up_to_eight_bytes_per_cycle(take):
    async def measure(ctx, dut):
        ctx.set(dut.x_redirect, 1)
        ctx.set(dut.x_redirect_eip, 0)
        await ctx.tick()
        ctx.set(dut.x_redirect, 0)
        await ctx.tick().repeat(4)
        ctx.set(dut.d_take, take)
        for _ in range(24):
            assert ctx.get(dut.q_count) >= take
            await ctx.tick()

    Warm(measure)


def test_walked_lasts_until_the_bytes_are_taken():
    bench = Bench(World(2, pages=FLAT, targets=[0x1000], redirect_chance=0, take_chance=0, drained_chance=1))
    dut = bench.dut

    async def body(ctx):
        bench.start(ctx)
        for _ in range(2):
            assert not ctx.get(dut.q_walked)
            bench.cycle(ctx)
            await ctx.tick()
        for _ in range(60):
            assert ctx.get(dut.q_walked)
            bench.cycle(ctx)
            await ctx.tick()
        bench.world.take_chance = 1
        bench.cycle(ctx)
        await ctx.tick()
        assert not ctx.get(dut.q_walked)

    simulate(dut, body)


def quiet(**world):
    """A bench in which nothing happens by chance, and a way to run the code at an address for some cycles."""
    bench = Bench(World(0, redirect_chance=0, take_chance=1, drained_chance=1, longest=4, **world),
                  cache=CacheConfig(icache_bytes=256))

    async def visit(ctx, eip, cycles):
        bench.eip, bench.pending = eip, True
        for _ in range(cycles):
            bench.cycle(ctx)
            await ctx.tick()

    async def notice(ctx, address):
        ctx.set(bench.dut.snoop.valid, 1)
        ctx.set(bench.dut.snoop.line, address >> 5)
        bench.cycle(ctx)
        # The bench would take the notice back.
        ctx.set(bench.dut.snoop.valid, 1)
        await ctx.tick()
        ctx.set(bench.dut.snoop.valid, 0)
        return ctx.get(bench.dut.snoop.hit)

    return bench, visit, notice


def test_lines_lately_replaced_are_remembered():
    """Instructions of a line replaced meanwhile may still be in the pipeline."""
    bench, visit, notice = quiet(latency=(0, 0))

    async def body(ctx):
        bench.start(ctx)
        lines = [0x1000 + 0x400 * i for i in range(12)]
        for line in lines:
            bench.world.longest = 1
            await visit(ctx, line, 20)
            bench.need = 99  # the decoder stops: the next line is prefetched, and no more
            await visit(ctx, line, 40)
            bench.need = 1
        # Two lines of each block in two sets of two ways: the last two blocks are there, two are remembered.
        answers = []
        for line in lines:
            answers.append(await notice(ctx, line))
        assert answers == [0] * 8 + [1] * 4
        assert not await notice(ctx, 0x7000)

    simulate(bench.dut, body)


@pytest.mark.parametrize("delay", range(12))
def test_a_store_at_any_moment_of_a_fill(delay):
    """The fill is either known to the notice, or requested after it and held back by the data side."""
    bench, visit, notice = quiet(latency=(1, 1))

    async def body(ctx):
        bench.start(ctx)
        await visit(ctx, 0x1000, 60)
        bench.need = 99
        await visit(ctx, 0x2000, delay)
        requested = 0x2000 in [address for address, _ in bench.side.requests] or ctx.get(bench.dut.refill.valid)
        bench.side.blocked = True
        hit = await notice(ctx, 0x2004)
        assert hit >= requested
        bench.world.ram[0x2000:0x2020] = bytes(32)
        bench.side.blocked = False
        bench.need = 2
        if hit:
            await visit(ctx, 0x2000, 60)
        else:
            for _ in range(60):
                bench.cycle(ctx)
                await ctx.tick()
        assert bench.eip > 0x2020

    simulate(bench.dut, body)


def test_uncached_code_in_the_queue_is_remembered():
    bench, visit, notice = quiet(pages={1: Page(1, uncached=1)})

    async def body(ctx):
        bench.start(ctx)
        bench.need = 99
        await visit(ctx, 0x1040, 80)
        assert await notice(ctx, 0x1040)
        assert not await notice(ctx, 0x1080)

    simulate(bench.dut, body)


def test_leaving_the_supervisor_its_pages_are_walked_again_and_fault():
    bench, visit, _ = quiet(pages={1: Page(1, user=0), 2: Page(2)})

    async def body(ctx):
        bench.start(ctx)
        bench.world.targets = [0x2000]
        await visit(ctx, 0x1000, 100)
        assert bench.walker.walks == [0x1000] and not bench.faults
        bench.world.user = 1
        ctx.set(bench.dut.user, 1)
        await visit(ctx, 0x1000, 100)
        assert bench.walker.walks == [0x1000, 0x1000, 0x2000] and bench.faults == 1

    simulate(bench.dut, body)


def test_a_chunk_that_arrived_while_the_queue_was_full_is_read_again():
    bench, visit, _ = quiet(latency=(0, 0))

    async def body(ctx):
        bench.start(ctx)
        bench.need = 99
        await visit(ctx, 0x1000, 60)
        bench.need = 1
        for _ in range(120):
            bench.cycle(ctx)
            await ctx.tick()
        assert bench.eip > 0x1040 and bench.redirects == 1

    simulate(bench.dut, body)


def test_reading_an_uncached_chunk_leaves_the_lines_of_its_set_alone():
    bench, visit, _ = quiet(pages={1: Page(1, uncached=1), 2: Page(2)}, latency=(0, 0))

    async def body(ctx):
        bench.start(ctx)
        bench.need = 99
        for address in (0x2000, 0x2080, 0x1000):  # fill both ways of the set, then read past the older one
            await visit(ctx, address, 150)
        bench.need = 2
        await visit(ctx, 0x2008, 100)
        assert bench.eip > 0x2020

    simulate(bench.dut, body)
