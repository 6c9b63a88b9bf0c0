"""Models of the caches: what an access costs beyond its row.

The methods are in the typed subset that the translator compiles.

1. An access first looks at a filter of the record (`TimingState`, rule 2); only if that does not settle it, `data` or
   `fetch` is called. Calling them always gives the same cycles.
2. ``offset`` is as in `Lines`.
3. Physical memory is RAM, but for the graphics window, which is never cached.
"""

from __future__ import annotations

from rtl.isa.platform import MEMORY

from .record import TimingState
from .tlbs import Tlbs

__all__ = ["Caches"]

_WINDOWS = [(area.base >> 5, area.base + area.size >> 5) for area in MEMORY if area.name.startswith("VGA_")]
_VGA_FIRST, _VGA_END = min(_WINDOWS)[0], max(_WINDOWS)[1]


class Caches(Tlbs):
    """Split caches: every access of the processor."""

    state: TimingState

    def data(self, linear: int, physical: int, size: int, write: int, offset: int) -> None:
        """An access of ``size`` bytes within a page; one of 8 bytes, a descriptor, is two of 4."""
        state = self.state
        if size <= 4 and (linear & 3) + size > 4:
            state.cycles += state.across
        self.data_line(linear, physical, write, offset)
        last = size - 1
        if (linear & 31) + last > 31:
            self.data_line(linear + last, physical + last, write, offset)

    def data_across(self, linear: int, low: int, first: int, high: int, size: int, write: int, offset: int) -> None:
        """An access across a page: ``first`` bytes at the physical address ``low``, the others at ``high``."""
        state = self.state
        state.cycles += state.across
        self.data_line(linear, low, write, offset)
        self.data_line(linear + first & 0xFFFFFFFF, high, write, offset)

    def data_line(self, linear: int, physical: int, write: int, offset: int) -> None:
        """The part of an access that lies in one line."""
        state = self.state
        if state.paging:
            self.translate_data(linear, write, offset)
        line = physical >> 5
        if line >= state.ram_lines or _VGA_FIRST <= line < _VGA_END or state.cache_disabled:
            self.uncached(write, offset)
            return
        entry = self.data_entry(line)
        index = entry >> 1
        now = state.cycles + offset
        settled = 1
        if state.data_tags[entry] != line + 1:
            entry = self.fill_data(line, physical >> 2 & 7, write, offset)
            settled = 0
        elif state.fill_line == line + 1 and now < state.fill_end:
            settled = 0
            come = state.fill_end
            if not write:
                come = state.fill_first + ((physical >> 2) - state.fill_word & 7)
            if come > now:
                state.cycles += come - now
        state.data_used[index] = entry & 1
        key = (linear >> 5) + 1
        state.reads[index] = key if settled else 0
        if write:
            state.data_dirty[entry] = 1
            # A line that is still in the list of lines gone lately is noticed again.
            state.writes[index] = key if self.notice(line) == 0 and settled else 0
        elif state.writes[index] != key:
            state.writes[index] = 0

    def fetch(self, linear: int, physical: int, follows: int, offset: int) -> None:
        """The first instruction with a byte in a line; ``follows`` says that its run comes from the line before."""
        state = self.state
        if state.paging:
            self.translate_code(linear, offset)
        line = physical >> 5
        if line >= state.ram_lines or _VGA_FIRST <= line < _VGA_END or state.cache_disabled:
            self.uncached(0, offset)
            return
        entry = self.code_entry(line)
        index = entry >> 1
        if state.code_tags[entry] != line + 1:
            entry = self.fill_code(line, follows, offset)
        state.code_used[index] = entry & 1
        state.code[index] = (linear >> 5) + 1

    def fill_code(self, line: int, follows: int, offset: int) -> int:
        """Miss: from the data cache or past it from memory; the entry that is filled."""
        state = self.state
        state.code_misses += 1
        index = line & state.code_sets - 1
        first = 2 * index
        entry = first + self.free_way(state.code_tags[first], state.code_tags[first + 1], state.code_used[index])
        if state.code_tags[entry] != 0:
            state.victims[state.victim_next] = state.code_tags[entry]
            state.victim_next = state.victim_next + 1 & 3
        state.code_tags[entry] = line + 1
        held = self.data_entry(line)
        # A store to the line must be noticed from now on.
        state.writes[held >> 1] = 0
        now = state.cycles + offset
        begin = max(now, state.engine_free)
        if state.data_tags[held] == line + 1:
            wait = state.code_next_cached if follows else state.code_fill_cached
        else:
            wait = state.code_next if follows else state.code_fill
        state.engine_free = begin + state.fill
        state.cycles += begin - now + wait
        return entry

    def write_back_all(self) -> None:
        """WBINVD: both caches are empty afterwards."""
        state = self.state
        for index in range(2 * state.data_sets):
            state.data_tags[index] = 0
        for index in range(2 * state.code_sets):
            state.code_tags[index] = 0
        state.fill_line = 0
        self.forget_data()
        self.forget_code()
