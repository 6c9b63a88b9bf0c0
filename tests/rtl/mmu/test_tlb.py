"""The TLB against a model that knows every page ever filled and not invalidated."""

import random

import pytest

from rtl.mmu.config import MmuConfig
from rtl.mmu.tlb import Tlb
from rtl.mmu.walkport import Translation
from tests.rtl.simulation import simulate

FIELDS = ("frame", "user", "writable", "dirty", "uncached")


class Model:
    """What the TLB may answer. It may forget at any time, but never answer anything else."""

    def __init__(self):
        self.small, self.large = {}, {}

    def fill(self, page, asid, entry):
        self.small.pop((page, asid), None)
        self.large.pop((page >> 10, asid), None)
        if entry["large"]:
            self.large[page >> 10, asid] = entry
        else:
            self.small[page, asid] = entry

    def keep(self, condition):
        for entries in (self.small, self.large):
            for key in [key for key, entry in entries.items() if not condition(key, entry)]:
                del entries[key]

    def look(self, page, asid):
        """Possible answers: of the 4 KiB entry, of the 4 MiB entry."""
        answers = []
        if (page, asid) in self.small:
            answers.append(self.small[page, asid])
        if (page >> 10, asid) in self.large:
            large = self.large[page >> 10, asid]
            answers.append({**large, "frame": large["frame"] & ~0x3FF | page & 0x3FF})
        return answers


async def look(ctx, tlb, page, asid=0, translate=1):
    ctx.set(tlb.page, page)
    ctx.set(tlb.asid, asid)
    ctx.set(tlb.translate, translate)
    ctx.set(tlb.go, 1)
    await ctx.tick()
    ctx.set(tlb.go, 0)
    if not ctx.get(tlb.hit):
        return None
    return {name: ctx.get(getattr(tlb.translation, name)) for name in FIELDS}


async def fill(ctx, tlb, entry):
    ctx.set(tlb.filled, Translation.const(entry))
    ctx.set(tlb.fill, 1)
    await ctx.tick()
    ctx.set(tlb.fill, 0)


async def pulse(ctx, tlb, name, linear=0, asid=0):
    ctx.set(tlb.maintenance.inv_linear, linear)
    ctx.set(tlb.maintenance.asid, asid)
    ctx.set(getattr(tlb.maintenance, name), 1)
    await ctx.tick()
    ctx.set(getattr(tlb.maintenance, name), 0)


def answer_of(entry):
    return {name: entry[name] for name in FIELDS}


@pytest.mark.parametrize("entries", [4, 64])
def test_against_model(entries):
    tlb = Tlb(entries=entries)
    rng = random.Random(entries)
    model = Model()
    hits = 0

    async def body(ctx):
        nonlocal hits
        pages = [rng.getrandbits(20) for _ in range(6)]
        pages += [page ^ 1 << bit for page in pages for bit in (1, 9, 11)]
        for _ in range(1500):
            page, asid = rng.choice(pages), rng.choice((0, 0, 1, 5))
            got = await look(ctx, tlb, page, asid)
            allowed = model.look(page, asid)
            if got is not None:
                hits += 1
                assert got in [answer_of(entry) for entry in allowed], (page, allowed)
            if got is None or rng.random() < .1:
                entry = {name: rng.getrandbits(1) for name in (*FIELDS, "shared")}
                entry["large"] = int(rng.random() < .2)
                entry["frame"] = rng.getrandbits(10) << 10 | page & 0x3FF if entry["large"] else rng.getrandbits(20)
                await fill(ctx, tlb, entry)
                model.fill(page, asid, entry)
                assert await look(ctx, tlb, page, asid) == answer_of(entry), "found at once after its fill"
            choice = rng.random()
            of = rng.choice((0, 1, 5))
            if choice < .02:
                await pulse(ctx, tlb, "inv_all")
                model.keep(lambda key, entry: False)
            elif choice < .05:
                await pulse(ctx, tlb, "inv_nonglobal", asid=of)
                model.keep(lambda key, entry, of=of: key[1] != of or entry["shared"])
            elif choice < .07:
                await pulse(ctx, tlb, "inv_asid", asid=of)
                model.keep(lambda key, entry, of=of: key[1] != of)
            elif choice < .12:
                gone = rng.choice(pages)
                await pulse(ctx, tlb, "inv_page", gone << 12 | rng.getrandbits(12), of)
                model.keep(lambda key, entry, gone=gone, of=of: key not in ((gone, of), (gone >> 10, of)))

    simulate(tlb, body)
    assert hits > 200


