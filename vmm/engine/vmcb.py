"""A VMCB or host save area in physical memory, by field.

Fields of 64 bits are read and written as two words. The layout of a host save area is the processor's own affair (APM
15.30.4): ours is that of a VMCB, and the upper halves are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.segments import Attributes, mask
from rtl.isa.svm import SegmentField, Vmcb
from vmm.memory import PhysicalMemory
from vmm.state import SegmentCache, SegmentView

_ATTRIBUTES = mask(Attributes, *Attributes.widths)
_LIMIT, _BASE = int(SegmentField.LIMIT), int(SegmentField.BASE)
_M32 = 0xFFFF_FFFF


class Area:
    """One page with the layout of a VMCB.

    Parameters
    ----------
    memory, address : where it is. on_write : told of every write as (physical address, size, value).
    wide : whether the upper halves of fields are written.
    """

    def __init__(self, memory: PhysicalMemory, address: int, on_write: Callable[[int, int, int], None],
                 wide: bool = True):
        self._memory = memory
        self._address = address
        self._on_write = on_write
        self._wide = wide

    def word(self, field: int) -> int:
        return self._memory.read(self._address + field & _M32, 4)

    def byte(self, field: int) -> int:
        return self._memory.read(self._address + field & _M32, 1)

    def quad(self, field: int) -> int:
        return self.word(field) | self.word(field + 4) << 32

    def segment(self, field: Vmcb) -> SegmentCache:
        first = self.word(field)
        return SegmentCache(first & 0xFFFF, self.word(field + _BASE), self.word(field + _LIMIT),
                            first >> 16 & _ATTRIBUTES)

    def table(self, field: Vmcb) -> tuple[int, int]:
        """Base and limit of GDTR or IDTR."""
        return self.word(field + _BASE), self.word(field + _LIMIT) & 0xFFFF

    def put_byte(self, field: int, value: int) -> None:
        self._put(field, 1, value)

    def put_word(self, field: int, value: int) -> None:
        self._put(field, 4, value)

    def put_quad(self, field: int, value: int) -> None:
        self._put(field, 4, value & _M32)
        if self._wide:
            self._put(field + 4, 4, value >> 32)

    def put_segment(self, field: Vmcb, segment: SegmentView) -> None:
        self.put_word(field, segment.selector | segment.attributes << 16)
        self.put_word(field + _LIMIT, segment.limit)
        self.put_quad(field + _BASE, segment.base)

    def put_table(self, field: Vmcb, base: int, limit: int) -> None:
        self.put_word(field + _LIMIT, limit)
        self.put_quad(field + _BASE, base)

    def _put(self, field: int, size: int, value: int) -> None:
        address = self._address + field & _M32
        self._memory.write(address, size, value)
        self._on_write(address, size, value)
