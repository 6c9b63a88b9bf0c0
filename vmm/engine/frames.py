"""Stacks that the processor itself reads and writes: frames of gates and returns, and the stacks of inner levels.

A frame is checked whole, against the segment and then against paging with the privilege of its owner, before anything
is written. Then its values go out highest address first, as pushes would.
"""

from __future__ import annotations

from collections.abc import Sequence

from rtl.isa.exceptions import Vector, selector_error
from rtl.isa.registers import Gpr
from rtl.isa.tss import TSS16_STACK_STRIDE, TSS32_STACK_STRIDE, Tss16, Tss32
from vmm.engine.access import M32, span_allowed
from vmm.engine.segmentation import SS, TR, Loaded, Segmentation
from vmm.faults import Fault
from vmm.state import SegmentCache

ESP = int(Gpr.ESP)


def cut(cache: SegmentCache, offset: int) -> int:
    return offset & (M32 if cache.big else 0xFFFF)


class Frames(Segmentation):
    """Frames on the current stack and on stacks about to be current."""

    def check_room(self, cache: SegmentCache, top: int, size: int, error: int) -> None:
        """#SS(error) unless `size` bytes fit below `top`."""
        if not span_allowed(cache, cut(cache, top - size), size, True):
            raise Fault(Vector.SS, error)

    def probe_frame(self, cache: SegmentCache, top: int, size: int, user: bool) -> None:
        """Translate the frame for writing, the lower page first."""
        self.pieces(cache.base + cut(cache, top - size) & M32, size, True, user)

    def write_frame(self, cache: SegmentCache, top: int, values: Sequence[int], size: int, user: bool) -> int:
        """Push values of `size` bytes on a probed stack; the new top."""
        for value in values:
            top = cut(cache, top - size)
            self.write(cache.base + top & M32, size, value & (1 << 8 * size) - 1, user)
        return top

    def set_stack_pointer(self, value: int) -> None:
        """ESP, or only SP where the stack segment is a 16-bit one."""
        gpr = self.state.gpr
        gpr[ESP] = value & M32 if self.state.segments[SS].big else gpr[ESP] & 0xFFFF_0000 | value & 0xFFFF

    def stack_top(self) -> int:
        return cut(self.state.segments[SS], self.state.gpr[ESP])

    def peek_stack(self, offset: int, count: int, size: int) -> list[int]:
        """`count` values of `size` bytes, `offset` bytes above the top of the current stack."""
        cache = self.state.segments[SS]
        start = cut(cache, self.state.gpr[ESP] + offset)
        if not span_allowed(cache, start, count * size, False):
            raise Fault(Vector.SS, 0)
        user = self.state.cpl == 3
        self.pieces(cache.base + start & M32, count * size, False, user)
        return [self.read(cache.base + start + k * size & M32, size, user) for k in range(count)]

    def inner_stack(self, level: int, ext: int = 0) -> tuple[Loaded, int]:
        """The stack of an inner level, from the TSS: its checked descriptor and its top."""
        task = self.state.segments[TR]
        if task.type & 8:
            start, size = Tss32.ESP0 + level * TSS32_STACK_STRIDE, 4
        else:
            start, size = Tss16.SP0 + level * TSS16_STACK_STRIDE, 2
        if start + size + 1 > task.limit:
            raise Fault(Vector.TS, selector_error(task.selector, ext))
        top = self.read_system(task.base + start, size)
        selector = self.read_system(task.base + start + size, 2)
        return self.check_stack_segment(selector, level, Vector.TS, ext), top
