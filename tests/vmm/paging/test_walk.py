"""The page walk, rule by rule, and the software MMU over it."""

import random

import pytest

from rtl.isa import paging as isa
from rtl.isa.exceptions import Vector
from rtl.isa.registers import Cr0, Cr4
from vmm.faults import Fault
from vmm.memory import PhysicalMemory
from vmm.paging.mmu import SoftMmu
from vmm.paging.walk import GuestFault, Translated, walk
from vmm.state import CpuState

CR3, TABLE, FRAME = 0x1000, 0x2000, 0x5000
LINEAR = 0x0040_3ABC
PDE, PTE = CR3 + 4, TABLE + 4 * 3
RW, US, P, A, D, PS = isa.PTE_RW, isa.PTE_US, isa.PTE_P, isa.PTE_A, isa.PTE_D, isa.PTE_PS


class Tables(dict[int, int]):
    """Table memory that remembers the order of writes."""

    def __init__(self, pde: int, pte: int = 0):
        super().__init__({PDE: pde, PTE: pte})
        self.written: list[tuple[int, int]] = []

    def read32(self, address: int) -> int:
        return self.get(address, 0)

    def write32(self, address: int, value: int) -> None:
        self.written.append((address, value))
        self[address] = value


def go(tables: Tables, *, write: bool = False, user: bool = False, wp: bool = False, pse: bool = False):
    return walk(tables, CR3, LINEAR, write=write, user=user, wp=wp, pse=pse)


def test_small_page_sets_accessed_directory_first() -> None:
    tables = Tables(TABLE | P | RW, FRAME | P | RW)
    assert go(tables) == Translated(FRAME >> 12, False, True, False, False, False)
    assert tables.written == [(PDE, TABLE | P | RW | A), (PTE, FRAME | P | RW | A)]
    tables.written.clear()
    assert go(tables, write=True).dirty
    assert tables.written == [(PTE, FRAME | P | RW | A | D)]
    tables.written.clear()
    go(tables, write=True)
    assert not tables.written


def test_large_page_ignores_ps_without_pse() -> None:
    large = 0x0140_0000 | P | RW | PS
    assert go(Tables(large), pse=True).frame == 0x1403
    assert go(Tables(large & ~0x3F_F000 | TABLE, FRAME | P), pse=False) == GuestFault(0)


def test_large_page_dirty_is_in_the_directory() -> None:
    tables = Tables(0x0140_0000 | P | RW | PS)
    assert go(tables, write=True, pse=True).large
    assert tables.written == [(PDE, 0x0140_0000 | P | RW | PS | A | D)]


@pytest.mark.parametrize("bit", range(12, 22))
def test_reserved_bit_of_a_large_page(bit: int) -> None:
    tables = Tables(0x0140_0000 | P | RW | PS | 1 << bit)
    assert go(tables, write=True, pse=True) == GuestFault(isa.PF_P | isa.PF_RSVD | isa.PF_W)
    assert not tables.written


@pytest.mark.parametrize(("pde", "pte"), [(TABLE, FRAME | P), (TABLE | P, FRAME)])
@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("write", [False, True])
def test_not_present(pde: int, pte: int, user: bool, write: bool) -> None:
    tables = Tables(pde | RW | US, pte | RW | US)
    assert go(tables, user=user, write=write) == GuestFault((isa.PF_U if user else 0) | (isa.PF_W if write else 0))
    assert not tables.written


@pytest.mark.parametrize("pde_rights", [0, RW, US, RW | US])
@pytest.mark.parametrize("pte_rights", [0, RW, US, RW | US])
@pytest.mark.parametrize("wp", [False, True])
@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("write", [False, True])
def test_rights_are_the_and_of_both_levels(pde_rights: int, pte_rights: int, wp: bool, user: bool, write: bool) -> None:
    tables = Tables(TABLE | P | pde_rights, FRAME | P | pte_rights)
    rights = pde_rights & pte_rights
    allowed = (not user or rights & US) and (not write or rights & RW or not (user or wp))
    outcome = go(tables, user=user, write=write, wp=wp)
    assert isinstance(outcome, Translated) == bool(allowed)
    if not allowed:
        assert outcome == GuestFault(isa.PF_P | (isa.PF_U if user else 0) | (isa.PF_W if write else 0))
        assert not tables.written


def test_a_directory_that_maps_itself() -> None:
    """Both levels are one entry: its A and D come out of two writes."""
    memory = PhysicalMemory(0x4000)
    memory.write32(CR3 + 4, CR3 | P | RW)
    outcome = walk(memory, CR3, 0x0040_1000, write=True, user=False, wp=False, pse=False)
    assert isinstance(outcome, Translated) and memory.read32(CR3 + 4) == CR3 | P | RW | A | D


