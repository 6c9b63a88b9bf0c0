"""Physical address space: RAM in one host buffer, and regions that are answered by callbacks.

Rules:

1. RAM is one little-endian buffer starting at physical 0, shared without copies with whoever passed it in.
2. A page is *plain* when all of it is RAM; executors may read and write plain pages through `bytes`/`words`.
3. 0A0000h-0FFFFFh is the hole of a PC. The text memory at 0B8000h-0BFFFFh reads and writes as RAM, so does
   0C0000h-0FFFFFh, where firmware tables are placed; 0A0000h-0B7FFFh is the graphics window and also backed by RAM.
4. A region registered with `map_region` wins over RAM. Everything else reads all ones and ignores writes.
5. An access may cross any boundary; it is then done byte by byte, low address first.
6. `guards` says by page of RAM what executors must not do on their own, whatever translation gives them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag

import numpy as np

PAGE = 4096
ReadRegion = Callable[[int, int], int]
WriteRegion = Callable[[int, int, int], None]


class Guard(IntFlag):
    """What executors leave to `PhysicalMemory.read` and `write`: every write to a page, or every access."""

    WRITES = 1
    ALL = 2


_ALL = int(Guard.ALL)


@dataclass(frozen=True, slots=True)
class Region:
    """A window of physical addresses; callbacks take the offset from `base` and the size in bytes."""

    base: int
    size: int
    read: ReadRegion
    write: WriteRegion


def new_ram(size: int) -> np.ndarray:
    """RAM of so many bytes, all zero, from the start of a page of the host on: then its lines are lines of the host."""
    room = np.zeros((size + PAGE) // 4, dtype=np.uint32)
    first = -room.ctypes.data % PAGE // 4
    return room[first:first + size // 4]


class PhysicalMemory:
    """RAM and memory-mapped regions of the machine.

    Parameters
    ----------
    ram : int | numpy.ndarray
        Size in bytes, or the buffer itself (`uint32` or `uint8`, contiguous) to share it with an RTL engine.

    Members
    -------
    ram, bytes, words : the buffer, and views of it by byte and by doubleword.
    watched : page numbers whose writes are announced.
    on_write : set by an engine that caches decoded code; called with (address, size) before RAM of a page in
        `watched` changes, and by `load_blob` always.
    guards : a `Guard` per page of RAM. An executor with native code puts its own memory here, with the same contents.
    on_guard : set by an engine with a TLB; to be called after guards were set.
    """

    def __init__(self, ram: int | np.ndarray):
        self.ram = new_ram(ram) if isinstance(ram, int) else ram
        self.bytes = memoryview(self.ram.data).cast("B")
        self.words = self.bytes.cast("I")
        self.size = len(self.bytes)
        if self.size % PAGE:
            raise ValueError(f"RAM size {self.size:#x} is not a multiple of {PAGE:#x}")
        self._regions: list[Region] = []
        self._plain_end = self.size
        self.watched: set[int] = set()
        self.on_write: Callable[[int, int], None] | None = None
        self.guards: bytearray | memoryview = bytearray(self.size // PAGE)
        self.on_guard: Callable[[], None] = lambda: None

    def map_region(self, region: Region) -> None:
        """Add a region.

        Raises
        ------
        ValueError
            It overlaps a region that is already there.
        """
        for other in self._regions:
            if region.base < other.base + other.size and other.base < region.base + region.size:
                raise ValueError(f"region at {region.base:#x} overlaps the one at {other.base:#x}")
        self._regions.append(region)
        self._plain_end = min(self._plain_end, region.base)
        for page in range(region.base // PAGE, min(-(-(region.base + region.size) // PAGE), self.size // PAGE)):
            self.guards[page] |= _ALL
        self.on_guard()

    def is_plain(self, page: int) -> bool:
        """Whether physical page number `page` can be accessed through the RAM buffer alone."""
        return page < len(self.guards) and not self.guards[page] & _ALL

    def read(self, address: int, size: int) -> int:
        if address + size <= self._plain_end:
            return int.from_bytes(self.bytes[address:address + size], "little")
        return self._read_slow(address, size)

    def write(self, address: int, size: int, value: int) -> None:
        if address + size <= self._plain_end:
            if address >> 12 in self.watched or (address + size - 1) >> 12 in self.watched:
                self.announce(address, size)
            self.bytes[address:address + size] = value.to_bytes(size, "little")
        else:
            self._write_slow(address, size, value)

    def check_write(self, address: int, size: int) -> None:
        """Asked about each part of a write in parts before any is written; what refuses the write raises."""

    def read32(self, address: int) -> int:
        return self.read(address, 4)

    def write32(self, address: int, value: int) -> None:
        self.write(address, 4, value)

    def load_blob(self, address: int, data: bytes) -> None:
        """Place bytes in RAM, as a loader does.

        Raises
        ------
        ValueError
            They do not fit.
        """
        if address < 0 or address + len(data) > self.size:
            raise ValueError(f"{len(data)} bytes at {address:#x} do not fit in {self.size:#x} bytes of RAM")
        if self.on_write is not None:
            self.on_write(address, len(data))
        self.bytes[address:address + len(data)] = data

    def blob(self, address: int, size: int) -> bytes:
        return bytes(self.bytes[address:address + size])

    def words_at(self, address: int, count: int) -> tuple[int, ...]:
        return struct.unpack_from(f"<{count}I", self.bytes, address)

    def announce(self, address: int, size: int) -> None:
        """Say that RAM changes, or has been changed by somebody who does not say it."""
        if self.on_write is not None:
            self.on_write(address, size)

    def _region(self, address: int) -> Region | None:
        for region in self._regions:
            if region.base <= address < region.base + region.size:
                return region
        return None

    def _whole(self, address: int, size: int) -> Region | bool | None:
        """The region holding all of the access, True for RAM, None for nobody, False when it must be split."""
        region, last = self._region(address), self._region(address + size - 1)
        if region is not last:
            return False
        if region is not None:
            return region
        if address + size <= self.size:
            return True
        return None if address >= self.size else False

    def _read_slow(self, address: int, size: int) -> int:
        owner = self._whole(address, size)
        if owner is True:
            return int.from_bytes(self.bytes[address:address + size], "little")
        if owner is None:
            return (1 << 8 * size) - 1
        if owner is False:
            return sum(self._read_slow(address + i & 0xFFFF_FFFF, 1) << 8 * i for i in range(size))
        return owner.read(address - owner.base, size)

    def _write_slow(self, address: int, size: int, value: int) -> None:
        owner = self._whole(address, size)
        if owner is True:
            if address >> 12 in self.watched or (address + size - 1) >> 12 in self.watched:
                self.announce(address, size)
            self.bytes[address:address + size] = value.to_bytes(size, "little")
        elif owner is False:
            for i in range(size):
                self._write_slow(address + i & 0xFFFF_FFFF, 1, value >> 8 * i & 0xFF)
        elif owner is not None:
            owner.write(address - owner.base, size, value)
