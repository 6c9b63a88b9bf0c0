"""The two-dimensional walk: guest tables in guest-physical memory, which nested tables map (AMD64 APM vol. 2, 15.25).

Contract, shared with the walker of the RTL and with the reference walk of the tests:

1. The nested tables are walked as in `vmm.paging.walk`, always as a user access. An access to a guest table is a write
   at the nested level, even when it only reads: A and D of the nested leaf are set, and it must be writable.
2. Order: for each guest level, the nested walk of its entry, then the entry; the guest's own checks; the guest's A and
   D bits; then the nested walk of the final address, a write if the access is one.
3. A guest fault writes nothing to the guest's tables; A and D bits of the nested walks already done stay.
4. A nested fault ends the walk where it is met. Its address is guest-physical, to the byte.
5. With the guest's paging off the linear address is the guest-physical one, and only the final walk is done.
"""

from __future__ import annotations

from dataclasses import dataclass

from rtl.isa.svm import NPF_FINAL, NPF_TABLE
from vmm.paging.walk import GuestFault, TableMemory, Translated, walk


@dataclass(frozen=True, slots=True)
class NestedFault:
    """The nested tables refuse: #NPF with these EXITINFO1 and EXITINFO2."""

    info: int
    address: int


class Refused(Exception):
    """A nested fault in the middle of a guest walk."""

    def __init__(self, fault: NestedFault):
        super().__init__(fault)
        self.fault = fault


class Marking:
    """Physical memory; `marked` is what a walk has written in it, by address."""

    def __init__(self, memory: TableMemory):
        self._memory = memory
        self.read32 = memory.read32
        self.marked: dict[int, int] = {}

    def write32(self, address: int, value: int) -> None:
        self.marked[address] = value
        self._memory.write32(address, value)


class NestedTables:
    """Guest-physical memory as the walk of the guest's tables sees it.

    Parameters
    ----------
    memory : physical memory. n_cr3, pse : root of the nested tables, and whether they may have 4 MiB entries.
    """

    def __init__(self, memory: TableMemory, n_cr3: int, pse: bool):
        self._machine = Marking(memory)
        self._n_cr3 = n_cr3
        self._pse = pse
        self._places: dict[int, int] = {}

    def translate(self, address: int, write: bool, cause: int) -> Translated:
        """One nested walk; `cause` is the bit of EXITINFO1 that says what it was for.

        Raises
        ------
        Refused
            The nested tables do not allow it.
        """
        outcome = walk(self._machine, self._n_cr3, address, write=write, user=True, wp=True, pse=self._pse)
        if isinstance(outcome, GuestFault):
            raise Refused(NestedFault(outcome.code | cause, address))
        return outcome

    def read32(self, address: int) -> int:
        place = self.translate(address, True, NPF_TABLE).frame << 12 | address & 0xFFF
        self._places[address] = place
        return self._machine.read32(place)

    def write32(self, address: int, value: int) -> None:
        """Of an entry that has been read: no other is ever written.

        An entry may be in tables of both dimensions, so that it has got bits since it was read.
        """
        place = self._places[address]
        self._machine.write32(place, value | self._machine.marked.get(place, 0))


def nested_walk(memory: TableMemory, n_cr3: int, nested_pse: bool, guest: tuple[int, bool, bool] | None, linear: int,
                *, write: bool, user: bool) -> Translated | GuestFault | NestedFault:
    """Translate `linear` through the guest's tables and the nested ones.

    `guest` is CR3, CR0.WP and CR4.PSE of the guest, None while its paging is off. The result has the machine's frame;
    `dirty` says that a write needs no walk as far as D bits and the nested rights go, `writable` and `user` are the
    guest's rights, and `large` is the guest's page size: what INVLPG drops.
    """
    tables = NestedTables(memory, n_cr3, nested_pse)
    try:
        if guest is None:
            inner = Translated(linear >> 12, True, True, True, False, False)
        else:
            cr3, wp, pse = guest
            outcome = walk(tables, cr3, linear, write=write, user=user, wp=wp, pse=pse)
            if isinstance(outcome, GuestFault):
                return outcome
            inner = outcome
        final = tables.translate(inner.frame << 12 | linear & 0xFFF, write, NPF_FINAL)
    except Refused as refused:
        return refused.fault
    return Translated(final.frame, inner.user, inner.writable, inner.dirty and final.dirty and final.writable,
                      inner.global_page, inner.large)
