"""The models of caches and TLBs against naive ones, and the filters against calling always."""

from __future__ import annotations

import ctypes
import random
from collections import OrderedDict

import pytest

from rtl.isa.paging import PTE_D, PTE_P, PTE_PS, PTE_RW
from tests.vmm.timing.code import COSTS
from vmm.memory import PhysicalMemory
from vmm.timing.model import TimingModel

RAM = 4 << 20
COST = COSTS.cycles
PG, PSE = 1 << 31, 1 << 4
DIRECTORY, TABLE = 0x1000, 0x2000


def model(paging: bool = False) -> TimingModel:
    """A model; with paging, linear 4 MiB are pages of RAM in reverse order, the next 4 MiB are one large page."""
    memory = PhysicalMemory(RAM)
    timing = TimingModel(COSTS, memory, RAM)
    if paging:
        memory.write32(DIRECTORY, TABLE | PTE_P | PTE_RW)
        for large in range(1, 9):
            memory.write32(DIRECTORY + 4 * large, PTE_P | PTE_RW | PTE_PS | PTE_D)
        for page in range(1024):
            memory.write32(TABLE + 4 * page, (1023 - page) << 12 | PTE_P | PTE_RW | PTE_D)
        timing.control(PG, DIRECTORY, PSE)
    return timing


def physical_of(linear: int, paging: bool) -> int:
    if not paging:
        return linear
    return linear & (RAM - 1) if linear >= 1 << 22 else (1023 - (linear >> 12)) << 12 | linear & 0xFFF


def settled(timing: TimingModel, linear: int, size: int, write: int) -> bool:
    """What native code looks at instead of calling."""
    state, line = timing.state, linear >> 5
    table = state.writes if write else state.reads
    return (linear & 3) + size <= 4 and table[line & state.data_sets - 1] == line + 1


def raw(timing: TimingModel) -> bytes:
    return ctypes.string_at(ctypes.addressof(timing.state), ctypes.sizeof(timing.state))


class Naive:
    """A write-back cache of two ways with the oldest line going first."""

    def __init__(self) -> None:
        self.sets: list[OrderedDict[int, bool]] = [OrderedDict() for _ in range(128)]

    def access(self, line: int, write: bool) -> tuple[bool, bool]:
        """Whether the line was there, and whether an altered one had to go."""
        ways = self.sets[line % 128]
        hit, wrote_back = line in ways, False
        if not hit and len(ways) == 2:
            wrote_back = ways.popitem(last=False)[1]
        ways[line] = ways.pop(line, False) or write
        return hit, wrote_back


def test_data_cache_as_a_naive_one() -> None:
    timing, naive, rng = model(), Naive(), random.Random(5)
    misses = backs = 0
    for _ in range(4000):
        address, write = rng.randrange(24 << 10) & ~3, rng.randrange(2)
        hit, back = naive.access(address >> 5, bool(write))
        misses, backs = misses + (not hit), backs + back
        timing.add(100)
        before = timing.cycles
        timing.data(address, address, 4, write, 0)
        assert timing.cycles - before == (0 if hit else COST["store_miss"] if write else COST["load_miss"])
        assert (timing.state.data_misses, timing.state.write_backs) == (misses, backs)


@pytest.mark.parametrize("paging", [False, True])
def test_filters_change_nothing(paging: bool) -> None:
    asked, always = model(paging), model(paging)
    rng = random.Random(9)
    free = calls = 0
    bases = [rng.randrange((8 if paging else 4) << 20) & ~0x3F for _ in range(40)]
    for number in range(6000):
        size = rng.choice((1, 2, 4, 4, 4))
        linear = rng.choice(bases) + rng.randrange(0x40 - size)
        if rng.random() < 0.85:
            linear &= -size
        write, physical = rng.randrange(2), physical_of(linear, paging)
        delay = rng.randrange(4)
        for timing in (asked, always):
            timing.add(delay)
        if settled(asked, linear, size, write):
            free += 1
        else:
            calls += 1
            asked.data(linear, physical, size, write, 0)
        always.data(linear, physical, size, write, 0)
        if rng.random() < 0.1:
            for timing in (asked, always):
                timing.fetch(linear, physical, 0, 0)
        if paging and rng.random() < 0.01:
            for timing in (asked, always):
                timing.invalidate(linear)
        assert raw(asked) == raw(always), number
    assert free > 500 and calls > 1000


def test_offset_stands_for_cycles_not_yet_added() -> None:
    """A block adds its cycles at its end, an interpreter behind each instruction."""
    late, early, rng = model(True), model(True), random.Random(11)
    for _ in range(300):
        offset = 0
        for _ in range(rng.randrange(1, 6)):
            linear, write = rng.randrange(8 << 20) & ~3, rng.randrange(2)
            late.data(linear, physical_of(linear, True), 4, write, offset)
            early.data(linear, physical_of(linear, True), 4, write, 0)
            cost = rng.randrange(1, 4)
            offset += cost
            early.add(cost)
        late.add(offset)
        assert raw(late) == raw(early)


