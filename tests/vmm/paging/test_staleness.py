"""Where a guest has left a translation open, and where it has not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rtl.isa import paging as isa
from rtl.isa.registers import Cr0, Cr4
from rtl.isa.svm import TlbControl
from vmm.faults import Fault
from vmm.memory import PhysicalMemory
from vmm.paging.staleness import WaryMmu
from vmm.state import CpuState

ALL = isa.PTE_P | isa.PTE_RW | isa.PTE_US
#: Guest-physical places of the guest's tables; nested paging adds `SHIFT`.
DIRECTORY, TABLE, OTHER = 0x1000, 0x2000, 0x3000
N_DIRECTORY, N_TABLE, SHIFT = 0x8_0000, 0x8_1000, 0x4_0000
PAGE, NEIGHBOUR, LARGE = 0x5000, 0x6000, 0x40_0000


def guest(nested: bool, cr4: int = 0) -> WaryMmu:
    """A guest whose linear addresses are its physical ones; `OTHER` is a directory of the same table."""
    memory = PhysicalMemory(np.zeros(0x10_0000 // 4, dtype=np.uint32))
    state = CpuState()
    state.cr0, state.cr3, state.cr4 = int(Cr0.PE | Cr0.PG), DIRECTORY, cr4
    svm = state.svm
    svm.guest, svm.asid, svm.nested, svm.n_cr3 = True, 3, nested, N_DIRECTORY
    memory.write32(N_DIRECTORY, N_TABLE | ALL)
    for page in range(32):
        memory.write32(N_TABLE + 4 * page, page << 12 | SHIFT | ALL)
    mmu = WaryMmu(state, memory)
    mmu.enter()
    for directory in (DIRECTORY, OTHER):
        memory.write32(place(mmu, directory), TABLE | ALL)
    for page in range(32):
        memory.write32(place(mmu, TABLE) + 4 * page, page << 12 | ALL | isa.PTE_G)
    mmu.translate(PAGE, False, False)
    return mmu


def fresh(mmu: WaryMmu) -> WaryMmu:
    """Another one, which has used the neighbour of `PAGE` only."""
    other = WaryMmu(mmu.state, mmu.memory)
    other.enter()
    other.translate(NEIGHBOUR, False, False)
    return other


def place(mmu: WaryMmu, address: int) -> int:
    return address + SHIFT if mmu.state.svm.nested else address


def store(mmu: WaryMmu, address: int, value: int, size: int = 4) -> None:
    """A store of the guest."""
    physical = place(mmu, address)
    mmu.memory.write(physical, size, value)
    mmu.stored([(physical, size, value)])


def host_changes(mmu: WaryMmu) -> None:
    """An entry of the nested table that maps something else."""
    mmu.memory.write32(N_TABLE + 4 * 31, 0)
    mmu.stored([(N_TABLE + 4 * 31, 4, 0)])


def uses_what_is_open(mmu: WaryMmu, linear: int) -> bool:
    try:
        mmu.translate(linear, False, False)
    except Fault:
        pass
    found, mmu.open_used = mmu.open_used, False
    return found


both = pytest.mark.parametrize("nested", [False, True])


@both
def test_a_changed_entry_leaves_its_page_open(nested: bool) -> None:
    mmu = guest(nested)
    assert not uses_what_is_open(mmu, PAGE)
    store(mmu, 0x7000, 1)
    assert not uses_what_is_open(mmu, PAGE)
    store(mmu, TABLE + 4 * (PAGE >> 12) + 1, 0, 1)
    assert not uses_what_is_open(mmu, NEIGHBOUR) and uses_what_is_open(mmu, PAGE)


@pytest.mark.parametrize(("before", "after", "is_open"), [
    (0, ALL, False), (isa.PTE_RW | isa.PTE_US, ALL, False), (isa.PTE_P, ALL | isa.PTE_A | isa.PTE_D, False),
    (ALL, isa.PTE_P | isa.PTE_US, True), (ALL, isa.PTE_P | isa.PTE_RW, True), (ALL, 0, True), (ALL, ALL | 0x4000, True),
    (ALL | isa.PTE_A | isa.PTE_D, ALL | isa.PTE_D, True), (ALL | isa.PTE_A | isa.PTE_D, ALL | isa.PTE_A, True)])
@both
def test_rights_that_are_added_leave_nothing_open(nested: bool, before: int, after: int, is_open: bool) -> None:
    mmu = guest(nested)
    mmu.memory.write32(place(mmu, TABLE) + 4 * (PAGE >> 12), before)
    mmu = fresh(mmu)
    store(mmu, TABLE + 4 * (PAGE >> 12), after)
    assert uses_what_is_open(mmu, PAGE) == is_open


@both
def test_a_page_never_used_is_open_too(nested: bool) -> None:
    """Another processor may have walked ahead."""
    mmu = guest(nested)
    store(mmu, TABLE + 4 * (NEIGHBOUR >> 12), 0)
    assert uses_what_is_open(mmu, NEIGHBOUR) and not uses_what_is_open(mmu, PAGE)


@both
def test_a_changed_directory_leaves_4_mib_open(nested: bool) -> None:
    mmu = guest(nested)
    store(mmu, DIRECTORY, 0)
    assert uses_what_is_open(mmu, PAGE) and uses_what_is_open(mmu, 0x30_0000) and not uses_what_is_open(mmu, 0x40_0000)


@both
def test_a_store_across_two_entries(nested: bool) -> None:
    mmu = guest(nested)
    store(mmu, TABLE + 4 * (PAGE >> 12) + 2, 0)
    assert uses_what_is_open(mmu, PAGE) and uses_what_is_open(mmu, NEIGHBOUR)


@both
@pytest.mark.parametrize("close", [
    lambda mmu: mmu.invalidate(PAGE), lambda mmu: mmu.invalidate_in(3, PAGE), lambda mmu: mmu.flush_all(),
    lambda mmu: mmu.flush_non_global(), lambda mmu: mmu.control(TlbControl.ASID),
    lambda mmu: mmu.control(TlbControl.ALL)])
def test_what_closes_a_page(nested: bool, close: Callable[[WaryMmu], None]) -> None:
    mmu = guest(nested)
    store(mmu, TABLE + 4 * (PAGE >> 12), 0)
    close(mmu)
    assert not uses_what_is_open(mmu, PAGE)


@pytest.mark.parametrize("close", [
    lambda mmu: mmu.invalidate(NEIGHBOUR), lambda mmu: mmu.invalidate_in(4, PAGE), lambda mmu: mmu.flush_non_global(),
    lambda mmu: mmu.control(TlbControl.ASID_LOCAL)])
def test_what_does_not_close_a_page(close: Callable[[WaryMmu], None]) -> None:
    mmu = guest(True, int(Cr4.PGE))
    store(mmu, TABLE + 4 * (PAGE >> 12), 0)
    close(mmu)
    assert uses_what_is_open(mmu, PAGE)


@pytest.mark.parametrize("close", [lambda mmu: mmu.flush_non_global(), lambda mmu: mmu.control(TlbControl.ASID_LOCAL)])
def test_entries_that_were_not_global_are_not_spared(close: Callable[[WaryMmu], None]) -> None:
    mmu = guest(True, int(Cr4.PGE))
    mmu.memory.write32(place(mmu, TABLE) + 4 * (PAGE >> 12), PAGE | ALL)
    mmu = fresh(mmu)
    store(mmu, TABLE + 4 * (PAGE >> 12), 0)
    close(mmu)
    assert not uses_what_is_open(mmu, PAGE)


@both
def test_an_asid_is_open_by_itself(nested: bool) -> None:
    mmu = guest(nested)
    mmu.state.svm.asid = 4
    mmu.enter()
    store(mmu, TABLE + 4 * (PAGE >> 12), 0)
    assert not uses_what_is_open(mmu, PAGE)
    mmu.state.svm.asid = 3
    mmu.enter()
    assert uses_what_is_open(mmu, PAGE)


@both
def test_global_pages_that_other_tables_do_not_have(nested: bool) -> None:
    mmu = guest(nested, int(Cr4.PGE))
    mmu.state.cr3 = OTHER
    mmu.flush_non_global()
    assert not uses_what_is_open(mmu, PAGE)
    mmu.state.cr3 = 0x4000
    mmu.flush_non_global()
    assert uses_what_is_open(mmu, PAGE) and not uses_what_is_open(mmu, NEIGHBOUR)


def test_a_changed_nested_table_leaves_everything_open() -> None:
    mmu = guest(True)
    host_changes(mmu)
    mmu.flush_all()
    mmu.invalidate_in(3, PAGE)
    assert uses_what_is_open(mmu, PAGE) and uses_what_is_open(mmu, 0x1_0000)
    mmu.control(TlbControl.ASID)
    assert not uses_what_is_open(mmu, PAGE)


def test_an_asid_that_has_not_used_the_nested_table_is_not_open() -> None:
    mmu = guest(True)
    mmu.control(TlbControl.ASID)
    host_changes(mmu)
    assert not uses_what_is_open(mmu, PAGE)


def test_frames_that_were_used() -> None:
    mmu = guest(True)
    assert mmu.reached == {(PAGE + SHIFT) >> 12}


@pytest.mark.parametrize(("entry", "closed"), [(ALL | isa.PTE_PS, True), (TABLE | ALL, False)])
def test_invlpg_closes_large_pages_whole(entry: int, closed: bool) -> None:
    """Any address of a page of 4 MiB will do; of a table it is one page of many."""
    mmu = guest(False, int(Cr4.PSE))
    store(mmu, DIRECTORY + 4, entry)
    mmu.translate(LARGE + PAGE, False, False)
    store(mmu, DIRECTORY + 4, ALL & ~isa.PTE_RW | isa.PTE_PS)
    mmu.invalidate(LARGE)
    mmu.open_used = False
    mmu.translate(LARGE + PAGE, False, False)
    assert mmu.open_used is not closed