def test_holds_its_capacity():
    tlb = Tlb(entries=64, large_entries=4)

    async def body(ctx):
        for page in range(64):
            assert await look(ctx, tlb, page) is None
            await fill(ctx, tlb, {"frame": page + 100})
        for large in range(4):
            assert await look(ctx, tlb, large + 8 << 10) is None
            await fill(ctx, tlb, {"frame": large << 10, "large": 1})
        for page in range(64):
            assert (await look(ctx, tlb, page))["frame"] == page + 100
        for large in range(4):
            assert (await look(ctx, tlb, (large + 8 << 10) + 5))["frame"] == (large << 10) + 5

    simulate(tlb, body)


@pytest.mark.parametrize("large", [0, 1])
@pytest.mark.parametrize("name, gone", [
    ("inv_all", {(5, 0), (5, 1), (6, 0), (6, 1)}), ("inv_asid", {(5, 0), (6, 0)}), ("inv_nonglobal", {(5, 0)}),
])
def test_forgets_what_it_is_told_to_and_no_more(large, name, gone):
    """Page 6 is global; the pulse is for address space 5, beside which there is 10."""
    tlb = Tlb(entries=8)

    async def body(ctx):
        shift = 10 * large
        for page in (5, 6):
            for asid in (5, 10):
                await look(ctx, tlb, page << shift, asid)
                await fill(ctx, tlb, {"frame": 0, "large": large, "shared": page == 6})
        await pulse(ctx, tlb, name, asid=5)
        assert {(page, int(asid == 10)) for page in (5, 6) for asid in (5, 10)
                if await look(ctx, tlb, page << shift, asid) is None} == gone

    simulate(tlb, body)


def test_identity_without_translation():
    tlb = Tlb(entries=4)

    async def body(ctx):
        answer = await look(ctx, tlb, 0xABCDE, translate=0)
        assert answer == {"frame": 0xABCDE, "user": 1, "writable": 1, "dirty": 1, "uncached": 0}

    simulate(tlb, body)


@pytest.mark.parametrize("options, sentence", [
    ({"dtlb_entries": 48}, "dtlb_entries must be a power of two from 4 to 128, not 48"),
    ({"large_entries": 5}, "large_entries must be from 1 to 4, not 5"),
    ({"nested_tlb_entries": 2}, "nested_tlb_entries must be 0 or a power of two from 4 to 128, not 2"),
    ({"nested_walk_cache_entries": 3}, "nested_walk_cache_entries must be 0 or a power of two from 2 to 32, not 3"),
    ({"walk_cache_entries": 1}, "walk_cache_entries must be 0 or a power of two from 2 to 32, not 1"),
])
def test_bad_configuration(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        MmuConfig(**options)


def test_pieces_of_a_large_page_go_together():
    """A 4 MiB page of a guest may be in every set, piece by piece: INVLPG takes them all, of its address space."""
    tlb = Tlb(entries=64)
    entry = {"frame": 0x123, "user": 1, "writable": 1, "dirty": 1}

    async def body(ctx):
        for page, asid, piece in ((0x405, 1, 1), (0x411, 1, 1), (0x412, 1, 0), (0x413, 2, 1)):
            assert await look(ctx, tlb, page, asid) is None
            await fill(ctx, tlb, entry | {"piece": piece})
        await pulse(ctx, tlb, "inv_page", 0x400 << 12, asid=1)
        found = [await look(ctx, tlb, page, asid) for page, asid in ((0x405, 1), (0x411, 1), (0x412, 1), (0x413, 2))]
        assert [answer is not None for answer in found] == [False, False, True, True]

    simulate(tlb, body)
