"""The software MMU of a guest in lockstep: it knows where the architecture leaves a translation open.

A guest that changes an entry of its tables and does not invalidate it may see the old or the new translation, by what
its TLB happens to keep (AMD64 APM vol. 2, 5.5). Two right processors differ there. Rules:

1. Where walks have found a guest's directory and tables is remembered, for each ASID.
2. `stored` is told of every store. A present entry that is changed in a table leaves its page open; in a directory its
   4 MiB; in a nested table everything. One that only gets rights, or its accessed and dirty bits, does not: who finds
   too little in a TLB walks again.
3. INVLPG and INVLPGA close a page. What drops all translations of an ASID closes all of it, but what spares global
   ones does not: they may be the stale ones.
4. A write to CR3 leaves open the pages of global translations that the new tables do not have: they may stay.
5. A translation of what is open is done as ever, and sets `open_used`.

Members `reached` and `open_used` are for whoever compares, who clears them.
"""

from __future__ import annotations

from collections.abc import Iterable

from rtl.isa.paging import FRAME_MASK, PAGE_SIZE, PTE_A, PTE_D, PTE_P, PTE_PS, PTE_RW, PTE_US
from rtl.isa.registers import Cr0, Cr4
from rtl.isa.svm import ASIDS, TlbControl
from vmm.memory import PhysicalMemory
from vmm.paging.guest import GuestMmu
from vmm.paging.mmu import DEFAULT_CAPACITY
from vmm.paging.nested import nested_walk
from vmm.paging.walk import GuestFault, Translated, walk
from vmm.state import CpuView

_PG, _WP, _PSE, _PGE = int(Cr0.PG), int(Cr0.WP), int(Cr4.PSE), int(Cr4.PGE)
_REGION_BITS = 10


class _Onlooker:
    """Physical memory that a walk leaves as it is."""

    def __init__(self, memory: PhysicalMemory):
        self.read32 = memory.read32

    def write32(self, address: int, value: int) -> None:
        """Accessed and dirty bits are not set."""


class WaryMmu(GuestMmu):
    """Translation for one processor in guest mode.

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
        #: Frame of a table: who has it (ASID, first of its pages), and of a directory: (ASID, None).
        self._tables: dict[int, set[tuple[int, int | None]]] = {}
        self._nested: set[int] = set()
        #: What all these frames have held, but for accessed and dirty bits.
        self._contents: dict[int, memoryview] = {}
        self._open_pages: set[tuple[int, int]] = set()
        self._open_regions: set[tuple[int, int]] = set()

    def translate(self, linear: int, write: bool, user: bool) -> int:
        page, asid = linear >> 12, self.state.svm.asid
        if (asid, page) in self._open_pages or (asid, page >> _REGION_BITS) in self._open_regions:
            self.open_used = True
        physical = super().translate(linear, write, user)
        self.reached.add(physical >> 12)
        return physical

    def _look_up(self, linear: int, write: bool, user: bool) -> Translated | GuestFault:
        self._remember(linear)
        return super()._look_up(linear, write, user)

    # where tables are

    def _remember(self, linear: int) -> None:
        state, svm = self.state, self.state.svm
        if svm.nested:
            self._remember_nested(linear)
        if not state.cr0 & _PG:
            return
        directory = self._place(state.cr3 & FRAME_MASK)
        if directory is None:
            return
        self._add(directory, None)
        entry = self._onlooker.read32(directory << 12 | linear >> 22 << 2)
        if entry & PTE_P and not (entry & PTE_PS and state.cr4 & _PSE):
            table = self._place(entry & FRAME_MASK)
            if table is not None:
                self._add(table, linear >> 22 << _REGION_BITS)

    def _place(self, address: int) -> int | None:
        """The frame of a table that the guest knows by `address`."""
        svm = self.state.svm
        if not svm.nested:
            return address >> 12
        self._remember_nested(address)
        found = walk(self._onlooker, svm.n_cr3, address, write=False, user=False, wp=False, pse=svm.host_pse)
        return None if isinstance(found, GuestFault) else found.frame

    def _add(self, frame: int, first: int | None) -> None:
        self._tables.setdefault(frame, set()).add((self.state.svm.asid, first))
        self._keep(frame)

    def _remember_nested(self, address: int) -> None:
        root = self.state.svm.n_cr3
        entry = self._onlooker.read32(root & FRAME_MASK | address >> 22 << 2)
        for frame in [root >> 12, entry >> 12] if entry & PTE_P and not entry & PTE_PS else [root >> 12]:
            self._nested.add(frame)
            self._keep(frame)

    def _keep(self, frame: int) -> None:
        if frame not in self._contents:
            self._contents[frame] = memoryview(bytearray(self.memory.blob(frame << 12, PAGE_SIZE))).cast("I")

    def stored(self, writes: Iterable[tuple[int, int, int]]) -> None:
        """Writes to memory, as (physical address, size, value)."""
        for address, size, _value in writes:
            if address >> 12 in self._contents:
                for word in {address >> 2, address + size - 1 >> 2}:
                    self._changed(address >> 12, word & 0x3FF)

    def _changed(self, frame: int, index: int) -> None:
        before, after = self._contents[frame][index] | PTE_A | PTE_D, self.memory.read32(frame << 12 | index << 2)
        self._contents[frame][index] = after
        if not before & PTE_P or before | after & (PTE_RW | PTE_US) == after:
            return
        found = self._tables.get(frame, ())
        self._open_pages |= {(asid, first | index) for asid, first in found if first is not None}
        self._open_regions |= {(asid, index) for asid, first in found if first is None}
        if frame in self._nested:
            self._open_regions |= {(asid, region) for asid in range(1, ASIDS) for region in range(1 << _REGION_BITS)}
        # the next use of any page comes here
        self.forget()
        self.on_flush(None)

    # what closes

    def _close(self, asid: int) -> None:
        self._open_pages = {one for one in self._open_pages if one[0] != asid}
        self._open_regions = {one for one in self._open_regions if one[0] != asid}

    def flush_all(self) -> None:
        super().flush_all()
        self._close(self.state.svm.asid)

    def flush_non_global(self) -> None:
        kept = self._open_pages, self._open_regions
        super().flush_non_global()
        if self.state.cr4 & _PGE:
            self._open_pages, self._open_regions = kept
            stale = [page for page, entry in self.entries.items() if self._walk_again(page) != entry]
            self._open_pages |= {(self.state.svm.asid, page) for page in stale}

    def _walk_again(self, page: int) -> object:
        """What the tables say of a page now; no bit of them is set."""
        state, svm = self.state, self.state.svm
        guest = state.cr3, bool(state.cr0 & _WP), bool(state.cr4 & _PSE)
        if svm.nested:
            return nested_walk(self._onlooker, svm.n_cr3, svm.host_pse, guest, page << 12, write=False, user=False)
        return walk(self._onlooker, guest[0], page << 12, write=False, user=False, wp=guest[1], pse=guest[2])

    def control(self, action: int) -> None:
        kept = self._open_pages, self._open_regions
        super().control(action)
        if action == TlbControl.ASID_LOCAL:
            self._open_pages, self._open_regions = kept

    def flush_spaces(self) -> None:
        super().flush_spaces()
        self._open_pages, self._open_regions = set(), set()

    def invalidate(self, linear: int) -> None:
        super().invalidate(linear)
        self._open_pages.discard((self.state.svm.asid, linear >> 12))

    def invalidate_in(self, asid: int, linear: int) -> None:
        kept = set(self._open_pages)
        super().invalidate_in(asid, linear)
        self._open_pages = kept - {(asid, linear >> 12)}
