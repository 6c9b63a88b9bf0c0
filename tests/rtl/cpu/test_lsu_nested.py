"""The load/store unit under nested paging: addresses of its faults, physical accesses, and random traffic."""

import numpy as np
import pytest

from rtl.cache.config import CacheConfig
from rtl.isa.paging import PTE_A, PTE_D, PTE_P, PTE_PS, PTE_RW, PTE_US
from rtl.mmu.config import MmuConfig
from rtl.mmu.control import PagingControl
from tests.rtl.cpu.lsu_bench import LOAD, STORE, LsuBench
from tests.rtl.cpu.lsu_nested import NestedTraffic
from tests.rtl.cpu.test_lsu import DIRECTORY, TABLE, Program

SET = PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D
N_DIRECTORY, N_TABLE = 0x14000, 0x15000
P, W, U = 1, 2, 4


@pytest.fixture
def program():
    return nested(Program())


def nested(program, **control):
    """The guest's pages 1 to 3 are guest-physical pages 2h to 4h, and these in frames 22h, 23h, 4h."""
    ram = program.bench.ram
    ram[N_DIRECTORY // 4] = N_TABLE | SET
    for region in range(1, 1024):
        ram[N_DIRECTORY // 4 + region] = region << 22 | PTE_PS | SET
    for page in range(1024):
        ram[N_TABLE // 4 + page] = (page + 0x20 if page in (2, 3) else page) << 12 | SET
    program.map({0: TABLE | SET}, {1: 0x2000 | SET, 2: 0x3000 | SET, 3: 0x4000 | SET})
    fields = {"paging": 1, "pse": 1, "cr3_base": DIRECTORY >> 12, "nested": 1, "n_pse": 1,
              "n_cr3_base": N_DIRECTORY >> 12, "asid": 1}
    program.bench.poke("control", PagingControl.const(fields | control).as_value().value)
    return program


def refuse(program, page, bits=PTE_P):
    program.bench.ram[N_TABLE // 4 + page] &= ~np.uint32(bits)


def access(program, kind, linear, **options):
    """(#NPF and not #PF, code, table, gpa, linear) of a fault, or the value."""
    _, value = program.access(kind, linear, **options)
    return program.nested_fault or value


def test_an_access_reaches_the_frame_of_its_frame(program):
    program.bench.ram[0x2_2010 >> 2] = 0x1234_5678
    assert access(program, LOAD, 0x1010) == 0x1234_5678
    access(program, STORE, 0x2FFC, data=7)
    program.write_back()
    assert program.bench.ram[0x2_3FFC >> 2] == 7


def test_address_of_a_refused_access_is_its_byte(program):
    refuse(program, 2)
    assert access(program, LOAD, 0x1123, size=0) == (1, U, 0, 0x2123, 0x1123)
    assert access(program, STORE, 0x1FFE) == (1, W | U, 0, 0x2FFE, 0x1FFE)


def test_address_of_a_refused_second_page_is_its_first_byte(program):
    refuse(program, 3, PTE_RW)
    assert access(program, STORE, 0x1FFE) == (1, P | W | U, 0, 0x3000, 0x2000)
    assert access(program, LOAD, 0x1FFE) == 0


@pytest.mark.parametrize("table, entry", [(TABLE, TABLE + 4), (DIRECTORY, DIRECTORY)])
def test_address_of_a_refused_table_is_its_entry(program, table, entry):
    refuse(program, table >> 12)
    assert access(program, LOAD, 0x1FFE) == (1, W | U, 1, entry, 0x1FFE)


def test_guests_page_fault_is_none_of_the_nested_tables(program):
    assert access(program, LOAD, 0x4004)[:2] == (0, 0)


def test_supervisor_write_that_ignores_the_guests_write_protection_obeys_the_nested_one(program):
    """CR0.WP is 0. The entry is in the TLB from the load, and both D bits are set."""
    program.bench.ram[TABLE // 4 + 1] &= ~np.uint32(PTE_RW)
    access(program, LOAD, 0x1000)
    access(program, STORE, 0x1000, data=1)
    assert program.nested_fault is None
    refuse(program, 3, PTE_RW)
    assert access(program, LOAD, 0x2000) == 0
    assert access(program, STORE, 0x2000) == (1, P | W | U, 0, 0x3000, 0x2000)


def test_physical_access_is_translated_in_no_dimension(program):
    refuse(program, 2)
    access(program, STORE, 0x2000, phys=1, data=0x55)
    cycles, value = program.access(LOAD, 0x2000, phys=1)
    assert (cycles, value) == (1, 0x55), "cached like any other"
    assert program.events["tlb_hit"] == program.events["tlb_miss"] == 0


def test_physical_access_beyond_ram_is_an_access_to_devices(program):
    b = program.bench
    b.poke("mmio_ready", 1)
    b.poke("mmio_rdata", 0xFFFF_FFFF)
    assert access(program, LOAD, 0xF000_0000, phys=1) == 0xFFFF_FFFF
    access(program, STORE, 0xF000_0000, phys=1, data=1)
    assert access(program, LOAD, 0xF000_0000, phys=1) == 0xFFFF_FFFF


@pytest.mark.parametrize("paging", [0, 1])
def test_references_by_dimension(paging):
    bare = MmuConfig(walk_cache_entries=0, nested_tlb_entries=0, nested_walk_cache_entries=0)
    program = nested(Program(mmu=bare), paging=paging)
    access(program, LOAD, 0x1000)
    assert (program.events["walk_d"], program.events["walk_nested_d"]) == ((2, 6) if paging else (0, 2))
    assert program.events["tlb_miss"] == 1 and program.events["walk_update"] == 0
    access(program, LOAD, 0x1004)
    assert program.events["tlb_hit"] == 1


def test_address_spaces_keep_their_translations(program):
    """The host's page 1 and the guest's, in turns; then the guest loads CR3, and only its own is walked again."""
    host = {"asid": 0, "nested": 0}
    program.bench.ram[0x2010 >> 2] = 1
    program.bench.ram[0x2_2010 >> 2] = 2
    for _ in range(2):
        for control, value in ((host, 1), ({}, 2)):
            nested(program, **control)
            assert access(program, LOAD, 0x1010) == value
    assert (program.events["tlb_miss"], program.events["tlb_hit"]) == (2, 2)
    program.bench.poke("maintenance_asid", 1)
    program.pulse("maintenance_inv_nonglobal")
    for control in (host, {}):
        nested(program, **control)
        access(program, LOAD, 0x1010)
    assert (program.events["tlb_miss"], program.events["tlb_hit"]) == (3, 3)


def test_miss_under_large_nested_pages_costs_two_cycles_more():
    """One to find the table in the nested TLB, one to find the page."""
    def cycles(under):
        program = nested(Program(), nested=under)
        program.bench.ram[N_DIRECTORY // 4] = PTE_PS | SET
        access(program, LOAD, 0x1000)
        program.bench.poke("maintenance_asid", 1)
        program.bench.poke("maintenance_inv_linear", 0x1000)
        program.pulse("maintenance_inv_page")
        access(program, LOAD, 0x3000)
        return program.access(LOAD, 0x1000)[0]
    assert cycles(1) == cycles(0) + 2


CONFIGURATIONS = {
    "default": {},
    "small": {"cache": CacheConfig(dcache_bytes=512), "latency": 3,
              "mmu": MmuConfig(dtlb_entries=4, large_entries=1, nested_tlb_entries=4, nested_walk_cache_entries=2)},
    "no caches": {"cache": CacheConfig(dcache_bytes=1024), "latency": 2,
                  "mmu": MmuConfig(walk_cache_entries=0, nested_tlb_entries=0, nested_walk_cache_entries=0)},
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_random_traffic(name, seed):
    rates = ({}, {"code": 0.03, "dma": 0.05, "kill": 0.02})[seed % 2]
    traffic = NestedTraffic(LsuBench(**CONFIGURATIONS[name]), seed, **rates)
    for _ in range(4):
        for _ in range(300):
            traffic.step()
        traffic.drain()
    assert traffic.checked["load"] > 10 and traffic.checked["store"] > 5, traffic.checked