def test_misses_wait_for_the_engine_and_words_for_their_line() -> None:
    timing = model()
    timing.data(0x4000, 0x4000, 4, 0, 0)
    assert timing.cycles == COST["load_miss"]
    timing.data(0x4010, 0x4010, 4, 0, 0)                # four words later
    assert timing.cycles == COST["load_miss"] + 4
    timing.data(0x4004, 0x4004, 4, 1, 0)                # a store wants the whole line
    assert timing.cycles == COST["store_miss"]
    timing.data(0x5000, 0x5000, 4, 0, 0)
    assert timing.cycles == max(COST["fill"], COST["store_miss"]) + COST["load_miss"]


def test_accesses_across_words_lines_and_pages() -> None:
    timing = model(True)
    for linear, high in ((0x4002, None), (0x401E, None), (0x4FFE, 0x5000)):
        for _ in range(2):
            timing.add(1000)
            before = timing.cycles
            low = physical_of(linear, True)
            if high is None:
                timing.data(linear, low, 4, 0, 0)
            else:
                timing.data_across(linear, low, 2, physical_of(high, True), 4, 0, 0)
            cost = timing.cycles - before
        assert cost == COST["across"]


def test_a_descriptor_is_two_words() -> None:
    timing = model()
    for _ in range(2):
        timing.add(1000)
        before = timing.cycles
        timing.data(0x401C, 0x401C, 8, 0, 0)
    assert timing.cycles == before and timing.state.data_misses == 2


def test_large_pages_share_an_entry_and_five_do_not_fit() -> None:
    timing = model(True)
    for large in (1, 1, 2, 3, 4, 1, 5, 1):
        timing.data(large << 22 | 0x100, 0x100, 4, 0, 0)
    assert timing.state.data_walks == 6


def test_a_write_through_a_clean_page_walks_again() -> None:
    timing = model(True)
    timing.memory.write32(TABLE, 1023 << 12 | PTE_P | PTE_RW)
    for write, walks in ((0, 1), (0, 1), (1, 2), (1, 2), (0, 2)):
        timing.data(0x10, physical_of(0x10, True), 4, write, 0)
        assert timing.state.data_walks == walks


def test_global_pages_survive_a_load_of_cr3() -> None:
    timing = model(True)
    entry = timing.memory.read32(TABLE + 4)
    timing.memory.write32(TABLE + 4, entry | 1 << 8)
    timing.control(PG, DIRECTORY, PSE | 1 << 7)
    for _ in range(2):
        timing.data(0x1010, physical_of(0x1010, True), 4, 0, 0)
        timing.data(0x2010, physical_of(0x2010, True), 4, 0, 0)
        timing.load_directory(DIRECTORY)
    assert timing.state.data_walks == 3


def test_code_lines_come_from_memory_or_from_the_data_cache() -> None:
    timing = model()
    costs = []
    for touch, follows in ((False, 0), (False, 1), (True, 0), (True, 1)):
        line = 0x8000 + 0x20 * len(costs)
        if touch:
            timing.data(line, line, 4, 0, 0)
        timing.add(1000)
        before = timing.cycles
        timing.fetch(line, line, follows, 0)
        costs.append(timing.cycles - before)
        timing.fetch(line, line, follows, 0)
        assert timing.cycles - before == costs[-1]
    assert costs == [COST[name] for name in ("code_fill", "code_next", "code_fill_cached", "code_next_cached")]


def test_a_store_into_code_has_it_fetched_again() -> None:
    timing = model()
    timing.data(0x8000, 0x8000, 4, 1, 0)
    timing.add(1000)
    assert settled(timing, 0x8000, 4, 0) is False or timing.state.writes[0] == 0
    timing.data(0x8000, 0x8000, 4, 1, 0)
    assert settled(timing, 0x8000, 4, 1)
    timing.fetch(0x8000, 0x8000, 0, 0)
    assert not settled(timing, 0x8000, 4, 1)
    before = timing.cycles
    timing.data(0x8000, 0x8000, 4, 1, 0)
    assert (timing.cycles - before, timing.state.code_writes) == (COST["mispredicted"], 1)
    timing.fetch(0x8000, 0x8000, 0, 0)
    assert timing.state.code_misses == 2


def test_what_is_not_cached_goes_to_memory_each_time() -> None:
    timing = model()
    for _ in range(3):
        timing.add(1000)
        before = timing.cycles
        timing.data(0xB8000, 0xB8000, 2, 0, 0)
        assert timing.cycles - before == COST["uncached_load"]
        timing.data(0xB8000, 0xB8000, 2, 1, 0)
        timing.data(0xB8002, 0xB8002, 2, 1, 0)
        assert timing.cycles - before == COST["uncached_load"] + COST["uncached_store"]
    assert timing.state.data_misses == 0


def test_wbinvd_empties_both_caches() -> None:
    timing = model()
    for _ in range(2):
        timing.data(0x4000, 0x4000, 4, 1, 0)
        timing.fetch(0x6000, 0x6000, 0, 0)
        timing.write_back_all()
    assert (timing.state.data_misses, timing.state.code_misses) == (2, 2)


def test_a_record_that_is_adopted_goes_on_where_the_old_one_was() -> None:
    timing = model()
    timing.data(0x4000, 0x4000, 4, 1, 0)
    old = timing.state
    new = type(old)()
    timing.adopt(new)
    timing.add(5)
    assert (new.cycles, new.data_misses, old.cycles) == (COST["store_miss"] + 5, 1, COST["store_miss"])
