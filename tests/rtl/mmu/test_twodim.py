"""Nested paging: what the two-dimensional walker answers, sets and reads, against a reference written apart."""

import numpy as np
import pytest
from amaranth.back import rtlil

from rtl.isa.paging import PTE_A, PTE_D, PTE_P, PTE_PS, PTE_RW, PTE_US
from rtl.mmu.config import MmuConfig
from rtl.mmu.twodim import TwoDimensionalWalker
from rtl.mmu.walkport import Outcome
from tests.rtl.mmu.reference2d import Tables
from tests.rtl.mmu.tables2d import Space, World, expected
from tests.rtl.mmu.twodim_bench import TwoDimBench

BARE = MmuConfig(walk_cache_entries=0, nested_tlb_entries=0, nested_walk_cache_entries=0)
ALL = PTE_P | PTE_RW | PTE_US
SET = ALL | PTE_A | PTE_D
CODE_P, CODE_W, CODE_U = 1, 2, 4


@pytest.fixture(scope="module")
def benches():
    return {"bare": TwoDimBench(BARE), "default": TwoDimBench(MmuConfig()),
            "small": TwoDimBench(MmuConfig(walk_cache_entries=2, nested_tlb_entries=4, nested_walk_cache_entries=2))}


@pytest.fixture
def bench(benches):
    """Without caches, in empty memory."""
    benches["bare"].ram[:] = 0
    benches["bare"].poke("slow", 0)
    return benches["bare"]


def result(answer):
    """The answer in the form of `expected`."""
    if answer.outcome == Outcome.TRANSLATED:
        t = answer.translation
        return t["frame"], t["user"], t["writable"], t["dirty"], t["large"]
    if answer.outcome == Outcome.PAGE_FAULT:
        return "page fault", answer.code, None
    return ("nested, final", "nested, table")[answer.table], answer.code, answer.gpa


# Host: directory 1h, table 2h. Guest: directory 10h, table 11h, page 12h, in host frames 20h, 21h, 22h.
HOST, GUEST = Space(1, None, Tables(0x1000, True)).host, Tables(0x10000, True)
LINEAR = 5                      # entry 0 of the guest's directory, entry 5 of its table


def scene(bench, *, guest_large=False, host_large=False, guest=SET, host=SET):
    """One page mapped in both dimensions; returns where its entries are in host memory, by name."""
    ram = bench.ram
    at = {"npde": 0x1000}
    if host_large:
        ram[0x1000 >> 2] = 0 | host | PTE_PS
        base = 0
    else:
        ram[0x1000 >> 2] = 0x2000 | host
        for gpa, frame in ((0x10, 0x20), (0x11, 0x21), (0x12, 0x22), (5, 0x22)):
            ram[(0x2000 >> 2) + gpa] = frame << 12 | host
        at |= {"npte of pd": 0x2040, "npte of pt": 0x2044, "npte": 0x2014 if guest_large else 0x2048}
        base = 0x10000
    at |= {"pde": 0x10000 + base, "pte": 0x11000 + base + 4 * LINEAR}
    ram[at["pde"] >> 2] = guest | PTE_PS if guest_large else 0x11000 | guest
    ram[at["pte"] >> 2] = 0x12000 | guest
    bench.control(**Space(1, GUEST, HOST).control())
    return at


@pytest.mark.parametrize("side", "di")
@pytest.mark.parametrize("guest_large, host_large, references", [(0, 0, 8), (0, 1, 5), (1, 0, 5), (1, 1, 3)])
def test_references_without_caches(bench, side, guest_large, host_large, references):
    scene(bench, guest_large=guest_large, host_large=host_large)
    answer = bench.walk(LINEAR, side=side)
    assert answer.outcome == Outcome.TRANSLATED
    assert len(answer.traffic) == references and all(kind != "write" for kind, _ in answer.traffic)


def test_order_of_references_and_of_marks(bench):
    at = scene(bench, guest=ALL, host=ALL)
    answer = bench.walk(LINEAR, write=1)
    assert answer.traffic == [
        ("nested", at["npde"]), ("nested", at["npte of pd"]), ("write", at["npde"]), ("write", at["npte of pd"]),
        ("guest", at["pde"]),
        ("nested", at["npde"]), ("nested", at["npte of pt"]), ("write", at["npte of pt"]),
        ("guest", at["pte"]),
        ("write", at["pde"]), ("write", at["pte"]),
        ("nested", at["npde"]), ("nested", at["npte"]), ("write", at["npte"]),
    ]
    words = {name: int(bench.ram[place >> 2]) & (PTE_A | PTE_D) for name, place in at.items()}
    assert words == {"npde": PTE_A, "npte of pd": PTE_A | PTE_D, "npte of pt": PTE_A | PTE_D, "npte": PTE_A | PTE_D,
                     "pde": PTE_A, "pte": PTE_A | PTE_D}


