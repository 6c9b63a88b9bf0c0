"""The software MMU: translation of linear addresses with a TLB, and the tables executors use as fast paths.

A TLB that keeps stale entries is architecturally visible: a guest that changes a page-table entry and does not
invalidate it may see the old or the new translation. Rules:

1. An access is first looked up in the TLB. A hit that allows the access is used. A miss, a hit that refuses, and a
   write through an entry whose D bit is clear walk the tables; the walk decides.
2. `capacity` bounds the entries, the oldest leaves first. Results differ between capacities only for guests that do
   not invalidate what they change; lockstep is for guests that do.
3. CR3 writes drop non-global entries (all entries while CR4.PGE is 0); changes of CR0.PG, CR0.WP, CR4.PSE, CR4.PGE
   drop everything; INVLPG drops the page, all of it when it is 4 MiB.
4. `reads[u]` and `writes[u]` (u = 1 for user accesses) map a linear page number to the difference between physical
   and linear address, for pages that are plain RAM and allow the access without any further effect.
   They are emptied, never replaced.
"""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.exceptions import Vector
from rtl.isa.registers import Cr0, Cr4
from vmm.faults import Fault
from vmm.memory import PhysicalMemory
from vmm.paging.walk import GuestFault, Translated, walk
from vmm.state import CpuView

DEFAULT_CAPACITY = 4096
_PG, _WP, _PSE, _PGE = int(Cr0.PG), int(Cr0.WP), int(Cr4.PSE), int(Cr4.PGE)


class SoftMmu:
    """Translation for one processor.

    Parameters
    ----------
    capacity : entries the TLB keeps.

    Members
    -------
    fast : while False, `reads` and `writes` are never filled, so that every access takes the executor's slow path.
    fast_writes : the same for `writes` alone.
    on_flush : called whenever translations are dropped, with the linear page, or None for many; owners of caches by
        linear address hook it.
    walks : number of table walks done. misses : accesses that the TLB did not have. lookups : pages for which the fast
        tables were given a place in host memory.
    """

    def __init__(self, state: CpuView, memory: PhysicalMemory, capacity: int = DEFAULT_CAPACITY):
        if capacity < 1:
            raise ValueError(f"TLB capacity must be at least 1, not {capacity}")
        self.state = state
        self.memory = memory
        self.capacity = capacity
        self.entries: dict[int, Translated] = {}
        self.reads: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.writes: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.fast = True
        self.fast_writes = True
        self.on_flush: Callable[[int | None], None] = lambda page: None
        self.walks = self.misses = self.lookups = 0

    def translate(self, linear: int, write: bool, user: bool) -> int:
        """Physical address of one byte.

        Raises
        ------
        Fault
            #PF; `cr2` is `linear`.
        """
        page = linear >> 12
        if not self.state.cr0 & _PG:
            self.misses += 1
            self._offer(page, page, True, True, True)
            return linear
        entry = self.entries.get(page)
        if entry is None or user and not entry.user or write and not (
                entry.dirty and (entry.writable or not user and not self.state.cr0 & _WP)):
            entry = self._walk(linear, write, user)
        self._offer_entry(page, entry)
        return entry.frame << 12 | linear & 0xFFF

    def _walk(self, linear: int, write: bool, user: bool) -> Translated:
        self.misses += 1
        self.walks += 1
        outcome = self._look_up(linear, write, user)
        if isinstance(outcome, GuestFault):
            raise Fault(Vector.PF, outcome.code, linear)
        page = linear >> 12
        if page in self.entries:
            self._drop(page)
        elif len(self.entries) >= self.capacity:
            self._drop(next(iter(self.entries)))
        self.entries[page] = outcome
        return outcome

    def _look_up(self, linear: int, write: bool, user: bool) -> Translated | GuestFault:
        """What the tables say."""
        state = self.state
        return walk(self.memory, state.cr3, linear, write=write, user=user,
                    wp=bool(state.cr0 & _WP), pse=bool(state.cr4 & _PSE))

    def _offer_entry(self, page: int, entry: Translated) -> None:
        system_write = entry.dirty and (entry.writable or not self.state.cr0 & _WP)
        self._offer(page, entry.frame, entry.user, system_write, entry.dirty and entry.writable)

    def _offer(self, page: int, frame: int, user: bool, system_write: bool, user_write: bool) -> None:
        if not self.fast or not self.memory.is_plain(frame):
            return
        self.lookups += 1
        delta = (frame - page) << 12
        self.reads[0][page] = delta
        if user:
            self.reads[1][page] = delta
        if self.fast_writes and frame not in self.memory.watched and not self.memory.guards[frame]:
            if system_write:
                self.writes[0][page] = delta
            if user and user_write:
                self.writes[1][page] = delta

    def forget_writes(self) -> None:
        """Send every write through the slow path again, because a page has become watched."""
        self.writes[0].clear()
        self.writes[1].clear()

    def forget(self) -> None:
        """Send every access through the slow path again; translations are kept."""
        for table in self.reads + self.writes:
            table.clear()

    def set_fast(self, reads: bool, writes: bool) -> None:
        """Allow or forbid the fast paths; translations are kept."""
        if (reads, writes) != (self.fast, self.fast_writes):
            self.fast, self.fast_writes = reads, writes
            self.forget()

    def _drop(self, page: int) -> None:
        del self.entries[page]
        for table in self.reads + self.writes:
            table.pop(page, None)

    def flush_all(self) -> None:
        self.entries.clear()
        self.forget()
        self.on_flush(None)

    def flush_non_global(self) -> None:
        """The effect of a CR3 write."""
        kept = {}
        if self.state.cr4 & _PGE:
            kept = {page: entry for page, entry in self.entries.items() if entry.global_page}
        self.flush_all()
        self.entries.update(kept)

    def invalidate(self, linear: int) -> None:
        """The effect of INVLPG."""
        page = linear >> 12
        entry = self.entries.get(page)
        doomed = [page] if entry is not None else []
        first = page & ~0x3FF
        doomed += [p for p, e in self.entries.items() if e.large and p != page and p & ~0x3FF == first]
        for number in doomed:
            self._drop(number)
        for table in self.reads + self.writes:
            table.pop(page, None)
        self.on_flush(page if len(doomed) < 2 else None)