def machine(capacity: int = 64) -> SoftMmu:
    memory = PhysicalMemory(0x10000)
    memory.write32(PDE, TABLE | P | RW | US)
    memory.write32(PTE, FRAME | P | RW | US)
    state = CpuState(cr0=int(Cr0.PE | Cr0.PG), cr3=CR3)
    return SoftMmu(state, memory, capacity)


def test_translation_without_paging() -> None:
    mmu = machine()
    mmu.state.cr0 = int(Cr0.PE)
    assert mmu.translate(0x1234_5678, True, True) == 0x1234_5678 and mmu.walks == 0


def test_fault_carries_code_and_address() -> None:
    mmu = machine()
    with pytest.raises(Fault) as caught:
        mmu.translate(0x0080_0123, True, True)
    assert (caught.value.vector, caught.value.error, caught.value.cr2) == (Vector.PF, isa.PF_W | isa.PF_U, 0x0080_0123)


def test_stale_entry_until_invalidated() -> None:
    mmu = machine()
    assert mmu.translate(LINEAR, False, False) == FRAME + 0xABC
    mmu.memory.write32(PTE, 0x6000 | P)
    assert mmu.translate(LINEAR, False, False) == FRAME + 0xABC
    mmu.invalidate(LINEAR)
    assert mmu.translate(LINEAR, False, False) == 0x6ABC


def test_a_refusing_hit_walks_again() -> None:
    mmu = machine()
    mmu.memory.write32(PTE, FRAME | P)
    mmu.translate(LINEAR, False, False)
    mmu.memory.write32(PTE, FRAME | P | RW | US)
    assert mmu.translate(LINEAR, True, True) == FRAME + 0xABC
    assert mmu.memory.read32(PTE) & D


def test_first_write_sets_dirty_through_a_clean_entry() -> None:
    mmu = machine()
    mmu.translate(LINEAR, False, True)
    assert not mmu.memory.read32(PTE) & D and LINEAR >> 12 not in mmu.writes[1]
    mmu.translate(LINEAR, True, True)
    assert mmu.memory.read32(PTE) & D and mmu.writes[1][LINEAR >> 12] == FRAME - (LINEAR & ~0xFFF)


def test_cr3_write_keeps_global_pages_only_with_pge() -> None:
    for pge in (False, True):
        mmu = machine()
        mmu.state.cr4 = int(Cr4.PGE) if pge else 0
        mmu.memory.write32(PTE, FRAME | P | isa.PTE_G)
        mmu.translate(LINEAR, False, False)
        mmu.flush_non_global()
        mmu.memory.write32(PTE, 0)
        if pge:
            assert mmu.translate(LINEAR, False, False) == FRAME + 0xABC
        else:
            with pytest.raises(Fault):
                mmu.translate(LINEAR, False, False)


def test_invlpg_drops_all_of_a_large_page() -> None:
    mmu = machine()
    mmu.state.cr4 = int(Cr4.PSE)
    mmu.memory.write32(PDE, P | RW | PS)
    for page in range(3):
        mmu.translate(0x40_0000 + page * 0x1000, False, False)
    mmu.invalidate(0x40_1000)
    assert not mmu.entries and not mmu.reads[0]


def test_watched_pages_are_not_written_fast() -> None:
    mmu = machine()
    mmu.memory.watched.add(FRAME >> 12)
    mmu.translate(LINEAR, True, False)
    assert LINEAR >> 12 in mmu.reads[0] and LINEAR >> 12 not in mmu.writes[0]


def test_capacity() -> None:
    with pytest.raises(ValueError, match="TLB capacity must be at least 1, not 0"):
        machine(0)
    mmu = machine(2)
    for page in range(5):
        mmu.memory.write32(TABLE + 4 * page, FRAME | P)
        mmu.translate(0x40_0000 + page * 0x1000, False, False)
        assert len(mmu.entries) <= 2 and len(mmu.reads[0]) <= 2


def test_random_accesses_match_a_walk_without_tlb() -> None:
    """With an invalidation after every change of a table, the TLB cannot be seen."""
    rng = random.Random(5)
    mmu = machine(8)
    plain = machine(8)
    mmu.state.cr0 |= int(Cr0.WP)
    plain.state.cr0 |= int(Cr0.WP)
    for _ in range(3000):
        page = rng.randrange(16)
        linear = 0x40_0000 + page * 0x1000 + rng.randrange(0x1000)
        if rng.random() < 0.2:
            entry = rng.randrange(4, 16) << 12 | rng.getrandbits(3)
            for one in (mmu, plain):
                one.memory.write32(TABLE + 4 * page, entry)
                one.invalidate(linear)
        write, user = rng.random() < 0.5, rng.random() < 0.5
        plain.flush_all()
        results = []
        for one in (mmu, plain):
            try:
                results.append(one.translate(linear, write, user))
            except Fault as fault:
                results.append((fault.error, fault.cr2))
        assert results[0] == results[1]
        assert mmu.memory.blob(TABLE, 64) == plain.memory.blob(TABLE, 64)