def test_reading_marks_pages_of_tables_dirty_but_not_the_page(bench):
    at = scene(bench, guest=ALL, host=ALL)
    assert bench.walk(LINEAR).translation["dirty"] == 0
    dirty = {name for name, place in at.items() if int(bench.ram[place >> 2]) & PTE_D}
    assert dirty == {"npte of pd", "npte of pt"}


@pytest.mark.parametrize("name, gpa, table, final", [
    ("npte of pd", 0x10000, 1, False), ("npte of pt", 0x11000 + 4 * LINEAR, 1, False), ("npte", 0x12000, 0, True),
])
@pytest.mark.parametrize("missing, code", [(PTE_P, CODE_W | CODE_U), (PTE_RW, CODE_P | CODE_W | CODE_U),
                                           (PTE_US, CODE_P | CODE_W | CODE_U)])
def test_nested_fault(bench, name, gpa, table, final, missing, code):
    """A write. The guest's marks stand if its own tables allowed the access."""
    at = scene(bench, guest=ALL)
    bench.ram[at[name] >> 2] &= ~np.uint32(missing)
    answer = bench.walk(LINEAR, write=1)
    assert (answer.outcome, answer.code, answer.gpa, answer.table) == (Outcome.NESTED_FAULT, code, gpa, table)
    assert bool(int(bench.ram[at["pde"] >> 2]) & PTE_A) == bool(int(bench.ram[at["pte"] >> 2]) & PTE_D) == final


@pytest.mark.parametrize("name", ["npte of pd", "npte of pt"])
def test_read_only_page_cannot_hold_a_table(bench, name):
    at = scene(bench)
    bench.ram[at[name] >> 2] &= ~np.uint32(PTE_RW)
    answer = bench.walk(LINEAR)
    assert (answer.outcome, answer.code, answer.table) == (Outcome.NESTED_FAULT, CODE_P | CODE_W | CODE_U, 1)


def test_read_only_page_is_read(bench):
    at = scene(bench)
    bench.ram[at["npte"] >> 2] &= ~np.uint32(PTE_RW)
    translation = bench.walk(LINEAR).translation
    assert translation["frame"] == 0x22
    assert not translation["writable"] and not translation["dirty"], "D of both entries is set, yet a write must walk"
    answer = bench.walk(LINEAR, write=1)
    assert (answer.outcome, answer.code, answer.table) == (Outcome.NESTED_FAULT, CODE_P | CODE_W | CODE_U, 0)


def test_guests_own_fault_comes_first_and_marks_nothing_of_its_tables(bench):
    at = scene(bench, guest=PTE_P | PTE_RW, host=ALL)
    bench.ram[at["npte"] >> 2] = 0
    answer = bench.walk(LINEAR, user=1)
    assert (answer.outcome, answer.code) == (Outcome.PAGE_FAULT, CODE_P | CODE_U)
    marks = {name: int(bench.ram[place >> 2]) & (PTE_A | PTE_D) for name, place in at.items()}
    assert marks == {"npde": PTE_A, "npte of pd": PTE_A | PTE_D, "npte of pt": PTE_A | PTE_D, "npte": 0,
                     "pde": 0, "pte": 0}


def test_guest_without_paging(bench):
    scene(bench, host=ALL)
    bench.control(**Space(1, None, HOST).control())
    answer = bench.walk(5, user=1)
    assert result(answer) == (0x22, 1, 1, 0, 0)
    assert [kind for kind, _ in answer.traffic] == ["nested", "nested", "write", "write"]
    assert result(bench.walk(6, write=1)) == ("nested, final", CODE_W | CODE_U, 0x6000)


