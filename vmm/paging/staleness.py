"""The software MMU of a guest in lockstep: it knows where the architecture leaves a translation open.

A guest that changes an entry of its tables and does not invalidate it may see the old or the new translation, by what
its TLB happens to keep (AMD64 APM vol. 2, 5.5); so may a guest whose host does that to nested tables. Two right
processors differ there. Rules:

1. Where walks have found directories and tables is remembered, for each ASID.
2. `stored` is told of every store. A present entry that is changed leaves open, in a guest's table its page; in its
   directory 4 MiB; in a nested table the whole ASID. One that only gets rights, or its accessed and dirty bits, does
   not: who finds too little in a TLB walks again.
3. INVLPG and INVLPGA close a page, one of 4 MiB whole, in however many pieces it has been translated. What drops all of
   a guest's translations closes its pages and directories; what spares global ones, pages whose entry was not global.
   TLB_CONTROL alone closes an ASID.
4. A write to CR3 leaves open the pages of global translations that the new tables do not have: they may stay.
5. A translation of what is open is done as ever, and sets `open_used`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rtl.isa.paging import FRAME_MASK, PAGE_SIZE, PTE_A, PTE_D, PTE_G, PTE_P, PTE_PS, PTE_RW, PTE_US
from rtl.isa.registers import Cr0, Cr4
from rtl.isa.svm import TlbControl
from vmm.memory import PhysicalMemory
from vmm.paging.guest import GuestMmu
from vmm.paging.mmu import DEFAULT_CAPACITY
from vmm.paging.nested import nested_walk
from vmm.paging.walk import GuestFault, Translated, walk
from vmm.state import CpuView

_PG, _WP, _PSE, _PGE = int(Cr0.PG), int(Cr0.WP), int(Cr4.PSE), int(Cr4.PGE)
_REGION_BITS = 10


class _Onlooker:
    """RAM that a walk leaves as it is; there are no entries elsewhere."""

    def __init__(self, memory: PhysicalMemory):
        self._memory = memory

    def read32(self, address: int) -> int:
        return self._memory.read32(address) if self._memory.is_plain(address >> 12) else 0

    def write32(self, address: int, value: int) -> None:
        """Accessed and dirty bits are not set."""


@dataclass
class _Space:
    """One ASID.

    Members
    -------
    directories, nested : frames of its directories, and of the nested tables it has been translated by.
    tables : frames of tables, with the first of the pages that each maps.
    pages, regions, large, all : what is open: pages, 4 MiB by number, pages of 4 MiB, everything.
    lasting : pages whose entry was global.
    """

    directories: set[int] = field(default_factory=set)
    nested: set[int] = field(default_factory=set)
    tables: set[tuple[int, int]] = field(default_factory=set)
    pages: set[int] = field(default_factory=set)
    lasting: set[int] = field(default_factory=set)
    regions: set[int] = field(default_factory=set)
    large: set[int] = field(default_factory=set)
    all: bool = False

    def changed(self, frame: int, index: int, was_large: bool, was_global: bool) -> None:
        """A present entry has changed, which in a directory may have been that of a large page."""
        pages = {first | index for table, first in self.tables if table == frame}
        self.pages |= pages
        if was_global:
            self.lasting |= pages
        if frame in self.directories:
            (self.large if was_large else self.regions).add(index)
        self.all |= frame in self.nested

    def is_open(self, page: int) -> bool:
        region = page >> _REGION_BITS
        return self.all or page in self.pages or region in self.regions or region in self.large

    def close(self, page: int) -> None:
        """INVLPG."""
        self.pages.discard(page)
        self.large.discard(page >> _REGION_BITS)


class WaryMmu(GuestMmu):
    """Translation for one processor in guest mode. Who compares clears the members.

    Members
    -------
    open_used : a translation has been used that another processor may have otherwise.
    reached : the frames of translations that were used.
    """

    def __init__(self, state: CpuView, memory: PhysicalMemory, capacity: int = DEFAULT_CAPACITY):
        super().__init__(state, memory, capacity)
        self.open_used = False
        self.reached: set[int] = set()
        self._onlooker = _Onlooker(memory)
        self._known: dict[int, _Space] = {}
        #: What the frames of tables have held.
        self._contents: dict[int, memoryview] = {}

    def _here(self) -> _Space:
        return self._known.setdefault(self.state.svm.asid, _Space())

    def translate(self, linear: int, write: bool, user: bool) -> int:
        self.open_used |= self._here().is_open(linear >> 12)
        physical = super().translate(linear, write, user)
        self.reached.add(physical >> 12)
        return physical

    # where tables are

    def _look_up(self, linear: int, write: bool, user: bool) -> Translated | GuestFault:
        self._remember(linear)
        return super()._look_up(linear, write, user)

    def _remember(self, linear: int) -> None:
        state = self.state
        if state.svm.nested:
            self._remember_nested(linear)
        if not state.cr0 & _PG:
            return
        directory = self._place(state.cr3 & FRAME_MASK)
        if directory is None:
            return
        self._here().directories.add(self._kept(directory))
        entry = self._onlooker.read32(directory << 12 | linear >> 22 << 2)
        if entry & PTE_P and not (entry & PTE_PS and state.cr4 & _PSE):
            table = self._place(entry & FRAME_MASK)
            if table is not None:
                self._here().tables.add((self._kept(table), linear >> 22 << _REGION_BITS))

    def _place(self, address: int) -> int | None:
        """The frame of a table that the guest knows by `address`."""
        svm = self.state.svm
        if not svm.nested:
            return address >> 12
        self._remember_nested(address)
        found = walk(self._onlooker, svm.n_cr3, address, write=False, user=False, wp=False, pse=svm.host_pse)
        return None if isinstance(found, GuestFault) else found.frame

    def _remember_nested(self, address: int) -> None:
        root = self.state.svm.n_cr3 & FRAME_MASK
        entry = self._onlooker.read32(root | address >> 22 << 2)
        self._here().nested.add(self._kept(root >> 12))
        if entry & PTE_P and not entry & PTE_PS:
            self._here().nested.add(self._kept(entry >> 12))

    def _kept(self, frame: int) -> int:
        """`frame`, whose contents are kept."""
        if frame not in self._contents and self.memory.is_plain(frame):
            self._contents[frame] = memoryview(bytearray(self.memory.blob(frame << 12, PAGE_SIZE))).cast("I")
        return frame

    # what opens

    def stored(self, writes: Iterable[tuple[int, int, int]]) -> None:
        """Writes to memory, as (physical address, size, value)."""
        for address, size, _value in writes:
            if address >> 12 in self._contents:
                for word in {address >> 2, address + size - 1 >> 2}:
                    self._changed(address >> 12, word & 0x3FF)

    def _changed(self, frame: int, index: int) -> None:
        before, after = self._contents[frame][index] | PTE_A | PTE_D, self.memory.read32(frame << 12 | index << 2)
        self._contents[frame][index] = after
        if before & PTE_P and before | after & (PTE_RW | PTE_US) != after:
            was_large = bool(before & PTE_PS and self.state.svm.guest and self.state.cr4 & _PSE)
            for space in self._known.values():
                space.changed(frame, index, was_large, bool(before & PTE_G))
            # the next use of any page comes here
            self.forget()
            self.on_flush(None)

    def _walk_again(self, page: int) -> object:
        """What the tables say of a page now."""
        state, svm = self.state, self.state.svm
        guest = state.cr3, bool(state.cr0 & _WP), bool(state.cr4 & _PSE)
        if svm.nested:
            return nested_walk(self._onlooker, svm.n_cr3, svm.host_pse, guest, page << 12, write=False, user=False)
        return walk(self._onlooker, guest[0], page << 12, write=False, user=False, wp=guest[1], pse=guest[2])

    # what closes

    def flush_all(self) -> None:
        super().flush_all()
        here = self._here()
        here.pages, here.regions, here.large = set(), set(), set()

    def flush_non_global(self) -> None:
        here = self._here()
        kept = here.pages & here.lasting, here.regions, here.large
        super().flush_non_global()
        if self.state.cr4 & _PGE:
            here.pages, here.regions, here.large = kept
            stale = {page for page, entry in self.entries.items() if self._walk_again(page) != entry}
            here.pages, here.lasting = here.pages | stale, here.lasting | stale

    def control(self, action: int) -> None:
        here = self._here()
        kept = here.pages & here.lasting, here.regions, here.large
        super().control(action)
        if action == TlbControl.ASID_LOCAL:
            here.pages, here.regions, here.large = kept
        elif action == TlbControl.ASID:
            self._known[self.state.svm.asid] = _Space()

    def flush_spaces(self) -> None:
        super().flush_spaces()
        self._known.clear()

    def invalidate(self, linear: int) -> None:
        super().invalidate(linear)
        self._here().close(linear >> 12)

    def invalidate_in(self, asid: int, linear: int) -> None:
        here = self._here()
        kept = set(here.pages), set(here.large)
        super().invalidate_in(asid, linear)
        here.pages, here.large = kept
        self._known.setdefault(asid, _Space()).close(linear >> 12)
