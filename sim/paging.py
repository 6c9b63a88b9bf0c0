"""Translation for an onlooker: no rights are checked and no accessed bits are set."""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.paging import FRAME_MASK, LARGE_PAGE_SIZE, PAGE_SIZE, PDE_LARGE_MASK, PTE_P, PTE_PS
from rtl.isa.registers import Cr0, Cr4

from .stop import ArchState

_PG, _PSE = int(Cr0.PG), int(Cr4.PSE)


def translate(read32: Callable[[int], int], state: ArchState, linear: int) -> int | None:
    """Physical address of a linear one under the control registers of `state`; None where nothing is mapped."""
    if not state["cr0"] & _PG:
        return linear
    entry = read32((state["cr3"] & FRAME_MASK) + (linear >> 22) * 4)
    if not entry & PTE_P:
        return None
    if entry & PTE_PS and state["cr4"] & _PSE:
        return entry & PDE_LARGE_MASK | linear & LARGE_PAGE_SIZE - 1
    entry = read32((entry & FRAME_MASK) + (linear >> 12 & 0x3FF) * 4)
    return entry & FRAME_MASK | linear & PAGE_SIZE - 1 if entry & PTE_P else None


def read_linear(read: Callable[[int, int], bytes], state: ArchState, linear: int, size: int) -> bytes:
    """Bytes at a linear address, up to the first page that is not mapped; `read` gives physical bytes."""
    def read32(address: int) -> int:
        return int.from_bytes(read(address, 4), "little")

    out = bytearray()
    while size > 0:
        part = min(size, PAGE_SIZE - (linear & PAGE_SIZE - 1))
        physical = translate(read32, state, linear)
        if physical is None:
            break
        out += read(physical, part)
        linear, size = linear + part & 0xFFFF_FFFF, size - part
    return bytes(out)
