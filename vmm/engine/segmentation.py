"""Descriptors: fetching, checking, loading segment registers; LDT, TR and the instructions that look at descriptors.

Order of a load: null and limit checks, descriptor read, checks of the manual's Operation section, then the accessed bit
is set in memory if it was clear, then the register changes. A fault therefore leaves register and table as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

from rtl.isa.exceptions import Vector, selector_error
from rtl.isa.registers import Seg
from rtl.isa.segments import (
    ATTR_P,
    ATTR_S,
    LAR_TYPES,
    LSL_TYPES,
    SELECTOR_TI,
    TYPE_ACCESSED,
    TYPE_BUSY,
    TYPE_CODE,
    TYPE_CONFORMING,
    TYPE_READABLE,
    TYPE_WRITABLE,
    SystemType,
)
from vmm.engine.access import Access
from vmm.faults import Fault
from vmm.state import SegmentCache

SS, LDTR, TR, CS = int(Seg.SS), int(Seg.LDTR), int(Seg.TR), int(Seg.CS)
_ACCESSED_BYTE = 5


@dataclass(slots=True)
class Loaded:
    """A descriptor as read from its table, with the selector that found it. `mark_accessed` keeps it up to date."""

    selector: int
    address: int
    low: int
    high: int

    @property
    def attributes(self) -> int:
        return self.high >> 8 & 0xFF | self.high >> 12 & 0xF00

    @property
    def type(self) -> int:
        return self.high >> 8 & 0xF

    @property
    def is_system(self) -> bool:
        return not self.attributes & ATTR_S

    @property
    def is_code(self) -> bool:
        return self.attributes & (ATTR_S | TYPE_CODE) == ATTR_S | TYPE_CODE

    @property
    def is_conforming(self) -> bool:
        return self.is_code and bool(self.type & TYPE_CONFORMING)

    @property
    def is_writable_data(self) -> bool:
        return self.attributes & (ATTR_S | TYPE_CODE | TYPE_WRITABLE) == ATTR_S | TYPE_WRITABLE

    @property
    def is_readable(self) -> bool:
        return not self.is_system and self.type & (TYPE_CODE | TYPE_READABLE) != TYPE_CODE

    @property
    def dpl(self) -> int:
        return self.high >> 13 & 3

    @property
    def present(self) -> bool:
        return bool(self.attributes & ATTR_P)

    @property
    def base(self) -> int:
        return self.low >> 16 | (self.high & 0xFF) << 16 | self.high & 0xFF00_0000

    @property
    def limit(self) -> int:
        raw = self.low & 0xFFFF | self.high & 0xF_0000
        return raw << 12 | 0xFFF if self.high & 1 << 23 else raw

    @property
    def gate_selector(self) -> int:
        return self.low >> 16

    @property
    def gate_offset(self) -> int:
        """The entry point; 16-bit gates (type bit 3 clear) have no upper half."""
        return self.low & 0xFFFF | (self.high & 0xFFFF_0000 if self.type & 8 else 0)

    def cache(self, selector: int | None = None) -> SegmentCache:
        return SegmentCache(self.selector if selector is None else selector, self.base, self.limit, self.attributes)


def is_null(selector: int) -> bool:
    return not selector & 0xFFFC


class Segmentation(Access):
    """Segment registers of one processor."""

    def segments_changed(self) -> None:
        """Called after any change of a segment register or of CPL; the interpreter overrides it."""

    def descriptor_address(self, selector: int) -> int | None:
        """Linear address of a descriptor, or None when it is beyond its table."""
        state = self.state
        if selector & SELECTOR_TI:
            table = state.segments[LDTR]
            base, limit = table.base, table.limit if table.attributes & ATTR_P else -1
        else:
            base, limit = state.gdtr_base, state.gdtr_limit
        if selector | 7 > limit:
            return None
        return base + (selector & 0xFFF8) & 0xFFFF_FFFF

    def peek_descriptor(self, selector: int) -> Loaded | None:
        """Read a descriptor; None when the selector is beyond its table."""
        address = self.descriptor_address(selector)
        if address is None:
            return None
        both = self.read_system(address, 8)
        return Loaded(selector, address, both & 0xFFFF_FFFF, both >> 32)

    def fetch_descriptor(self, selector: int, vector: int = Vector.GP) -> Loaded:
        """Read a descriptor; a selector beyond its table raises `vector`."""
        loaded = self.peek_descriptor(selector)
        if loaded is None:
            raise Fault(vector, selector_error(selector))
        return loaded

    def mark_accessed(self, loaded: Loaded) -> None:
        if not loaded.type & TYPE_ACCESSED:
            loaded.high |= TYPE_ACCESSED << 8
            self.write_system(loaded.address + _ACCESSED_BYTE, 1, loaded.high >> 8 & 0xFF)

    def set_busy(self, loaded: Loaded, busy: bool) -> None:
        access = loaded.high >> 8 & 0xFF
        self.write_system(loaded.address + _ACCESSED_BYTE, 1, access | TYPE_BUSY if busy else access & ~TYPE_BUSY)

    def set_segment(self, number: int, loaded: Loaded, selector: int | None = None) -> None:
        """Commit a checked code or data descriptor to a register, setting its accessed bit in memory."""
        self.mark_accessed(loaded)
        self.state.segments[number].copy_from(loaded.cache(selector))

    def check_stack_segment(self, selector: int, cpl: int, vector: int) -> Loaded:
        """The checks on a new SS. `vector` is #GP for MOV and returns, #TS for inner stacks and task switches."""
        if is_null(selector):
            raise Fault(vector, 0)
        loaded = self.fetch_descriptor(selector, vector)
        if selector & 3 != cpl or not loaded.is_writable_data or loaded.dpl != cpl:
            raise Fault(vector, selector_error(selector))
        if not loaded.present:
            raise Fault(Vector.SS, selector_error(selector))
        return loaded

    def check_data_segment(self, selector: int, vector: int = Vector.GP) -> Loaded:
        """The checks on a new DS, ES, FS or GS that is not null."""
        loaded = self.fetch_descriptor(selector, vector)
        bad = not loaded.is_readable
        if not loaded.is_conforming:
            bad = bad or loaded.dpl < max(self.state.cpl, selector & 3)
        if bad:
            raise Fault(vector, selector_error(selector))
        if not loaded.present:
            raise Fault(Vector.NP, selector_error(selector))
        return loaded

    def load_segment(self, number: int, selector: int) -> None:
        """MOV, POP, LDS and family."""
        if number == SS:
            self.set_segment(SS, self.check_stack_segment(selector, self.state.cpl, Vector.GP))
            self.shadow_after_stack_load()
        elif is_null(selector):
            self.state.segments[number].copy_from(SegmentCache(selector))
        else:
            self.set_segment(number, self.check_data_segment(selector))
        self.segments_changed()

    def shadow_after_stack_load(self) -> None:
        """Interrupts wait for one instruction after MOV SS and POP SS."""

    def drop_inner_segments(self) -> None:
        """On a return to an outer level, data segments that the new level may not use become null."""
        for number in (0, 3, 4, 5):
            cache = self.state.segments[number]
            conforming = cache.attributes & (TYPE_CODE | TYPE_CONFORMING) == TYPE_CODE | TYPE_CONFORMING
            if cache.attributes & ATTR_P and not conforming and cache.dpl < self.state.cpl:
                cache.copy_from(SegmentCache())

    def load_ldt(self, selector: int) -> None:
        if is_null(selector):
            self.state.segments[LDTR].copy_from(SegmentCache(selector))
            return
        self.state.segments[LDTR].copy_from(self.check_ldt(selector, Vector.GP, Vector.NP).cache())

    def check_ldt(self, selector: int, vector: int, absent: int) -> Loaded:
        if selector & SELECTOR_TI:
            raise Fault(vector, selector_error(selector))
        loaded = self.fetch_descriptor(selector, vector)
        if not loaded.is_system or loaded.type != SystemType.LDT:
            raise Fault(vector, selector_error(selector))
        if not loaded.present:
            raise Fault(absent, selector_error(selector))
        return loaded

    def load_task(self, selector: int) -> None:
        """LTR: an available TSS in the GDT, which becomes busy."""
        if is_null(selector):
            raise Fault(Vector.GP, 0)
        if selector & SELECTOR_TI:
            raise Fault(Vector.GP, selector_error(selector))
        loaded = self.fetch_descriptor(selector)
        if not loaded.is_system or loaded.type not in (SystemType.TSS16_AVAILABLE, SystemType.TSS32_AVAILABLE):
            raise Fault(Vector.GP, selector_error(selector))
        if not loaded.present:
            raise Fault(Vector.NP, selector_error(selector))
        self.set_busy(loaded, True)
        cache = loaded.cache()
        cache.attributes |= TYPE_BUSY
        self.state.segments[TR].copy_from(cache)

    def _visible(self, selector: int) -> Loaded | None:
        """A descriptor that CPL and RPL may look at."""
        loaded = None if is_null(selector) else self.peek_descriptor(selector)
        if loaded is None or not loaded.is_conforming and loaded.dpl < max(self.state.cpl, selector & 3):
            return None
        return loaded

    def verify(self, selector: int, write: int) -> bool:
        """VERR and VERW."""
        loaded = self._visible(selector)
        if loaded is None or loaded.is_system:
            return False
        return loaded.is_writable_data if write else loaded.is_readable

    def access_rights(self, selector: int) -> int:
        """LAR: the upper doubleword, with bit 32 set if the descriptor may be looked at."""
        loaded = self._visible(selector)
        if loaded is None or loaded.is_system and loaded.type not in LAR_TYPES:
            return 0
        return 1 << 32 | loaded.high

    def segment_limit(self, selector: int) -> int:
        """LSL: the limit in bytes, with bit 32 set if the descriptor may be looked at."""
        loaded = self._visible(selector)
        if loaded is None or loaded.is_system and loaded.type not in LSL_TYPES:
            return 0
        return 1 << 32 | loaded.limit
