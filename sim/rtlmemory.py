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

    def _rows(self, memory: str) -> np.ndarray:
        return self._engine.rows(self._names[memory].name)

    def _dirty_lines(self) -> dict[int, bytearray]:
        lines: dict[int, bytearray] = {}
        tag_bits = self._names["tags0"].width - 1
        set_bits = self._names["tags0"].depth.bit_length() - 1
        dirty = self._rows("dirty")
        for way in range(2):
            tags, words = self._rows(f"tags{way}"), self._rows(f"words{way}")
            for index in np.flatnonzero((dirty >> way & 1) & (tags >> tag_bits & 1)).tolist():
                address = ((int(tags[index]) & (1 << tag_bits) - 1) << set_bits | index) * _LINE
                lines[address] = bytearray(words[index * 8:index * 8 + 8].tobytes())
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
