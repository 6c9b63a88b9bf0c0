"""The page walk of 32-bit paging: 4 KiB pages, and 4 MiB pages under CR4.PSE.

Contract, shared with the walker of the RTL (lockstep compares the tables in memory):

1. All levels are read and checked before anything is written. A walk that faults writes nothing.
2. A walk that succeeds sets A where it is clear, in the directory entry first, then in the table entry, and D in
   the leaf for a write. An entry is written only if a bit changes.
3. U/S and R/W are the AND of both levels. Supervisor writes ignore R/W unless CR0.WP is set.
4. PS is ignored while CR4.PSE is 0. With it, bits 21-12 of a 4 MiB entry are reserved (there is no PSE-36): one set
   bit is a fault with RSVD and P in the error code, whatever the rights. Intel SDM vol. 3, 4.3 and 4.7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rtl.isa import paging as isa


class TableMemory(Protocol):
    """Where page tables are: physical memory now, another translation when paging nests."""

    def read32(self, address: int) -> int: ...

    def write32(self, address: int, value: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Translated:
    """A translation of one 4 KiB page, possibly a piece of a 4 MiB one."""

    frame: int
    user: bool
    writable: bool
    dirty: bool
    global_page: bool
    large: bool


@dataclass(frozen=True, slots=True)
class GuestFault:
    """The guest's own tables refuse the access: #PF with this error code."""

    code: int


Outcome = Translated | GuestFault


def walk(memory: TableMemory, cr3: int, linear: int, *, write: bool, user: bool, wp: bool, pse: bool) -> Outcome:
    """Translate `linear` through the tables at `cr3`."""
    request = (isa.PF_W if write else 0) | (isa.PF_U if user else 0)
    pde_address = (cr3 & isa.FRAME_MASK) | (linear >> 22) << 2
    pde = memory.read32(pde_address)
    if not pde & isa.PTE_P:
        return GuestFault(request)
    large = pse and bool(pde & isa.PTE_PS)
    if large:
        if pde & isa.PDE_LARGE_RESERVED:
            return GuestFault(request | isa.PF_P | isa.PF_RSVD)
        leaf_address, leaf, rights = pde_address, pde, pde
        frame = (pde & isa.PDE_LARGE_MASK | linear & ~isa.PDE_LARGE_MASK) >> 12
    else:
        leaf_address = (pde & isa.FRAME_MASK) | (linear >> 12 & 0x3FF) << 2
        leaf = memory.read32(leaf_address)
        if not leaf & isa.PTE_P:
            return GuestFault(request)
        rights = pde & leaf
        frame = leaf >> 12
    allowed_user, writable = bool(rights & isa.PTE_US), bool(rights & isa.PTE_RW)
    if user and not allowed_user or write and not writable and (user or wp):
        return GuestFault(request | isa.PF_P)

    if not large and not pde & isa.PTE_A:
        memory.write32(pde_address, pde | isa.PTE_A)
    wanted = leaf | isa.PTE_A | (isa.PTE_D if write else 0)
    if wanted != leaf:
        memory.write32(leaf_address, wanted)
    return Translated(
        frame, allowed_user, writable, bool(wanted & isa.PTE_D), bool(leaf & isa.PTE_G), large)
