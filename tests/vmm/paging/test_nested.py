"""The two-dimensional walk against the reference walk, and what it costs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtl.isa import paging as isa
from rtl.isa.svm import NPF_FINAL, NPF_P, NPF_TABLE, NPF_U, NPF_W
from tests.vmm.paging.reference_walk import Fault, Walker
from vmm.paging.nested import NestedFault, nested_walk
from vmm.paging.walk import GuestFault, Translated

P, RW, US, A, D, PS = isa.PTE_P, isa.PTE_RW, isa.PTE_US, isa.PTE_A, isa.PTE_D, isa.PTE_PS
ALL = P | RW | US
#: The root of the nested tables; the guest's tables and pages are below 64 KiB of guest-physical memory.
N_CR3, N_TABLE, SHIFT = 0x10_0000, 0x10_1000, 0x20_0000
GUEST_CR3, GUEST_TABLE, GUEST_PAGE = 0x1000, 0x2000, 0x3000
LINEAR = 0x0040_0ABC


class Tables(dict[int, int]):
    """Physical memory by words, which remembers what was read."""

    def __init__(self, *args: dict[int, int]):
        super().__init__(*args)
        self.read: list[int] = []

    def read32(self, address: int) -> int:
        self.read.append(address)
        return self.get(address, 0)

    def write32(self, address: int, value: int) -> None:
        self[address] = value


def world(guest_large: bool = False, nested_large: bool = False) -> Tables:
    """A guest that maps LINEAR to GUEST_PAGE, in machine memory SHIFT above its own addresses."""
    where = 0 if nested_large else SHIFT
    tables = Tables({where + GUEST_CR3 + 4: ALL | PS if guest_large else GUEST_TABLE | ALL,
                     where + GUEST_TABLE: GUEST_PAGE | ALL})
    tables[N_CR3] = ALL | PS if nested_large else N_TABLE | ALL
    tables.update({N_TABLE + 4 * page: SHIFT + (page << 12) | ALL for page in range(16)})
    return tables


def go(tables: Tables, linear: int = LINEAR, *, write: bool = False, user: bool = True, n_pse: bool = True,
       guest: tuple[int, bool, bool] | None = (GUEST_CR3, True, True)) -> Translated | GuestFault | NestedFault:
    return nested_walk(tables, N_CR3, n_pse, guest, linear, write=write, user=user)


@pytest.mark.parametrize(("guest_large", "nested_large", "references"), [
    (False, False, 8), (False, True, 5), (True, False, 5), (True, True, 3)])
def test_references_of_the_textbook(guest_large: bool, nested_large: bool, references: int) -> None:
    """(n + 1)(m + 1) - 1 for n guest and m nested levels."""
    tables = world(guest_large, nested_large)
    outcome = go(tables)
    assert isinstance(outcome, Translated) and len(tables.read) == references
    page = 0 if guest_large else GUEST_PAGE >> 12
    assert outcome.frame == page + (0 if nested_large else SHIFT >> 12)


def test_guest_paging_off_takes_the_final_walk_alone() -> None:
    tables = world()
    outcome = go(tables, 0x3ABC, guest=None, user=False, write=True)
    assert isinstance(outcome, Translated) and outcome.frame == SHIFT + 0x3000 >> 12
    assert tables.read == [N_CR3, N_TABLE + 4 * 3] and tables[N_TABLE + 4 * 3] & D


def test_reading_a_guest_table_is_a_nested_write() -> None:
    """APM 15.25.5: D is set in the nested entries of guest tables, and they must be writable."""
    tables = world()
    go(tables)
    for page in (GUEST_CR3, GUEST_TABLE):
        assert tables[N_TABLE + (page >> 10)] & (A | D) == A | D
    assert tables[N_TABLE + (GUEST_PAGE >> 10)] & (A | D) == A
    tables[N_TABLE + (GUEST_TABLE >> 10)] &= ~RW
    assert go(tables) == NestedFault(NPF_TABLE | NPF_P | NPF_W | NPF_U, GUEST_TABLE)


def test_nested_accesses_are_user_accesses() -> None:
    tables = world()
    tables[N_TABLE + (GUEST_PAGE >> 10)] &= ~US
    assert go(tables, user=False) == NestedFault(NPF_FINAL | NPF_P | NPF_U, GUEST_PAGE | LINEAR & 0xFFF)


def test_a_guest_fault_writes_no_guest_bits_but_nested_ones() -> None:
    tables = world()
    tables[SHIFT + GUEST_TABLE] = 0
    assert go(tables, write=True) == GuestFault(isa.PF_W | isa.PF_U)
    assert not tables[SHIFT + GUEST_CR3 + 4] & A and tables[N_TABLE + (GUEST_TABLE >> 10)] & (A | D) == A | D


def test_a_final_nested_fault_leaves_the_guest_bits_set() -> None:
    tables = world()
    tables[N_TABLE + (GUEST_PAGE >> 10)] = 0
    assert go(tables, write=True) == NestedFault(NPF_FINAL | NPF_W | NPF_U, GUEST_PAGE | LINEAR & 0xFFF)
    assert tables[SHIFT + GUEST_TABLE] & (A | D) == A | D


def test_a_preset_dirty_bit_does_not_let_a_supervisor_write_a_read_only_nested_page() -> None:
    """With CR0.WP clear the guest's own rights do not count for a supervisor; the nested ones always do.

    An entry that is dirty because both tables say so, over a nested page that is not writable, must not serve a write.
    """
    tables = world()
    tables[SHIFT + GUEST_TABLE] |= D
    tables[N_TABLE + (GUEST_PAGE >> 10)] = tables[N_TABLE + (GUEST_PAGE >> 10)] & ~RW | D
    outcome = go(tables, user=False, guest=(GUEST_CR3, False, True))
    assert isinstance(outcome, Translated) and outcome.writable and not outcome.dirty


def _entry(rng: random.Random, frames: list[int], large: float) -> int:
    bits = ALL if rng.random() < 0.7 else rng.getrandbits(3)
    bits |= rng.choice((0, 0, A, A | D)) | rng.choice((0, 0, isa.PTE_G))
    if rng.random() < large:
        return rng.choice((0, 0, 0x40_0000, 0x1000)) | PS | bits
    return rng.choice(frames) | bits


def _random_world(rng: random.Random) -> Tables:
    """Tables of both dimensions, anywhere, cycles and tables that are their own pages included."""
    tables = Tables()
    pages = [page << 12 for page in range(8)]
    for base in pages:
        for number in (0, 1, 2, 3, 4, 5, 6, 7, 1023):
            if rng.random() < 0.8:
                tables[base + 4 * number] = _entry(rng, pages, 0.15)
    return tables


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.integers(0, 1 << 32), *[st.booleans()] * 6)
def test_random_tables_against_the_reference(
        seed: int, write: bool, user: bool, wp: bool, pse: bool, n_pse: bool, paging: bool) -> None:
    """Result, kind of fault, accessed and dirty bits, references and their order, over walks in the same tables."""
    rng = random.Random(seed)
    tables = _random_world(rng)
    mine, theirs = Tables(tables), dict(tables)
    cr3, n_cr3 = rng.randrange(8) << 12, rng.randrange(8) << 12
    guest = (cr3, wp, pse) if paging else None
    for _ in range(4):
        linear = rng.randrange(4) << 22 | rng.randrange(8) << 12 | rng.getrandbits(12)
        mine.read.clear()
        outcome = nested_walk(mine, n_cr3, n_pse, guest, linear, write=write, user=user)
        walker = Walker(theirs, n_cr3, n_pse)
        try:
            address, allowed, writable, dirty, large = walker.walk(linear, write, user, guest)
        except Fault as fault:
            kind, *rest = fault.args
            assert outcome == (GuestFault(*rest) if kind == "guest" else NestedFault(*rest))
        else:
            assert isinstance(outcome, Translated) and outcome.frame == address >> 12
            assert (outcome.user, outcome.writable, outcome.dirty, outcome.large) == (allowed, writable, dirty, large)
        assert mine.read == [where for _, where in walker.refs]
        assert {at: word for at, word in mine.items() if word} == {at: word for at, word in theirs.items() if word}
