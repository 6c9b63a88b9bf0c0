"""The monitor's own memory, behind the guest's, and what lies there when it begins.

| offset | what |
|---|---|
| 0000h | the stub |
| 1E00h | the frame; no line of it falls on lines of the VMCB in use |
| 2000h | VMCB |
| 3000h | host save area |
| 4000h | I/O permission map, all ones |
| 7000h | MSR permission map |
| 9000h | page directory of the host: everything, at its own address |
| A000h | page directory of nested paging: guest-physical memory, at its own address |
| B000h | nested page tables for what has no 4 MiB pages |
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from rtl.isa.msrs import Msr, PerfEvent
from rtl.isa.paging import PTE_A, PTE_D, PTE_P, PTE_PS, PTE_RW
from rtl.isa.svm import IOPM_BYTES, MSRPM_BYTES, msrpm_bit
from vmm.memory import PAGE

_LARGE = PAGE << 10
_LEAF = PTE_P | PTE_RW | PTE_A | PTE_D
#: MSRs the guest reaches without the monitor: read, written.
_READ = (Msr.TSC, Msr.SYSENTER_CS, Msr.SYSENTER_ESP, Msr.SYSENTER_EIP,
         *(Msr.PERF_BASE + event for event in PerfEvent))
_WRITTEN = (Msr.SYSENTER_CS, Msr.SYSENTER_ESP, Msr.SYSENTER_EIP)

#: How many nested page tables there is room for.
NESTED_TABLES = 4
AREA_BYTES = (11 + NESTED_TABLES) * PAGE


@dataclass(frozen=True, slots=True)
class Area:
    """Addresses, for a guest whose memory ends where the area begins.

    Members
    -------
    base : the first address, which is the size of the guest's memory.
    large : whether it is mapped with 4 MiB pages where they fit.
    tables : how many nested page tables there is room for; each maps 4 MiB.
    """

    base: int
    large: bool = True
    tables: int = NESTED_TABLES

    @property
    def stub(self) -> int:
        return self.base

    @property
    def frame(self) -> int:
        return self.base + 0x1E00

    @property
    def vmcb(self) -> int:
        return self.base + 0x2000

    @property
    def host_save(self) -> int:
        return self.base + 0x3000

    @property
    def iopm(self) -> int:
        return self.base + 0x4000

    @property
    def msrpm(self) -> int:
        return self.base + 0x7000

    @property
    def host_directory(self) -> int:
        return self.base + 0x9000

    @property
    def nested_directory(self) -> int:
        return self.base + 0xA000

    @property
    def nested_table(self) -> int:
        return self.base + 0xB000

    @property
    def size(self) -> int:
        return self.nested_table - self.base + self.tables * PAGE

    def contents(self) -> dict[int, bytes]:
        """What lies there besides the stub, the VMCB and the nested tables, by address."""
        host = [number * _LARGE | _LEAF | PTE_PS for number in range(1024)]
        return {self.iopm: b"\xFF" * IOPM_BYTES, self.msrpm: _msrpm(),
                self.host_directory: struct.pack(f"<{len(host)}I", *host)}


def _msrpm() -> bytes:
    """All intercepted but what the guest may have."""
    bits = bytearray(b"\xFF" * MSRPM_BYTES)
    for numbers, write in ((_READ, False), (_WRITTEN, True)):
        for number in numbers:
            place = msrpm_bit(number, write)
            assert place is not None
            bits[place // 8] &= ~(1 << place % 8)
    return bytes(bits)
