"""Guest-physical memory made of slots: what a virtual machine has instead of one block of RAM.

Rules:

1. A slot is whole pages of guest-physical addresses and as many bytes of host memory. Slots do not overlap.
2. A slot without host memory of its own lies in the *window*, one block of host memory for addresses from 0: executors
   reach it directly. A slot with its own memory shares it without a copy, and each access is looked up in the slots.
3. A write to a read-only slot, and any access where no slot is, goes to `device`.
4. While a slot logs, its first write to each page since the log was read marks the page. Writes of page tables by the
   processor count, writes of the host do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vmm.memory import PAGE, Guard, PhysicalMemory

_SPACE = 1 << 32
_WRITES, _ALL = int(Guard.WRITES), int(Guard.ALL)


class SlotError(ValueError):
    """A slot cannot be what was asked; the message is one sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class MemorySlot:
    """Part of guest-physical memory, known by its identity.

    Members
    -------
    guest_base, size : where it lies, in whole pages. host : its memory, or None for a part of the window.
    is_read_only : writes of the guest become MMIO exits. log_dirty : whether pages written are noted.
    """

    guest_base: int
    size: int
    host: bytearray | memoryview | np.ndarray | None = None
    is_read_only: bool = False
    log_dirty: bool = False

    @property
    def end(self) -> int:
        return self.guest_base + self.size

    def __str__(self) -> str:
        return f"slot {self.guest_base:#x}-{self.end - 1:#x}"


class Outside(Protocol):
    """Who answers accesses to no slot; `check` is asked before a write in parts."""

    def check(self) -> None: ...
    def read(self, address: int, size: int) -> int: ...
    def write(self, address: int, size: int, value: int) -> None: ...


class Nothing:
    """Reads all ones."""

    def check(self) -> None:
        pass

    def read(self, address: int, size: int) -> int:
        return (1 << 8 * size) - 1

    def write(self, address: int, size: int, value: int) -> None:
        pass


@dataclass(slots=True)
class _Mapped:
    """A slot in place: its bytes, and per page whether it was written since the log was read."""

    slot: MemorySlot
    bytes: memoryview
    dirty: bytearray


