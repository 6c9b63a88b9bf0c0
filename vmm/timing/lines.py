"""The data cache's engine: what reaches memory through it waits for it.

The methods are in the typed subset that the translator compiles.
"""

from __future__ import annotations

from .branches import Branches
from .record import TimingState

__all__ = ["Lines"]


class Lines(Branches):
    """Lines of the data cache: two ways, write-back, write-allocate, the word asked for first.

    ``offset`` is what the instructions before an access in its run cost (`RunCost.before`), if that has not been added
    to ``cycles`` yet: one has to know when an access takes place.
    """

    state: TimingState

    def fill_data(self, line: int, word: int, write: int, offset: int) -> int:
        """Miss: wait for the engine, then for the word, or for the whole line; the way that is filled."""
        state = self.state
        state.data_misses += 1
        index = line & state.data_sets - 1
        way = 0
        if state.data_tags[2 * index] != 0:
            way = 1
            if state.data_tags[2 * index + 1] != 0:
                way = 1 - state.data_used[index]
        now = state.cycles + offset
        begin = max(now, state.engine_free)
        state.engine_free = begin + state.fill
        if state.data_tags[2 * index + way] != 0 and state.data_dirty[2 * index + way]:
            state.engine_free += state.write_back
            state.write_backs += 1
        state.data_tags[2 * index + way] = line + 1
        state.data_dirty[2 * index + way] = 0
        state.fill_line = line + 1
        state.fill_word = word
        state.fill_first = begin + state.load_miss
        state.fill_end = begin + state.store_miss
        state.cycles += (state.fill_end if write else state.fill_first) - now
        return way

    def uncached(self, write: int, offset: int) -> None:
        """A single word, past the cache. A store is waited for only by what follows it to memory."""
        state = self.state
        now = state.cycles + offset
        if state.engine_free > now:
            state.cycles += state.engine_free - now
        if write:
            state.engine_free = state.cycles + offset + state.uncached_store
        else:
            state.cycles += state.uncached_load
            state.engine_free = state.cycles + offset

    def notice(self, line: int) -> int:
        """A store into a line of the code cache, or of one that left it lately, has the code fetched again; whether."""
        state = self.state
        index = line & state.code_sets - 1
        found = 0
        for way in range(2):
            if state.code_tags[2 * index + way] == line + 1:
                state.code_tags[2 * index + way] = 0
                state.code[index] = 0
                found = 1
        for number in range(4):
            if state.victims[number] == line + 1:
                found = 1
        if found:
            state.code_writes += 1
            state.cycles += state.mispredicted
        return found

    def reference(self, place: int, offset: int) -> None:
        """A walk reads an entry through the data cache."""
        state = self.state
        line = place >> 5
        if line >= state.ram_lines:
            return
        index = line & state.data_sets - 1
        way = 0
        if state.data_tags[2 * index + 1] == line + 1:
            way = 1
        if state.data_tags[2 * index + way] != line + 1:
            way = self.fill_data(line, place >> 2 & 7, 0, offset)
            state.data_used[index] = way
            state.reads[index] = 0
            state.writes[index] = 0
