"""The nested tables: exactly the pages of the slots are mapped, as they may be used, whatever changes."""

from __future__ import annotations

import random
from typing import cast

import pytest

from rtl.isa.paging import PTE_P, PTE_PS, PTE_RW
from vmm.memory import PAGE
from vmm.monitor.area import Area
from vmm.monitor.host import Host
from vmm.monitor.nested import NestedTables
from vmm.slots import MemorySlot, SlotMemory
from vmm.vcpu import VcpuError

MIB, PAGES = 1 << 20, 1024


class Words:
    """The host's memory."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}

    def set_word(self, address: int, value: int) -> None:
        self.words[address] = value

    def pages(self, area: Area) -> dict[int, tuple[int, bool]]:
        """Guest-physical page to page of the host, and whether it is writable."""
        found = {}
        for number in range(PAGES):
            entry = self.words.get(area.nested_directory + 4 * number, 0)
            assert entry & PTE_RW or not entry
            for place in range(PAGES):
                leaf = entry + place * PAGE if entry & PTE_PS else self.words.get(
                    (entry & -PAGE) + 4 * place, 0) if entry & PTE_P else 0
                if leaf & PTE_P:
                    found[number * PAGES + place] = leaf // PAGE, bool(leaf & PTE_RW)
        return found


def started(memory: SlotMemory, large: bool = True, tables: int = 4) -> tuple[NestedTables, Words, Area]:
    words, area = Words(), Area(memory.size, large, tables)
    return NestedTables(cast(Host, words), area, memory), words, area


@pytest.mark.parametrize("large", (True, False))
@pytest.mark.parametrize("size", (2 * MIB, 4 * MIB, 5 * MIB + PAGE, 16 * MIB))
def test_exactly_the_guests_memory_is_mapped(size: int, large: bool) -> None:
    memory = SlotMemory(size)
    memory.map(MemorySlot(0, size))
    tables, words, area = started(memory, large)
    assert tables.follow() and not tables.follow()
    assert words.pages(area) == {page: (page, True) for page in range(size // PAGE)}


def test_random_slots() -> None:
    """What is mapped is what the slots say, after each change; and following says whether there was one."""
    rng = random.Random(4)
    memory = SlotMemory(8 * MIB)
    tables, words, area = started(memory)
    slots = [MemorySlot(start, MIB, is_read_only=rng.random() < 0.3, log_dirty=rng.random() < 0.5)
             for start in range(0, 8 * MIB, MIB)]
    mapped: set[MemorySlot] = set()
    for _ in range(60):
        slot = rng.choice(slots)
        (memory.unmap if slot in mapped else memory.map)(slot)
        mapped ^= {slot}
        assert tables.follow()
        written: set[int] = set()
        for _ in range(rng.randrange(3)):
            address = rng.randrange(8 * MIB)
            owner = next((slot for slot in mapped if slot.guest_base <= address < slot.end), None)
            assert memory.admit_write(address) is (owner is not None and not owner.is_read_only)
            written.add(address // PAGE)
        tables.follow()
        pages = words.pages(area)
        assert {page for page in pages} == {page for slot in mapped for page in range(
            slot.guest_base // PAGE, slot.end // PAGE)}
        for slot in mapped:
            for page in range(slot.guest_base // PAGE, slot.end // PAGE):
                host, writable = pages[page]
                assert host == page and (not writable if slot.is_read_only else writable or slot.log_dirty)
                assert writable or slot.is_read_only or page not in written
            if slot.log_dirty and not slot.is_read_only:
                assert {page + slot.guest_base // PAGE for page in memory.dirty_pages(slot)} >= {
                    page for page in written if slot.guest_base <= page * PAGE < slot.end}


def test_no_room() -> None:
    memory = SlotMemory(8 * MIB)
    tables, _, _ = started(memory, tables=1)
    with pytest.raises(VcpuError, match="^a guest of the hardware has 1 nested page tables, and needs more$"):
        tables.follow()
