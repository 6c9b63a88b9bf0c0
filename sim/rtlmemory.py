"""Guest memory as the RTL processor sees it: RAM under the dirty lines of the data cache."""

from __future__ import annotations

import numpy as np

from .engines import Engine, Kind

_LINE = 32
_ARRAYS = "core.lsu.cache.arrays"


class CachedMemory:
    """Reads of physical memory that see what the data cache has not written back.

    Members
    -------
    dirty : dirty lines, physical address of the line -> its bytes.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._bytes = engine.ram.data.cast("B")
        self._names = {info.name.split(".")[-1].split("$")[0]: info for info in engine.signals()
                       if info.kind is Kind.MEMORY and info.name.startswith(f"{_ARRAYS}.")}
        self.dirty = self._dirty_lines()

    def _row(self, memory: str, row: int) -> int:
        return self._engine.peek(f"{self._names[memory].name}[{row}]")

    def _dirty_lines(self) -> dict[int, bytearray]:
        lines: dict[int, bytearray] = {}
        tag_bits = self._names["tags0"].width - 1
        set_bits = self._names["tags0"].depth.bit_length() - 1
        for index in range(self._names["tags0"].depth):
            dirty = self._row("dirty", index)
            for way in range(2):
                if dirty >> way & 1:
                    tag = self._row(f"tags{way}", index)
                    if tag >> tag_bits & 1:
                        address = ((tag & (1 << tag_bits) - 1) << set_bits | index) * _LINE
                        words = [self._row(f"words{way}", index * 8 + word) for word in range(8)]
                        lines[address] = bytearray(b"".join(word.to_bytes(4, "little") for word in words))
        return lines

    def read(self, address: int, size: int) -> bytes:
        """Bytes at a physical address; all ones past the end of RAM."""
        out = bytearray()
        for place in range(address, address + size):
            line = self.dirty.get(place & ~(_LINE - 1))
            if line is not None:
                out.append(line[place & (_LINE - 1)])
            else:
                out.append(self._bytes[place] if place < len(self._bytes) else 0xFF)
        return bytes(out)

    def write_back(self) -> None:
        """Put the dirty lines into RAM itself: for a processor that will not run on with this cache."""
        self._place(self._bytes)

    def image(self) -> np.ndarray:
        """A copy of RAM with the dirty lines in place."""
        ram = self._engine.ram.copy()
        self._place(ram.data.cast("B"))
        return ram

    def _place(self, view: memoryview) -> None:
        for address, line in self.dirty.items():
            if address + _LINE <= len(view):
                view[address:address + _LINE] = line
