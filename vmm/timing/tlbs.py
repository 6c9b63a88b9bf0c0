"""Models of the TLBs, the walk cache and the walks. `read32` of physical memory is the only call out.

The methods are in the typed subset that the translator compiles.
"""

from __future__ import annotations

from typing import Protocol

from rtl.isa.paging import FRAME_MASK, PTE_D, PTE_G, PTE_P, PTE_PS

from .lines import Lines
from .record import TimingState

__all__ = ["TableMemory", "Tlbs"]

_GLOBAL, _DIRTY = 1, 2


class TableMemory(Protocol):
    """Physical memory, for the page walks of the models."""

    def read32(self, address: int) -> int: ...


class Tlbs(Lines):
    """Split TLBs, two ways for 4 KiB pages and a few entries for 4 MiB pages, and what empties them."""

    state: TimingState
    memory: TableMemory

    def translate_data(self, linear: int, write: int, offset: int) -> None:
        """Look up the data TLB; a miss walks, and so does a write through an entry whose D bit is clear."""
        state = self.state
        page = linear >> 12
        wanted = _DIRTY if write else 0
        for number in range(state.large_entries):
            if state.data_large[number] == (page >> 10) + 1 and state.data_large_rights[number] & wanted == wanted:
                return
        index = page & state.data_tlb_sets - 1
        for way in range(2):
            if state.data_pages[2 * index + way] == page + 1 and state.data_rights[2 * index + way] & wanted == wanted:
                return
        state.data_walks += 1
        state.cycles += state.walk
        entry = self.walk_tables(linear, offset)
        rights = (_GLOBAL if entry & PTE_G and state.global_pages else 0) | (_DIRTY if write or entry & PTE_D else 0)
        if self.is_large(entry):
            number = state.data_large_turn
            for other in range(state.large_entries):
                if state.data_large[other] == (page >> 10) + 1:
                    number = other
            if number == state.data_large_turn:
                state.data_large_turn = (number + 1) % state.large_entries
            state.data_large[number] = (page >> 10) + 1
            state.data_large_rights[number] = rights
        else:
            way = state.data_turn[index]
            if state.data_pages[2 * index] == page + 1:
                way = 0
            elif state.data_pages[2 * index + 1] == page + 1:
                way = 1
            elif state.data_pages[2 * index] == 0:
                way = 0
            elif state.data_pages[2 * index + 1] == 0:
                way = 1
            state.data_turn[index] = 1 - way
            state.data_pages[2 * index + way] = page + 1
            state.data_rights[2 * index + way] = rights
        self.forget_data()

    def translate_code(self, linear: int, offset: int) -> None:
        """The same for the code TLB."""
        state = self.state
        page = linear >> 12
        for number in range(state.large_entries):
            if state.code_large[number] == (page >> 10) + 1:
                return
        index = page & state.code_tlb_sets - 1
        for way in range(2):
            if state.code_pages[2 * index + way] == page + 1:
                return
        state.code_walks += 1
        state.cycles += state.code_walk
        entry = self.walk_tables(linear, offset)
        rights = _GLOBAL if entry & PTE_G and state.global_pages else 0
        if self.is_large(entry):
            number = state.code_large_turn
            state.code_large_turn = (number + 1) % state.large_entries
            state.code_large[number] = (page >> 10) + 1
            state.code_large_rights[number] = rights
        else:
            way = state.code_turn[index]
            if state.code_pages[2 * index] == 0:
                way = 0
            elif state.code_pages[2 * index + 1] == 0:
                way = 1
            state.code_turn[index] = 1 - way
            state.code_pages[2 * index + way] = page + 1
            state.code_rights[2 * index + way] = rights
        self.forget_code()

    def is_large(self, entry: int) -> int:
        """Whether `walk_tables` gave a directory entry."""
        return entry >> 32

    def walk_tables(self, linear: int, offset: int) -> int:
        """The references of a walk; the leaf entry, with bit 32 set for one of the directory."""
        state = self.state
        now = state.cycles + offset
        if state.engine_free > now:
            state.cycles += state.engine_free - now
        number = linear >> 22
        place = state.directory | number << 2
        entry = self.memory.read32(place)
        if state.large_pages and entry & PTE_PS:
            self.reference(place, offset)
            return entry | 1 << 32
        if state.walk_entries == 0:
            state.cycles += state.walk_directory
            self.reference(place, offset)
        elif state.walk_tags[number & state.walk_entries - 1] != number + 1:
            state.walk_tags[number & state.walk_entries - 1] = number + 1
            state.cycles += state.walk_directory
            self.reference(place, offset)
        if not entry & PTE_P:
            return 0
        place = (entry & FRAME_MASK) | (linear >> 12 & 0x3FF) << 2
        self.reference(place, offset)
        return self.memory.read32(place)

    def control(self, cr0: int, cr3: int, cr4: int) -> None:
        """The control registers, after any change but a load of CR3; drops all translations."""
        state = self.state
        state.paging = cr0 >> 31
        state.cache_disabled = cr0 >> 30 & 1
        state.large_pages = cr4 >> 4 & 1
        state.global_pages = cr4 >> 7 & 1
        state.directory = cr3 & FRAME_MASK
        self.drop(0)

    def load_directory(self, cr3: int) -> None:
        """A load of CR3; drops translations that are not global."""
        self.state.directory = cr3 & FRAME_MASK
        self.drop(1)

    def drop(self, keep: int) -> None:
        """Drop translations, but for those that have all rights in ``keep``, if there are any in it."""
        state = self.state
        for index in range(2 * state.data_tlb_sets):
            if not (keep and state.data_rights[index] & keep):
                state.data_pages[index] = 0
        for index in range(2 * state.code_tlb_sets):
            if not (keep and state.code_rights[index] & keep):
                state.code_pages[index] = 0
        for index in range(state.large_entries):
            if not (keep and state.data_large_rights[index] & keep):
                state.data_large[index] = 0
            if not (keep and state.code_large_rights[index] & keep):
                state.code_large[index] = 0
        self.drop_rest()

    def invalidate(self, linear: int) -> None:
        """INVLPG."""
        state = self.state
        page = linear >> 12
        for way in range(2):
            state.data_pages[2 * (page & state.data_tlb_sets - 1) + way] = 0
            state.code_pages[2 * (page & state.code_tlb_sets - 1) + way] = 0
        for number in range(state.large_entries):
            if state.data_large[number] == (page >> 10) + 1:
                state.data_large[number] = 0
            if state.code_large[number] == (page >> 10) + 1:
                state.code_large[number] = 0
        self.drop_rest()

    def drop_rest(self) -> None:
        """What was derived from translations."""
        state = self.state
        for index in range(state.walk_entries):
            state.walk_tags[index] = 0
        self.forget_data()
        self.forget_code()

    def forget_data(self) -> None:
        """Settle no data access without looking."""
        state = self.state
        for index in range(state.data_sets):
            state.reads[index] = 0
            state.writes[index] = 0

    def forget_code(self) -> None:
        """Settle no fetch without looking."""
        state = self.state
        for index in range(state.code_sets):
            state.code[index] = 0