def random_walks(bench, seeds, walks, *, tangled, caches):
    """Walks of three address spaces in turns, in one world per seed, through tables that change now and then; after a
    change everything is forgotten. Without caches every reference is checked too. The number of each kind of answer."""
    kinds = dict.fromkeys(("translated", "page fault", "nested, table", "nested, final"), 0)
    for seed in seeds:
        world = World(seed, bench.ram, sound=(.9, .97, .99)[seed % 3], tangled=tangled)
        bench.poke("slow", seed % 2)
        bench.pulse("inv_all")
        truth = bench.ram.copy()
        spaces = [world.space(asid) for asid in (1, 2, 9)]
        for number in range(walks):
            if number % 20 == 19:
                word = world.change()
                truth[word] = bench.ram[word]
                bench.pulse("inv_all")
            space = world.random.choice(spaces)
            page, write, user = world.access()
            side = world.random.choice("di")
            write &= side == "d"
            bench.control(**space.control())
            answer = bench.walk(page, write=write, user=user, side=side)
            wanted, log = expected(truth, space, page, write, user)
            got = result(answer)
            if caches and answer.outcome == Outcome.TRANSLATED and not answer.translation["dirty"]:
                # The nested TLB need not know of a D that another address space has set: a write walks.
                got, wanted = (*got[:3], 0, got[4]), (*wanted[:3], 0, wanted[4])
            assert got == wanted, (seed, number)
            entries = [place for kind, place in log if kind == "guest"]
            # A walk through one word as directory and as table begins anew when it has set A there.
            if not caches and not tangled and len(set(entries)) == len(entries):
                assert answer.traffic == log, (seed, number)
            kinds[wanted[0] if isinstance(wanted[0], str) else "translated"] += 1
        assert np.array_equal(bench.ram, truth), seed
    return kinds


RANDOM = pytest.mark.parametrize("name, tangled", [
    ("bare", False), ("bare", True), ("default", False), ("small", False), ("small", True)])


@RANDOM
def test_random_tables(benches, name, tangled):
    kinds = random_walks(benches[name], range(12), 60, tangled=tangled, caches=name != "bare")
    assert min(kinds.values()) > 20, kinds


@pytest.mark.slow
@RANDOM
def test_a_million_random_walks(benches, name, tangled):
    kinds = random_walks(benches[name], range(100, 300), 1000, tangled=tangled,
                         caches=name != "bare")
    assert sum(kinds.values()) == 200_000 and min(kinds.values()) > 1000, kinds


def test_caches_save_references(benches):
    bench = benches["default"]
    bench.ram[:] = 0
    bench.poke("slow", 0)
    bench.pulse("inv_all")
    scene(bench)
    assert len(bench.walk(LINEAR).traffic) == 2 + 1 + 1 + 1 + 1, "the nested directory's entry is read once"
    again = bench.walk(LINEAR)
    assert [kind for kind, _ in again.traffic] == ["guest", "nested"], "the page itself is not the nested TLB's"
    assert again.pulses == {"cache_hit": 1, "cache_miss": 0, "nested_cache_hit": 1, "nested_cache_miss": 0,
                            "nested_tlb_hit": 1, "nested_tlb_miss": 1}
    bench.ram[:] = 0
    bench.pulse("inv_all")
    scene(bench, host_large=True)
    bench.walk(LINEAR)
    assert [kind for kind, _ in bench.walk(LINEAR).traffic] == ["guest"]


@pytest.mark.parametrize("pulse, references", [
    ("inv_nonglobal", ["guest", "guest", "nested"]), ("inv_page", ["guest", "guest", "nested"]),
    ("inv_asid", ["nested", "nested", "guest", "nested", "guest", "nested"]),
    ("inv_all", ["nested", "nested", "guest", "nested", "guest", "nested"]),
])
def test_what_a_guest_invalidates_leaves_the_nested_dimension(benches, pulse, references):
    bench = benches["default"]
    bench.ram[:] = 0
    bench.poke("slow", 0)
    bench.pulse("inv_all")
    scene(bench)
    bench.walk(LINEAR)
    bench.pulse(pulse, asid=1, inv_linear=LINEAR << 12)
    assert [kind for kind, _ in bench.walk(LINEAR).traffic] == references


def test_nested_tlb_entry_that_lacks_d_serves_no_table(benches):
    """A 4 MiB page, read as the page of an access, then as that of a table."""
    bench = benches["default"]
    bench.ram[:] = 0
    bench.pulse("inv_all")
    scene(bench, host_large=True, host=ALL | PTE_A)
    bench.control(**Space(1, None, HOST).control())
    bench.walk(LINEAR)
    assert not int(bench.ram[0x1000 >> 2]) & PTE_D
    bench.control(**Space(1, GUEST, HOST).control())
    bench.walk(LINEAR)
    assert int(bench.ram[0x1000 >> 2]) & PTE_D


def test_one_dimension_reads_only_its_tables(bench):
    scene(bench)
    bench.ram[0x10000 >> 2] = 0x11000 | SET
    bench.ram[(0x11000 >> 2) + LINEAR] = 0x33000 | SET
    bench.control(paging=1, wp=1, cr3_base=0x10)
    answer = bench.walk(LINEAR, write=1)
    assert result(answer) == (0x33, 1, 1, 1, 0)
    assert answer.traffic == [("guest", 0x10000), ("guest", 0x11000 + 4 * LINEAR)]


def test_has_no_combinational_loop():
    assert rtlil.convert(TwoDimensionalWalker(MmuConfig()))


