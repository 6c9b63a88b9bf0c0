"""The routines of the machine and of the timing model as native code: the model sees every access of a routine."""

from __future__ import annotations

from dataclasses import replace

from rtl.isa.exceptions import Vector
from vmm.engine.dbt import native, runtime
from vmm.engine.dbt.layout import offset
from vmm.engine.dbt.native import BINDING, NativeProcessor
from vmm.faults import Fault
from vmm.lowering.intrinsics import rarely
from vmm.timing.costs import Costs
from vmm.timing.native import NativeCaches

#: Entry points that translated code calls besides `native.ROUTINES`; they keep the registers of who calls them.
CALLS = ("charge_access", "charge_fetch")
#: Places among the context's routines.
PLACES = runtime.PLACES | {name: len(runtime.PLACES) + number for number, name in enumerate(CALLS)}
#: In an argument of `charge_access`, behind the size.
WRITE = 1 << 8
_M32, _PF = 0xFFFF_FFFF, int(Vector.PF)
_EVENTS = ("exception", "outer_event", "error_code", "page_fault")


class TimedProcessor(NativeProcessor):
    """The interpreter's routines, which take none of the short cuts past `pieces`."""

    model: NativeCaches
    ahead: int
    charged: int
    caches: bool
    exception_cycles: int
    outer_event_cycles: int
    error_code_cycles: int
    page_fault_cycles: int

    def read(self, linear: int, size: int, user: bool) -> int:
        return self.read_slow(linear, size, user)

    def write(self, linear: int, size: int, value: int, user: bool) -> None:
        self.write_slow(linear, size, value, user)

    def touch(self, linear: int, size: int, write: bool, user: bool) -> None:
        self.touch_slow(linear, size, write, user)

    def pieces(self, linear: int, size: int, write: bool, user: bool) -> list[tuple[int, int]]:
        result = super().pieces(linear, size, write, user)
        if not self.caches:
            return result
        if len(result) == 1:
            self.charge_data(linear, result[0][0], size, write, self.ahead)
        else:
            self.charge_across(linear, result[0][0], result[0][1], result[1][0], size, write, self.ahead)
        self.charged += 1
        return result

    def write_control(self, number: int, value: int) -> None:
        super().write_control(number, value)
        if number == 3:
            self.model.load_directory(value)

    def invalidate_page(self, segment: int, offset: int) -> None:
        super().invalidate_page(segment, offset)
        self.model.invalidate(self.state.segments[segment].base + offset & _M32)

    def take_fault(self, vector: int, error: int | None, cr2: int | None) -> bool:
        level = self.state.cpl
        self.charged = 0
        delivered = self.raise_fault(Fault(vector, error, cr2), True)
        self._awake()
        if delivered is None:
            return False
        cycles = self.exception_cycles
        if self.state.cpl < level:
            cycles += self.outer_event_cycles
        if delivered.error is not None:
            cycles += self.error_code_cycles
        if delivered.vector == _PF:
            cycles += self.page_fault_cycles
        self.model.state.cycles += cycles
        return True

    def access_done(self, linear: int, size: int, write: bool, offset: int) -> None:
        """An access that translated code has made. One across pages was a routine's, and has been seen."""
        if (linear & 0xFFF) + size <= 0x1000:
            physical = self.mmu.translate(linear, write, self.state.cpl == 3)
            self.charge_data(linear, physical, size, write, offset)

    def line_begun(self, linear: int, follows: int, offset: int) -> None:
        """See `Caches.fetch`."""
        self.model.fetch(linear, self.mmu.translate(linear, False, self.state.cpl == 3), follows, offset)

    @rarely
    def charge_data(self, linear: int, physical: int, size: int, write: bool, offset: int) -> None:
        self.model.data(linear, physical, size, write, offset)

    @rarely
    def charge_across(self, linear: int, low: int, first: int, high: int, size: int, write: bool, offset: int) -> None:
        self.model.data_across(linear, low, first, high, size, write, offset)


_BINDING = replace(
    BINDING, cls=TimedProcessor, objects={**BINDING.objects, "model": NativeCaches},
    fields={**BINDING.fields, "model.state": "timing"})

_RESULTS = f"%results = getelementptr i8, ptr %c, i64 {offset('results')}"
_CALLS = f"""
define preserve_mostcc void @charge_access(ptr %c, i32 %linear, i32 %what, i64 %offset) {{
{_RESULTS}
%wide = zext i32 %linear to i64
%size32 = and i32 %what, {WRITE - 1}
%size = zext i32 %size32 to i64
%write32 = lshr i32 %what, {WRITE.bit_length() - 1}
%write = zext i32 %write32 to i64
%status = call i32 @access_done(ptr %c, i64 %wide, i64 %size, i64 %write, i64 %offset, ptr %results)
ret void
}}
define preserve_mostcc void @charge_fetch(ptr %c, i32 %linear, i32 %follows, i64 %offset) {{
{_RESULTS}
%wide = zext i32 %linear to i64
%after = zext i32 %follows to i64
%status = call i32 @line_begun(ptr %c, i64 %wide, i64 %after, i64 %offset, ptr %results)
ret void
}}
"""


def text(costs: Costs, caches: bool) -> str:
    """IR of the routines of the machine and of `CALLS`; `caches` says whether the model has any."""
    binding = replace(_BINDING, constants={
        **BINDING.constants, "caches": caches, **{f"{name}_cycles": costs.cycles[name] for name in _EVENTS}})
    return native.text((*native.ROUTINES, "access_done", "line_begun"), binding) + _CALLS
