"""The MMU whose TLB is the data tables of translated code: the same methods run as Python and as native code.

Rules, beyond those of `vmm.paging.mmu`:

1. A translation that the tables have is used; anything else walks, and the walk fills in what it allows. Pages that are
   not plain RAM are never filled in, so that every access to them walks.
2. Every page filled in is in the log, so that a flush is short. A full log is a flush of everything.
   What a flush asks of a page is in its marks, as the last walk has found it.
3. Pages with a data breakpoint are not filled in for the accesses that it may match.
4. Pages that can be written are in the CHECKED tables, and in the WRITE tables while no code of them is known; in
   neither while memory guards their writes.
5. The interpreter's own tables, `reads` and `writes`, are views of the data tables.
6. To a guest that does not invalidate what it changes, this is the same TLB as `SoftMmu` with room for `LOG_ENTRIES`
   pages, but for pages that are not filled in, of which nothing stale is ever seen.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from rtl.isa.exceptions import Vector
from rtl.isa.registers import Cr0, Cr4
from vmm.engine.dbt.arena import LARGE, LOG_ENTRIES, Logged
from vmm.engine.dbt.layout import Context, Kind
from vmm.faults import Fault
from vmm.lowering.intrinsics import rarely
from vmm.memory import PhysicalMemory
from vmm.paging.mmu import SoftMmu
from vmm.paging.walk import GuestFault, walk

_PG, _WP, _PSE, _PGE = int(Cr0.PG), int(Cr0.WP), int(Cr4.PSE), int(Cr4.PGE)
_READ, _WRITE, _CHECKED = int(Kind.READ), int(Kind.WRITE), int(Kind.CHECKED)
#: Marks of a page: it is in the log; it is global; it is part of a page of 4 MiB.
_LOGGED, _GLOBAL, _LARGE = 1, 2, 4
#: Marks that stay: there is a data breakpoint on the page; one that matches reads.
ARMED, _ARMED_READS = 8, 16
_ARMED = ARMED | _ARMED_READS


class View:
    """A data table as the interpreter looks at it: physical minus linear address of a page, or None.

    Parameters
    ----------
    avoided : frames that it must not reach without asking.
    """

    def __init__(self, table: Any, ram: int, avoided: Container[int] = ()):
        self._table, self._ram, self._avoided = table, ram, avoided
        self.on = True

    def get(self, page: int) -> int | None:
        distance = self._table[page]
        if not distance or not self.on:
            return None
        delta = distance - self._ram
        return None if (delta >> 12) + page in self._avoided else delta


class TableMmu(SoftMmu):
    """Translation for the processor of a context.

    Members
    -------
    armed : see `arm`.
    """

    def __init__(self, context: Context, memory: PhysicalMemory):
        self._context = context
        self._logged = Logged.from_address(context.address)
        super().__init__(context.state, memory)
        context.guards[:] = bytes(memory.guards)
        memory.guards = context.guards
        self.tables = context.tables
        self.log, self.large = self._logged.log, self._logged.large
        self.marks = context.marks
        self.ram, self.code_map_at = context.state.ram, context.state.code_map_at
        reads, user_reads, writes, user_writes = context.tables[:_CHECKED]
        self._read_views = View(reads, self.ram), View(user_reads, self.ram)
        self._write_views = View(writes, self.ram, memory.watched), View(user_writes, self.ram, memory.watched)
        self.reads, self.writes = self._read_views, self._write_views  # type: ignore[assignment]
        self.armed: dict[int, bool] = {}

    def set_fast(self, reads: bool, writes: bool) -> None:
        for view in self._read_views:
            view.on = reads
        for view in self._write_views:
            view.on = writes

    @property
    def log_count(self) -> int:
        return self._logged.log_count

    @log_count.setter
    def log_count(self, value: int) -> None:
        self._logged.log_count = value

    @property  # type: ignore[override]
    def walks(self) -> int:
        return self._logged.walks

    @walks.setter
    def walks(self, value: int) -> None:
        self._logged.walks = value

    @property  # type: ignore[override]
    def misses(self) -> int:
        return self._logged.misses

    @misses.setter
    def misses(self, value: int) -> None:
        self._logged.misses = value

    @property  # type: ignore[override]
    def lookups(self) -> int:
        return self._logged.lookups

    @lookups.setter
    def lookups(self, value: int) -> None:
        self._logged.lookups = value

    def translate(self, linear: int, write: bool, user: bool) -> int:
        kind = (_WRITE if write else _READ) + user
        distance = self.tables[kind][linear >> 12]
        if distance:
            return linear + distance - self.ram
        return self.translate_slow(linear, write, user)

    @rarely
    def translate_slow(self, linear: int, write: bool, user: bool) -> int:
        page, state = linear >> 12, self.state
        if write and self.tables[_CHECKED + user][page]:
            return linear + self.tables[_READ + user][page] - self.ram
        self.misses += 1
        if not state.cr0 & _PG:
            self.fill(page, page, 0, True, True, True)
            return linear
        self.walks += 1
        outcome = walk(self.memory, state.cr3, linear, write=write, user=user,
                       wp=bool(state.cr0 & _WP), pse=bool(state.cr4 & _PSE))
        if isinstance(outcome, GuestFault):
            raise Fault(Vector.PF, outcome.code, linear)
        if outcome.large:
            self.large[linear >> 22] = True
        system_write = outcome.dirty and (outcome.writable or not state.cr0 & _WP)
        marks = (_GLOBAL if outcome.global_page else 0) | (_LARGE if outcome.large else 0)
        self.fill(page, outcome.frame, marks, outcome.user, system_write, outcome.dirty and outcome.writable)
        return outcome.frame << 12 | linear & 0xFFF

    def refill(self, linear: int, kind: int) -> bool:
        """For an access of a `Kind` that missed: whether the tables have it now.

        Raises
        ------
        Fault
            #PF.
        """
        user = kind & 1
        self.translate_slow(linear, kind >= _WRITE, bool(user))
        page = linear >> 12
        if kind >= _WRITE and self.tables[_CHECKED + user][page]:
            return True
        return bool(self.tables[kind][page])

    def fill(self, page: int, frame: int, marks: int, user: bool, system_write: bool, user_write: bool) -> None:
        """Put a page in the tables, with what its translation allows in place of what they had."""
        self.drop(page)
        if not self.memory.is_plain(frame):
            return
        armed = self.marks[page] & _ARMED
        if not self.marks[page] & _LOGGED:
            if self.log_count == LOG_ENTRIES:
                self.flush_all()
            self.log[self.log_count] = page
            self.log_count += 1
        self.marks[page] = marks | _LOGGED | armed
        if armed & _ARMED_READS:
            return
        self.lookups += 1
        distance = self.ram + (frame - page << 12)
        self.tables[_READ][page] = distance
        if user:
            self.tables[_READ + 1][page] = distance
        if self.memory.guards[frame] or armed:
            return
        checked, free = self.code_map_at + (frame - page << 9), not self.has_code(frame)
        if system_write:
            self.tables[_CHECKED][page] = checked
            if free:
                self.tables[_WRITE][page] = distance
        if user and user_write:
            self.tables[_CHECKED + 1][page] = checked
            if free:
                self.tables[_WRITE + 1][page] = distance

    def has_code(self, frame: int) -> bool:
        """Whether code was translated from any byte of a page."""
        return self._context.has_code(frame)

    def drop(self, page: int) -> None:
        for table in self.tables:
            table[page] = 0

    def forget_page(self, page: int) -> None:
        """Take a page out of the tables, when it leaves the log."""
        self.drop(page)
        self.marks[page] &= _ARMED

    def arm(self, pages: dict[int, bool]) -> None:
        """There are data breakpoints on these linear pages, and on no others: whether reads may match."""
        for page in self.armed:
            self.marks[page] &= ~_ARMED
        for page, reads in pages.items():
            self.drop(page)
            self.marks[page] |= _ARMED if reads else ARMED
        self.armed = dict(pages)

    def forget_writes(self) -> None:
        """Look again at every page that can be written, because code has become known."""
        for place in range(self.log_count):
            page = self.log[place]
            self.tables[_WRITE][page] = 0
            self.tables[_WRITE + 1][page] = 0
            self.tables[_CHECKED][page] = 0
            self.tables[_CHECKED + 1][page] = 0

    def dropped(self, page: int) -> None:
        """Translations are gone: of a page, or of many if it is negative."""
        self.on_flush(None if page < 0 else page)

    def flush_all(self) -> None:
        for place in range(self.log_count):
            self.forget_page(self.log[place])
        self.log_count = 0
        for region in range(LARGE):
            self.large[region] = False
        self.dropped(-1)

    def flush_non_global(self) -> None:
        """The effect of a CR3 write."""
        if not self.state.cr4 & _PGE:
            self.flush_all()
            return
        kept = 0
        for place in range(self.log_count):
            page = self.log[place]
            if self.marks[page] & _GLOBAL:
                self.log[kept] = page
                kept += 1
            else:
                self.forget_page(page)
        self.log_count = kept
        self.dropped(-1)

    def invalidate(self, linear: int) -> None:
        """The effect of INVLPG."""
        self.drop(linear >> 12)
        if self.large[linear >> 22]:
            self.large[linear >> 22] = False
            first = linear >> 12 & ~(LARGE - 1)
            for page in range(first, first + LARGE):
                if self.marks[page] & _LARGE:
                    self.drop(page)
            self.dropped(-1)
        else:
            self.dropped(linear >> 12)
