"""The nested page tables of a guest, which follow what executors may do with the pages of its memory.

Guest-physical memory lies at its own address. A page that executors must leave alone (`Guard.ALL`) is not mapped, one
whose writes they must leave (`Guard.WRITES`) is read-only. So the guest leaves for the monitor where an executor in
software turns to `PhysicalMemory.read` and `write`.
"""

from __future__ import annotations

from rtl.isa.paging import PTE_A, PTE_D, PTE_P, PTE_PS, PTE_RW, PTE_US
from vmm.memory import PAGE, Guard, PhysicalMemory
from vmm.monitor.area import Area
from vmm.monitor.host import Host
from vmm.vcpu import VcpuError

_ENTRIES = PAGE // 4
_READ_ONLY = PTE_P | PTE_US | PTE_A
# A and D are set from the start, so that the processor writes nothing
_LEAF = _READ_ONLY | PTE_RW | PTE_D
_TABLE = _READ_ONLY | PTE_RW
_WRITES, _ALL = int(Guard.WRITES), int(Guard.ALL)


class NestedTables:
    """Writes the tables of an area; the guest does not run meanwhile.

    1. A directory entry is a page of 4 MiB, if the area wants that, while nothing is to be left alone there. It becomes
       a table then, and stays one.

    Parameters
    ----------
    host, area : where they lie. memory : the guest's, which begins at 0.
    """

    def __init__(self, host: Host, area: Area, memory: PhysicalMemory) -> None:
        self._host = host
        self._area = area
        self._memory = memory
        self._guards = b""
        self._tables: dict[int, int] = {}

    def follow(self) -> bool:
        """Bring the tables up to date; whether something has changed.

        Raises
        ------
        VcpuError
            There is no room for so many tables.
        """
        before, self._guards = self._guards, bytes(self._memory.guards)
        if before == self._guards:
            return False
        for number in range(-(-len(self._guards) // _ENTRIES)):
            piece = slice(number * _ENTRIES, (number + 1) * _ENTRIES)
            if before[piece] != self._guards[piece]:
                self._map(number, before[piece], self._guards[piece])
        return True

    def _map(self, number: int, before: bytes, guards: bytes) -> None:
        table = self._tables.get(number)
        if table is None:
            directory = self._area.nested_directory + 4 * number
            if self._area.large and len(guards) == _ENTRIES and not any(guards):
                self._host.set_word(directory, number * _ENTRIES * PAGE | _LEAF | PTE_PS)
                return
            if len(self._tables) == self._area.tables:
                raise VcpuError(f"a guest of the hardware has {self._area.tables} nested page tables, and needs more")
            table = self._tables[number] = self._area.nested_table + len(self._tables) * PAGE
            before = b""
            self._host.set_word(directory, table | _TABLE)
        for place, guard in enumerate(guards):
            if not before or before[place] != guard:
                flags = 0 if guard & _ALL else _READ_ONLY if guard & _WRITES else _LEAF
                address = (number * _ENTRIES + place) * PAGE
                self._host.set_word(table + 4 * place, address | flags if flags else 0)
