"""Where lines are in the caches, and the data cache's engine: what reaches memory through it waits for it.

The methods are in the typed subset that the translator compiles.
"""

from __future__ import annotations

from .branches import Branches
from .record import TimingState

__all__ = ["Lines"]


class Lines(Branches):
    """Lines of the caches: two ways each. The data cache is write-back, write-allocate, the word asked for first.

    An entry of a cache is 2 * set + way. It has a line if its tag is the line's number plus one.

    ``offset`` is what the instructions before an access in its run cost (`RunCost.before`), if that has not been added
    to ``cycles`` yet: one has to know when an access takes place.
    """

    state: TimingState

    def data_entry(self, line: int) -> int:
        """The entry of the data cache that has a line, or the first of its set."""
        state = self.state
        first = 2 * (line & state.data_sets - 1)
        return first + 1 if state.data_tags[first + 1] == line + 1 else first

    def code_entry(self, line: int) -> int:
        """The entry of the code cache that has a line, or the first of its set."""
        state = self.state
        first = 2 * (line & state.code_sets - 1)
        return first + 1 if state.code_tags[first + 1] == line + 1 else first

    def free_way(self, first: int, second: int, used: int) -> int:
        """The way of a set that a new line takes: an empty one, or the one not used last; given tags, and that one."""
        if first == 0:
            return 0
        return 1 if second == 0 else 1 - used

    def fill_data(self, line: int, word: int, write: int, offset: int) -> int:
        """Miss: wait for the engine, then for the word, or for the whole line; the entry that is filled."""
        state = self.state
        state.data_misses += 1
        index = line & state.data_sets - 1
        first = 2 * index
        entry = first + self.free_way(state.data_tags[first], state.data_tags[first + 1], state.data_used[index])
        now = state.cycles + offset
        begin = max(now, state.engine_free)
        state.engine_free = begin + state.fill
        if state.data_tags[entry] != 0 and state.data_dirty[entry]:
            state.engine_free += state.write_back
            state.write_backs += 1
        state.data_tags[entry] = line + 1
        state.data_dirty[entry] = 0
        state.fill_line = line + 1
        state.fill_word = word
        state.fill_first = begin + state.load_miss
        state.fill_end = begin + state.store_miss
        state.cycles += (state.fill_end if write else state.fill_first) - now
        return entry

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
        found = 0
        entry = self.code_entry(line)
        if state.code_tags[entry] == line + 1:
            state.code_tags[entry] = 0
            state.code[entry >> 1] = 0
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
        entry = self.data_entry(line)
        if state.data_tags[entry] != line + 1:
            entry = self.fill_data(line, place >> 2 & 7, 0, offset)
            index = entry >> 1
            state.data_used[index] = entry & 1
            state.reads[index] = 0
            state.writes[index] = 0
