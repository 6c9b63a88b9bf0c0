"""Stacks that the processor itself reads and writes: frames of gates and returns, and the stacks of inner levels.

A frame is checked before anything is written: its lowest value, then its highest one, each against the segment, for
alignment where its owner is CPL 3, and against paging with the privilege of its owner. Then its values go out highest
address first, as pushes would.
"""

from __future__ import annotations

from collections.abc import Sequence

from rtl.isa.exceptions import Vector, selector_error
from rtl.isa.registers import Gpr
from rtl.isa.tss import TSS16_STACK_STRIDE, TSS32_STACK_STRIDE, Tss16, Tss32
from vmm.engine.access import M32, span_allowed
from vmm.engine.segmentation import SS, TR, Loaded, Segmentation
from vmm.faults import Fault
from vmm.state import SegmentView

ESP = int(Gpr.ESP)


def cut(cache: SegmentView, offset: int) -> int:
    return offset & (M32 if cache.big else 0xFFFF)


class Frames(Segmentation):
    """Frames on the current stack and on stacks about to be current."""

    def probe_frame(self, cache: SegmentView, top: int, size: int, width: int, user: bool, error: int = 0) -> None:
        """Check that values of `width` bytes can be written in the `size` bytes below `top`, else #SS(error) or #PF."""
        self._probe_value(cache, cut(cache, top - size), width, user, error)
        if size != width:
            self._probe_value(cache, cut(cache, top - width), width, user, error)

    def _probe_value(self, cache: SegmentView, offset: int, width: int, user: bool, error: int) -> None:
        if not span_allowed(cache, offset, width, True):
            raise Fault(Vector.SS, error)
        if user:
            self.check_alignment(cache.base + offset & M32, width)
        self.touch(cache.base + offset & M32, width, True, user)

    def write_frame(self, cache: SegmentView, top: int, values: Sequence[int], size: int, user: bool) -> int:
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
        """`count` values of `size` bytes, `offset` bytes above the top of the current stack, read one by one."""
        cache = self.state.segments[SS]
        values: list[int] = []
        for place in range(offset, offset + count * size, size):
            start = cut(cache, self.state.gpr[ESP] + place)
            if not span_allowed(cache, start, size, False):
                raise Fault(Vector.SS, 0)
            values.append(self.load(cache.base + start & M32, size, SS))
        return values

    def inner_stack(self, level: int) -> tuple[Loaded, int]:
        """The stack of an inner level, from the TSS: its checked descriptor and its top."""
        task = self.state.segments[TR]
        if task.type & 8:
            start, size = Tss32.ESP0 + level * TSS32_STACK_STRIDE, 4
        else:
            start, size = Tss16.SP0 + level * TSS16_STACK_STRIDE, 2
        if start + size + 1 > task.limit:
            raise Fault(Vector.TS, selector_error(task.selector))
        top = self.read_system(task.base + start, size)
        selector = self.read_system(task.base + start + size, 2)
        return self.check_stack_segment(selector, level, Vector.TS), top
