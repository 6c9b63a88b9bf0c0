"""What a page walk reads, step by step, in one dimension or in two, for an onlooker: no bit is set on the way.

AMD64 APM vol. 2, 15.25.5 and 15.25.6; Intel SDM vol. 3A, 4.3. Every access to a guest's table is a user write to the
nested tables; the final one is what the access itself is, and a user's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rtl.isa.paging import (
    FRAME_MASK,
    LARGE_PAGE_SIZE,
    PAGE_SIZE,
    PDE_LARGE_MASK,
    PDE_LARGE_RESERVED,
    PF_U,
    PF_W,
    PTE_A,
    PTE_D,
    PTE_G,
    PTE_P,
    PTE_PCD,
    PTE_PS,
    PTE_PWT,
    PTE_RW,
    PTE_US,
)
from rtl.isa.registers import Cr0, Cr4
from rtl.isa.svm import NPF_FINAL, NPF_TABLE

from .stop import ArchState

_PF_P, _PF_RSVD = 1, 8
_BITS = (("P", PTE_P), ("RW", PTE_RW), ("US", PTE_US), ("PWT", PTE_PWT), ("PCD", PTE_PCD), ("A", PTE_A), ("D", PTE_D),
         ("PS", PTE_PS), ("G", PTE_G))


@dataclass(frozen=True)
class Access:
    """What the address is wanted for."""

    write: bool = False
    user: bool = False


@dataclass(frozen=True)
class _Dimension:
    """One set of tables. `bits` are of the final word of EXITINFO1, `locate` says where an entry is in memory."""

    name: str
    root: int
    pse: bool
    wp: bool
    locate: Callable[[int, int], int]


class _Refused(Exception):
    """The walk ends here; its message says how."""


@dataclass
class WalkText:
    """The lines of one walk.

    Members
    -------
    lines : the text. references : entries of the guest's tables (or of the only ones) and of the nested ones read.
    physical : where the address is in memory; None if a fault ends the walk.
    """

    read32: Callable[[int], int]
    lines: list[str] = field(default_factory=list)
    references: list[int] = field(default_factory=lambda: [0, 0])
    physical: int | None = None

    def say(self, depth: int, text: str) -> None:
        self.lines.append("  " * depth + text)


def explain_walk(read32: Callable[[int], int], state: ArchState, linear: int, access: Access) -> WalkText:
    """The walk of `linear` under the registers of `state`; `read32` reads physical memory."""
    text = WalkText(read32)
    svm = state.get("svm", {})
    nested = bool(svm.get("guest") and svm["nested"])
    paging = bool(state["cr0"] & Cr0.PG)
    text.say(0, f"{'guest-virtual' if nested else 'linear'} address {linear:08X}, "
                f"{'user' if access.user else 'supervisor'} {'write' if access.write else 'read'}: {_mode(state)}")

    def through_host(gpa: int, depth: int, write: bool, bit: int) -> int:
        host = _Dimension("nested", svm["n_cr3"], svm["host_pse"], True, lambda entry, _depth: entry)
        try:
            return _walk(text, host, gpa, Access(write, True), depth, 1)
        except _Fault as fault:
            where = "final address" if bit == NPF_FINAL else "entry of the guest's tables"
            raise _Refused(f"#NPF: {_why(fault.code)}; EXITINFO1 {bit | fault.code:X}h ({where}), "
                           f"EXITINFO2 {gpa:X}h") from None

    def place_of(entry: int, depth: int) -> int:
        if not nested:
            return entry
        text.say(depth, f"entry at guest-physical {entry:08X}, through N_CR3 {svm['n_cr3']:08X} as a user write:")
        return through_host(entry, depth + 1, True, NPF_TABLE)

    try:
        address = linear
        if paging:
            tables = _Dimension("guest" if nested else "", state["cr3"], bool(state["cr4"] & Cr4.PSE),
                                bool(state["cr0"] & Cr0.WP), place_of)
            address = _walk(text, tables, linear, access, 0, 0)
        if nested:
            text.say(0, f"guest-physical {address:08X}, through N_CR3 {svm['n_cr3']:08X}:")
            address = through_host(address, 1, access.write, NPF_FINAL)
        text.physical = address
        guest, host = text.references
        counts = f"{guest + host} references: {guest} guest, {host} nested" if nested else f"{guest} references"
        text.say(0, f"physical address {address:08X}; {counts}")
    except _Fault as fault:
        text.say(0, f"#PF: {_why(fault.code)}; error code {fault.code:X}h, CR2 {linear:08X}")
    except _Refused as refused:
        text.say(0, str(refused))
    return text


class _Fault(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _walk(text: WalkText, tables: _Dimension, address: int, access: Access, depth: int, dimension: int) -> int:
    """The address that `tables` make of `address`, or `_Fault`."""
    request = (PF_W if access.write else 0) | (PF_U if access.user else 0)
    rights = PTE_RW | PTE_US
    table = tables.root & FRAME_MASK
    for level, (name, index) in enumerate((("directory", address >> 22), ("table", address >> 12 & 0x3FF))):
        place = tables.locate(table + 4 * index, depth)
        entry = text.read32(place)
        text.references[dimension] += 1
        large = level == 0 and bool(entry & PTE_PS) and tables.pse
        rights &= entry
        target = f"4 MiB page {entry & PDE_LARGE_MASK:08X}" if large else \
            f"{'page' if level else 'table'} {entry & FRAME_MASK:08X}"
        text.say(depth, f"{f'{tables.name} {name}'.strip()} entry {index:X}h at {place:08X}: {entry:08X}, "
                        f"{target if entry & PTE_P else 'not present'} [{_bits(entry)}]")
        if not entry & PTE_P:
            raise _Fault(request)
        if large and entry & PDE_LARGE_RESERVED:
            raise _Fault(request | _PF_P | _PF_RSVD)
        if large or level:
            break
        table = entry & FRAME_MASK
    if access.user and not rights & PTE_US or access.write and not rights & PTE_RW and (access.user or tables.wp):
        raise _Fault(request | _PF_P)
    if large:
        return entry & PDE_LARGE_MASK | address & LARGE_PAGE_SIZE - 1
    return entry & FRAME_MASK | address & PAGE_SIZE - 1


def _bits(entry: int) -> str:
    return " ".join(name for name, bit in _BITS if entry & bit)


def _why(code: int) -> str:
    """A page fault's error code in words."""
    if code & _PF_RSVD:
        return "a reserved bit is set"
    if not code & _PF_P:
        return "not present"
    return "no right to " + ("write" if code & PF_W else "read") + (" as a user" if code & PF_U else "")


def _mode(state: ArchState) -> str:
    svm = state.get("svm", {})
    paging = f"CR3 {state['cr3']:08X}" if state["cr0"] & Cr0.PG else "paging off"
    if not svm.get("guest"):
        return f"host mode, {paging}" if svm else paging
    nested = f"N_CR3 {svm['n_cr3']:08X}" if svm["nested"] else "no nested paging"
    return f"guest mode, ASID {svm['asid']}, {paging}, {nested}"