class SlotMemory(PhysicalMemory):
    """Physical memory for an executor.

    Parameters
    ----------
    window : bytes of the window, or the buffer.

    Members
    -------
    device : who answers where no slot is. slow_accesses : accesses so far outside of the directly reached pages.
    """

    def __init__(self, window: int | np.ndarray):
        super().__init__(window)
        self.guards[:] = bytes([_ALL]) * len(self.guards)
        self.device: Outside = Nothing()
        self.slow_accesses = 0
        self._slots: dict[MemorySlot, _Mapped] = {}

    @property
    def slots(self) -> tuple[MemorySlot, ...]:
        return tuple(self._slots)

    def map(self, slot: MemorySlot) -> None:
        """Put a slot in place.

        Raises
        ------
        SlotError
            It is not made of whole pages of the address space, overlaps another, or does not have its memory.
        """
        if slot.guest_base % PAGE or slot.size % PAGE or slot.size <= 0:
            raise SlotError(f"{slot} is not made of whole pages of {PAGE:#x} bytes")
        if slot.guest_base < 0 or slot.end > _SPACE:
            raise SlotError(f"{slot} is not inside of the 32-bit address space")
        for other in self._slots:
            if slot.guest_base < other.end and other.guest_base < slot.end:
                raise SlotError(f"{slot} overlaps {other}")
        self._slots[slot] = _Mapped(slot, self._memory_of(slot), bytearray(slot.size // PAGE))
        if slot.host is None:
            guard = _WRITES if slot.is_read_only or slot.log_dirty else 0
            self._guard(slot, bytes([guard]) * (slot.size // PAGE))

    def unmap(self, slot: MemorySlot) -> None:
        """Take a slot away; its memory stays as it is.

        Raises
        ------
        SlotError
            It is not in place.
        """
        self._mapped(slot)
        del self._slots[slot]
        if slot.host is None:
            for page in self.watched & set(range(slot.guest_base // PAGE, slot.end // PAGE)):
                self.announce(page * PAGE, PAGE)
            self._guard(slot, bytes([_ALL]) * (slot.size // PAGE))

    def dirty_pages(self, slot: MemorySlot) -> list[int]:
        """Pages of a slot, counted from its start, written since the log was read; the log begins anew.

        Raises
        ------
        SlotError
            It is not in place, or does not log.
        """
        mapped = self._mapped(slot)
        if not slot.log_dirty:
            raise SlotError(f"{slot} does not log; map it with log_dirty")
        found = [page for page, dirty in enumerate(mapped.dirty) if dirty]
        if found:
            mapped.dirty[:] = bytes(len(mapped.dirty))
            if slot.host is None:
                self._guard(slot, bytes([_WRITES]) * len(mapped.dirty))
        return found

    def admit_write(self, address: int) -> bool:
        """Whether somebody else may write directly to a page of the window from now on; the log has it then."""
        mapped = self._at(address)
        if mapped is None or mapped.slot.is_read_only or mapped.slot.host is not None:
            return False
        self.guards[address >> 12] &= ~_WRITES & 0xFF
        mapped.dirty[address - mapped.slot.guest_base >> 12] = 1
        return True

    def host_bytes(self, address: int, size: int) -> memoryview:
        """The host memory of guest-physical bytes.

        Raises
        ------
        SlotError
            They are not all in one slot.
        """
        for slot, mapped in self._slots.items():
            if slot.guest_base <= address and address + size <= slot.end:
                return mapped.bytes[address - slot.guest_base:][:size]
        raise SlotError(f"{size:#x} bytes at {address:#x} are not in one slot")

    def _mapped(self, slot: MemorySlot) -> _Mapped:
        mapped = self._slots.get(slot)
        if mapped is None:
            raise SlotError(f"{slot} is not mapped")
        return mapped

    def _memory_of(self, slot: MemorySlot) -> memoryview:
        if slot.host is None:
            if slot.end > self.size:
                raise SlotError(f"{slot} has no host memory and does not fit in the window of {self.size:#x} bytes")
            return self.bytes[slot.guest_base:slot.end]
        host = memoryview(slot.host.data if isinstance(slot.host, np.ndarray) else slot.host).cast("B")
        if len(host) != slot.size or host.readonly:
            raise SlotError(f"{slot} needs {slot.size:#x} bytes of writable host memory, not {len(host):#x}"
                            + (" that are read-only" if host.readonly else ""))
        return host

    def _guard(self, slot: MemorySlot, guards: bytes) -> None:
        self.guards[slot.guest_base // PAGE:slot.end // PAGE] = guards
        self.on_guard()

    # accesses of the processor

    def check_write(self, address: int, size: int) -> None:
        mapped = self._at(address)
        if mapped is None or mapped.slot.is_read_only:
            self.device.check()

    def read(self, address: int, size: int) -> int:
        page = address >> 12
        if page < len(self.guards) and not self.guards[page] & _ALL and (address & 0xFFF) + size <= PAGE:
            return int.from_bytes(self.bytes[address:address + size], "little")
        return self._read_slow(address, size)

    def write(self, address: int, size: int, value: int) -> None:
        page = address >> 12
        if page < len(self.guards) and not self.guards[page] and (address & 0xFFF) + size <= PAGE:
            if page in self.watched:
                self.announce(address, size)
            self.bytes[address:address + size] = value.to_bytes(size, "little")
        else:
            self._write_slow(address, size, value)

    def _at(self, address: int) -> _Mapped | None:
        for slot, mapped in self._slots.items():
            if slot.guest_base <= address < slot.end:
                return mapped
        return None

    def _read_slow(self, address: int, size: int) -> int:
        first = min(size, PAGE - (address & 0xFFF))
        if first < size:
            return self.read(address, first) | self.read(address + first & 0xFFFF_FFFF, size - first) << 8 * first
        self.slow_accesses += 1
        mapped = self._at(address)
        if mapped is None:
            return self.device.read(address, size)
        place = address - mapped.slot.guest_base
        return int.from_bytes(mapped.bytes[place:place + size], "little")

    def _write_slow(self, address: int, size: int, value: int) -> None:
        first = min(size, PAGE - (address & 0xFFF))
        if first < size:
            self.write(address, first, value & (1 << 8 * first) - 1)
            self.write(address + first & 0xFFFF_FFFF, size - first, value >> 8 * first)
            return
        self.slow_accesses += 1
        mapped = self._at(address)
        if mapped is None or mapped.slot.is_read_only:
            self.device.write(address, size, value)
            return
        slot = mapped.slot
        place, page = address - slot.guest_base, address >> 12
        if slot.host is None:
            self.guards[page] &= ~_WRITES & 0xFF
            if page in self.watched:
                self.announce(address, size)
        mapped.bytes[place:place + size] = value.to_bytes(size, "little")
        mapped.dirty[place >> 12] = 1
