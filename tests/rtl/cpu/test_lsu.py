"""The load/store unit: cycles of each kind of access, and random traffic against a naive model."""

import pytest
from amaranth.back import rtlil

from rtl.cache.config import CacheConfig
from rtl.cpu.lsu import Lsu
from rtl.cpu.lsuevents import LsuEvents
from rtl.isa.paging import PTE_A, PTE_D, PTE_P, PTE_PCD, PTE_PS, PTE_RW, PTE_US
from rtl.mmu.config import MmuConfig
from tests.rtl.cpu.lsu_bench import LOAD, RMW, STORE, LsuBench
from tests.rtl.cpu.lsu_random import RandomTraffic

PAGING, WP, PSE = 1, 2, 4
DIRECTORY = 0x10000
TABLE = 0x11000


class Program:
    """Accesses one after the other, each with the number of cycles it spent in M."""

    def __init__(self, **options):
        self.bench = LsuBench(**options)
        self.events = dict.fromkeys(LsuEvents.as_shape().members, 0)
        self.fault = self.nested_fault = None

    def tick(self):
        pulses = self.bench.peek("events")
        for index, name in enumerate(self.events):
            self.events[name] += pulses >> index & 1
        self.bench.tick()

    def settle(self):
        for _ in range(2000):
            if self.bench.peek("idle"):
                return
            self.tick()
        raise AssertionError("never idle")

    def access(self, kind, linear, *, size=2, data=0, user=0, phys=0, settle=True):
        """(cycles in M, value); leaves `fault` and `nested_fault` behind. A store is committed as soon as it may."""
        b = self.bench
        self.fault = self.nested_fault = None
        for name, value in (("a_go", 1), ("a_linear", linear), ("a_size", size), ("a_kind", kind), ("a_user", user),
                            ("a_phys", phys), ("m_drained", 1)):
            b.poke(name, value)
        self.tick()
        b.poke("a_go", 0)
        cycles = 1
        while not b.peek("m_done"):
            self.tick()
            cycles += 1
            assert cycles < 500, "M is never done"
        value = b.peek("m_data")
        if b.peek("m_fault"):
            self.fault = b.peek("m_fault_code"), b.peek("m_fault_linear")
            self.nested_fault = tuple(b.peek(f"m_fault_{name}")
                                      for name in ("nested", "code", "table", "gpa", "linear"))
            b.poke("m_kill", 1)
        else:
            b.poke("m_go", 1)
        self.tick()
        b.poke("m_go", 0)
        b.poke("m_kill", 0)
        if kind == STORE and not self.fault:
            while not b.peek("x_ready"):
                self.tick()
            b.poke("x_data", data)
            b.poke("x_commit", 1)
            self.tick()
            b.poke("x_commit", 0)
        if settle:
            self.settle()
        return cycles, value

    def write_back(self):
        self.bench.poke("wbinvd", 1)
        self.tick()
        self.bench.poke("wbinvd", 0)
        self.settle()

    def pulse(self, name):
        self.bench.poke(name, 1)
        self.tick()
        self.bench.poke(name, 0)

    def map(self, directory=None, table=None, control=PAGING | WP | PSE):
        for base, entries in ((DIRECTORY, directory or {}), (TABLE, table or {})):
            for index, value in entries.items():
                self.bench.ram[base // 4 + index] = value
        self.bench.poke("control", control | (DIRECTORY >> 12) << 5)


@pytest.fixture
def program():
    return Program()


def test_hits_take_one_cycle_and_a_crossing_one_more(program):
    program.access(LOAD, 0x2000)
    program.access(LOAD, 0x2020)
    assert program.access(LOAD, 0x2004)[0] == 1
    assert program.access(LOAD, 0x2001, size=1)[0] == 1
    assert program.access(LOAD, 0x2003, size=1)[0] == 2
    assert program.access(LOAD, 0x201E)[0] == 2
    assert program.access(STORE, 0x2004)[0] == 1
    assert program.access(STORE, 0x201D)[0] == 2


def test_miss_costs_the_memory_latency_and_two_cycles(program):
    assert program.access(LOAD, 0x2008)[0] == 1 + 8 + 2
    assert program.access(STORE, 0x3000)[0] == 1 + 8 + 7 + 3, "a store waits for its whole line"


def test_nothing_but_its_own_word_waits_for_a_fill(program):
    program.access(LOAD, 0x2000)
    assert program.access(LOAD, 0x3048, settle=False)[0] == 11
    assert program.access(LOAD, 0x304C, settle=False)[0] == 1, "arrived behind the word asked for"
    assert program.access(LOAD, 0x3044, settle=False)[0] == 5, "the last word, with the line"
    program.settle()
    program.access(LOAD, 0x4080, settle=False)
    assert program.access(LOAD, 0x2000, settle=False)[0] == 1
    before = program.bench.cycle
    program.access(STORE, 0x2000, data=1, settle=False)
    assert program.bench.cycle - before == 3


def test_back_to_back_hits_flow_one_per_cycle(program):
    b = program.bench
    program.access(LOAD, 0x2000)
    for name, value in (("a_go", 1), ("a_size", 2), ("a_kind", LOAD), ("a_linear", 0x2000)):
        b.poke(name, value)
    program.tick()
    b.poke("m_go", 1)
    for cycle in range(16):
        assert b.peek("m_done"), cycle
        b.poke("a_linear", 0x2000 + 4 * (cycle & 7))
        program.tick()


def test_load_behind_a_store_to_its_word_waits_for_it(program):
    b = program.bench
    program.access(LOAD, 0x2000)
    for name, value in (("a_go", 1), ("a_size", 2), ("a_kind", STORE), ("a_linear", 0x2000)):
        b.poke(name, value)
    program.tick()
    b.poke("a_kind", LOAD)
    b.poke("m_go", 1)
    program.tick()
    b.poke("a_go", 0)
    b.poke("m_go", 0)
    for _ in range(3):
        assert not b.peek("m_done")
        program.tick()
    b.poke("x_data", 0x5A5A1234)
    b.poke("x_commit", 1)
    program.tick()
    b.poke("x_commit", 0)
    assert b.peek("m_done") and b.peek("m_data") == 0x5A5A1234, "one cycle after the commit"


@pytest.mark.parametrize("walk_cache", [0, 8])
def test_references_per_tlb_miss(walk_cache):
    program = Program(mmu=MmuConfig(walk_cache_entries=walk_cache))
    low = PTE_P | PTE_RW | PTE_A | PTE_D
    program.map({0: TABLE | low, 1: low | PTE_PS}, {1: 0x2000 | low, 2: 0x3000 | low})
    program.access(LOAD, 0x1000)
    assert program.events["walk_d"] == 2
    program.access(LOAD, 0x2000)
    assert program.events["walk_d"] == (3 if walk_cache else 4), "the directory entry comes from the walk cache"
    before = program.events["walk_d"]
    program.access(LOAD, 0x0040_2000)
    assert program.events["walk_d"] == before + 1, "a 4 MiB page has one level"
    program.access(LOAD, 0x0040_3000)
    assert program.events["walk_d"] == before + 1 and program.events["walk_update"] == 0


def test_walk_sets_accessed_and_dirty_only_when_allowed(program):
    program.map({0: TABLE | PTE_P | PTE_RW}, {1: 0x2000 | PTE_P | PTE_RW, 2: 0x3000 | PTE_P | PTE_RW | PTE_US})
    program.access(LOAD, 0x1000, user=1)
    assert program.fault == (0b101, 0x1000)
    program.access(LOAD, 0x1000)
    assert not program.fault
    program.access(STORE, 0x2000)
    assert not program.fault
    program.access(LOAD, 0x3000)
    assert program.fault == (0b000, 0x3000)
    program.write_back()
    ram = program.bench.ram
    assert ram[DIRECTORY // 4] == TABLE | PTE_P | PTE_RW | PTE_A
    assert ram[TABLE // 4 + 1] == 0x2000 | PTE_P | PTE_RW | PTE_A
    assert ram[TABLE // 4 + 2] == 0x3000 | PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D


def test_faulting_walk_writes_nothing(program):
    program.map({0: TABLE | PTE_P}, {1: 0x2000 | PTE_P})
    program.access(STORE, 0x1000)
    assert program.fault == (0b011, 0x1000)
    program.write_back()
    assert program.bench.ram[DIRECTORY // 4] == TABLE | PTE_P
    assert program.bench.ram[TABLE // 4 + 1] == 0x2000 | PTE_P


def test_reserved_bit_of_a_large_page_faults(program):
    program.map({1: PTE_P | PTE_PS | PTE_RW | PTE_US | 1 << 13})
    program.access(RMW, 0x0040_0123, user=1)
    assert program.fault == (0b1111, 0x0040_0123)


def test_self_mapped_directory_gets_accessed_and_dirty_in_one_entry(program):
    program.map({0: DIRECTORY | PTE_P | PTE_RW})
    program.access(STORE, 0x0000_0FF0, data=7)
    assert not program.fault
    program.write_back()
    assert program.bench.ram[DIRECTORY // 4] == DIRECTORY | PTE_P | PTE_RW | PTE_A | PTE_D


def test_permission_added_without_invalidation_is_found_by_a_new_walk(program):
    """A failing TLB entry, and a directory entry of the walk cache that fails, are both looked up in memory again."""
    program.map({0: TABLE | PTE_P}, {1: 0x2000 | PTE_P, 2: 0x3000 | PTE_P | PTE_RW})
    program.access(LOAD, 0x1000)
    program.access(STORE, DIRECTORY, phys=1, data=TABLE | PTE_P | PTE_RW)
    program.access(STORE, TABLE + 4, phys=1, data=0x2000 | PTE_P | PTE_RW)
    program.access(STORE, 0x1000, data=5)
    assert not program.fault
    program.access(STORE, 0x2000, data=6)
    assert not program.fault


def test_page_crossing_access_faults_on_its_second_page_and_reads_nothing(program):
    reads = []
    program.map({0: TABLE | PTE_P | PTE_RW}, {1: 0x0200_0000 | PTE_P | PTE_RW, 2: 0})
    b = program.bench
    b.poke("mmio_ready", 1)
    tick = program.tick

    def watch():
        reads.append(b.peek("mmio_valid"))
        tick()
    program.tick = watch
    program.access(LOAD, 0x1FFE)
    assert program.fault == (0b000, 0x2000)
    assert not any(reads)


def test_uncached_access_begins_only_when_drained(program):
    b = program.bench
    for name, value in (("a_go", 1), ("a_linear", 0x000B_8000), ("a_size", 1), ("a_kind", LOAD), ("m_drained", 0)):
        b.poke(name, value)
    program.tick()
    b.poke("a_go", 0)
    for _ in range(30):
        assert not b.peek("m_done") and b.peek("idle") and not b.peek("m_walked")
        program.tick()
    b.poke("m_drained", 1)
    program.tick()
    assert b.peek("m_walked") and not b.peek("idle")


def test_vga_window_is_ram_but_never_cached(program):
    program.access(STORE, 0x000B_8002, size=1, data=0x0741)
    assert program.bench.ram[0x000B_8000 // 4] == 0x0741_0000, "written through, with no write-back asked for"
    program.bench.ram[0x000B_8000 // 4] = 0x1234_5678
    assert program.access(LOAD, 0x000B_8000)[1] == 0x1234_5678


def test_no_allocation_with_caches_disabled(program):
    program.access(STORE, 0x2000, data=1)
    program.bench.poke("control", 1 << 4)
    program.access(STORE, 0x2000, data=2)
    program.access(STORE, 0x4000, data=3)
    assert program.bench.ram[0x2000 // 4] == 0, "a line already there still hits"
    assert program.bench.ram[0x4000 // 4] == 3


def test_wbinvd_writes_back_and_forgets(program):
    program.access(STORE, 0x2000, data=0x11)
    program.access(STORE, 0x3FFE, data=0x2233_4455)
    assert program.bench.ram[0x2000 // 4] == 0
    program.write_back()
    assert [int(program.bench.ram[a // 4]) for a in (0x2000, 0x3FFC, 0x4000)] == [0x11, 0x4455_0000, 0x2233]
    program.bench.ram[0x2000 // 4] = 0x99
    assert program.access(LOAD, 0x2000)[1] == 0x99


def test_killed_store_writes_nothing(program):
    b = program.bench
    program.access(LOAD, 0x2000)
    for name, value in (("a_go", 1), ("a_size", 2), ("a_kind", STORE), ("a_linear", 0x2000)):
        b.poke(name, value)
    program.tick()
    b.poke("a_go", 0)
    b.poke("m_go", 1)
    program.tick()
    b.poke("m_go", 0)
    assert b.peek("x_store")
    b.poke("x_kill", 1)
    b.poke("x_data", 1)
    program.tick()
    b.poke("x_kill", 0)
    assert not b.peek("x_store")
    assert program.access(LOAD, 0x2000)[1] == 0


CONFIGURATIONS = {
    "default": {},
    "small": {"cache": CacheConfig(dcache_bytes=512), "mmu": MmuConfig(dtlb_entries=4, large_entries=1), "latency": 3},
    "no walk cache": {"cache": CacheConfig(dcache_bytes=1024), "mmu": MmuConfig(walk_cache_entries=0), "latency": 2},
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_random_traffic(name, seed):
    rates = ({}, {"code": 0.03, "dma": 0.05, "kill": 0.02})[seed % 2]
    traffic = RandomTraffic(LsuBench(**CONFIGURATIONS[name]), seed, **rates)
    for _ in range(5):
        for _ in range(300):
            traffic.step()
        traffic.drain()
    assert traffic.checked["load"] > 20 and traffic.checked["store"] > 10, traffic.checked


def test_has_no_combinational_loop():
    """The back end checks for loops bit by bit over shared conditions, which the simulator does not."""
    assert rtlil.convert(Lsu())


def test_refill_of_a_line_waits_between_notice_and_write_of_a_crossing_store(program):
    """The low line was told of before the high one arrived; a refill of the low one, asked for meanwhile, used to be
    served in the cycle between the fill and the entry into X: old bytes, and no further notice."""
    b = program.bench
    program.access(LOAD, 0x2000)
    for name, value in (("a_go", 1), ("a_size", 2), ("a_kind", STORE), ("a_linear", 0x201E), ("m_drained", 1)):
        b.poke(name, value)
    program.tick()
    b.poke("a_go", 0)
    noticed = False
    for _ in range(40):
        noticed = noticed or (b.peek("snoop_valid") and b.peek("snoop_line") == 0x2000 >> 5)
        program.tick()
        if noticed:
            break
    assert noticed
    for name, value in (("code_valid", 1), ("code_line", 1), ("code_addr", 0x201C)):
        b.poke(name, value)
    for _ in range(60):
        assert not b.peek("code_ready"), "the refill would bring bytes from before the store"
        program.tick()
    assert b.peek("m_done")
    b.poke("m_go", 1)
    program.tick()
    b.poke("m_go", 0)
    b.poke("x_data", 0xA1B2C3D4)
    b.poke("x_commit", 1)
    program.tick()
    b.poke("x_commit", 0)
    for _ in range(60):
        if b.peek("code_rvalid"):
            break
        if b.peek("code_ready"):
            program.tick()
            b.poke("code_valid", 0)
            continue
        program.tick()
    assert b.peek("code_rdata") >> 16 == 0xC3D4


@pytest.mark.parametrize(("linear", "size", "masks"), [
    (0x1000_0002, 0, [0b0100]), (0x1000_0001, 1, [0b0110]), (0x1000_0000, 2, [0b1111]),
    (0x1000_0003, 1, [0b1000, 0b0001]), (0x1000_0002, 2, [0b1100, 0b0011]),
])
def test_uncached_read_asks_for_its_own_bytes_once(program, linear, size, masks):
    """A device must be able to tell which register was read. All four bytes used to be asked for."""
    b = program.bench
    b.poke("mmio_ready", 1)
    b.poke("mmio_rdata", 0x4433_2211)
    for name, value in (("a_go", 1), ("a_linear", linear), ("a_size", size), ("a_kind", LOAD), ("m_drained", 1)):
        b.poke(name, value)
    program.tick()
    b.poke("a_go", 0)
    seen = []
    while not b.peek("m_done"):
        if b.peek("mmio_valid"):
            seen.append(b.peek("mmio_mask"))
        program.tick()
    for _ in range(20):
        assert not b.peek("mmio_valid")
        program.tick()
    assert seen == masks


@pytest.mark.parametrize("wait", range(1, 24))
def test_uncached_store_into_a_line_being_filled(program, wait):
    """Two pages of one frame, one of them with PCD: a load through the first goes on with its word while its line still
    arrives; a store through the second went to memory past it, and the cache kept the old bytes."""
    program.map({0: TABLE | PTE_P | PTE_RW},
                {2: 0x2000 | PTE_P | PTE_RW | PTE_A | PTE_D, 3: 0x2000 | PTE_P | PTE_RW | PTE_A | PTE_D | PTE_PCD})
    program.access(LOAD, 0x2800)
    program.access(LOAD, 0x3804)
    b = program.bench
    for name, value in (("a_go", 1), ("a_linear", 0x2000), ("a_size", 2), ("a_kind", LOAD)):
        b.poke(name, value)
    program.tick()
    b.poke("a_go", 0)
    for _ in range(wait):
        program.tick()
    b.poke("m_kill", 1)
    program.tick()
    b.poke("m_kill", 0)
    program.access(STORE, 0x3004, data=0x1234_5678, settle=False)
    assert program.access(LOAD, 0x2004)[1] == 0x1234_5678
    program.settle()
    assert program.access(LOAD, 0x2004)[1] == program.access(LOAD, 0x3004)[1] == 0x1234_5678
