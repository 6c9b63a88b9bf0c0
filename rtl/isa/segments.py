"""Selectors, segment descriptors and gates.

Intel SDM vol. 3A, 3.4.2 (selectors), 3.4.5 (descriptors), 3.5 (system types), 5.8.3 and 6.11 (gates).
Methods work on signals and on constants (see `rtl.isa.layout`).
"""

# Field widths are written as annotations, which are not types.
# mypy: disable-error-code="valid-type"

import enum
from typing import Any

from .layout import Struct, join, mask, select


class Selector(Struct):
    """A segment selector."""
    rpl: 2
    ti: 1
    index: 13

    def is_null(self) -> Any:
        """GDT entry 0, with any RPL."""
        return (self.ti == 0) & (self.index == 0)

    def offset(self) -> Any:
        """Byte offset of the descriptor in its table."""
        return join((0, 3), (self.index, 13))


SELECTOR_RPL = mask(Selector, "rpl")
SELECTOR_TI = mask(Selector, "ti")
SELECTOR_INDEX = mask(Selector, "index")

# The type field of code and data descriptors (S = 1), SDM table 3-1.
TYPE_ACCESSED = 1
TYPE_WRITABLE = 2       #: of data
TYPE_READABLE = 2       #: of code
TYPE_EXPAND_DOWN = 4    #: of data
TYPE_CONFORMING = 4     #: of code
TYPE_CODE = 8


class SystemType(enum.IntEnum):
    """The type field of system descriptors (S = 0), SDM table 3-2."""
    RESERVED_0 = 0
    TSS16_AVAILABLE = 1
    LDT = 2
    TSS16_BUSY = 3
    CALL_GATE16 = 4
    TASK_GATE = 5
    INTERRUPT_GATE16 = 6
    TRAP_GATE16 = 7
    RESERVED_8 = 8
    TSS32_AVAILABLE = 9
    RESERVED_10 = 10
    TSS32_BUSY = 11
    CALL_GATE32 = 12
    RESERVED_13 = 13
    INTERRUPT_GATE32 = 14
    TRAP_GATE32 = 15


#: Added to an available TSS type to make it busy.
TYPE_BUSY = 2

#: System types LAR accepts, and those LSL accepts (SDM vol. 2A, LAR and LSL).
LAR_TYPES = frozenset({
    SystemType.TSS16_AVAILABLE, SystemType.LDT, SystemType.TSS16_BUSY, SystemType.CALL_GATE16, SystemType.TASK_GATE,
    SystemType.TSS32_AVAILABLE, SystemType.TSS32_BUSY, SystemType.CALL_GATE32,
})
LSL_TYPES = frozenset({
    SystemType.TSS16_AVAILABLE, SystemType.LDT, SystemType.TSS16_BUSY, SystemType.TSS32_AVAILABLE,
    SystemType.TSS32_BUSY,
})
#: The bits of a descriptor's upper doubleword that LAR returns.
LAR_MASK = 0x00F0_FF00
LAR_MASK_16 = 0xFF00


class Attributes(Struct):
    """The attributes of a segment as the segment caches and an AMD VMCB hold them (AMD64 APM vol. 2, 15.5.1).

    Descriptor bits 40-47 are the low byte, bits 52-55 the next four bits.
    """
    type: 4
    s: 1
    dpl: 2
    p: 1
    avl: 1
    l: 1  # noqa: E741
    db: 1
    g: 1

    def is_code(self) -> Any:
        return (self.s == 1) & ((self.type & TYPE_CODE) != 0)

    def is_data(self) -> Any:
        return (self.s == 1) & ((self.type & TYPE_CODE) == 0)

    def is_conforming(self) -> Any:
        return (self.s == 1) & ((self.type & (TYPE_CODE | TYPE_CONFORMING)) == TYPE_CODE | TYPE_CONFORMING)

    def is_expand_down(self) -> Any:
        return (self.s == 1) & ((self.type & (TYPE_CODE | TYPE_EXPAND_DOWN)) == TYPE_EXPAND_DOWN)

    def is_readable(self) -> Any:
        """Data, or code that can be read."""
        return (self.s == 1) & ((self.type & (TYPE_CODE | TYPE_READABLE)) != TYPE_CODE)

    def is_writable(self) -> Any:
        """Data that can be written."""
        return (self.s == 1) & ((self.type & (TYPE_CODE | TYPE_WRITABLE)) == TYPE_WRITABLE)

    def is_system(self, kind: SystemType) -> Any:
        """A system descriptor of the given type."""
        return (self.s == 0) & (self.type == kind.value)


ATTR_TYPE = mask(Attributes, "type")
ATTR_S = mask(Attributes, "s")
ATTR_DPL = mask(Attributes, "dpl")
ATTR_P = mask(Attributes, "p")
ATTR_AVL = mask(Attributes, "avl")
ATTR_L = mask(Attributes, "l")
ATTR_DB = mask(Attributes, "db")
ATTR_G = mask(Attributes, "g")


class Descriptor(Struct):
    """An 8-byte code, data, LDT or TSS descriptor."""
    limit_low: 16
    base_low: 24
    access: 8
    limit_high: 4
    flags: 4
    base_high: 8

    def base(self) -> Any:
        return join((self.base_low, 24), (self.base_high, 8))

    def limit(self) -> Any:
        """The 20-bit limit field."""
        return join((self.limit_low, 16), (self.limit_high, 4))

    def scaled_limit(self) -> Any:
        """The offset of the last byte: the limit in bytes, after G."""
        return select((self.flags & 8) != 0, join((0xFFF, 12), (self.limit(), 20)), self.limit())

    def attributes(self) -> Any:
        """The bits of `Attributes`."""
        return join((self.access, 8), (self.flags, 4))


class Gate(Struct):
    """An 8-byte call, interrupt, trap or task gate."""
    offset_low: 16
    selector: 16
    count: 5
    reserved: 3
    type: 4
    s: 1
    dpl: 2
    p: 1
    offset_high: 16

    def offset(self) -> Any:
        """The entry point of a 32-bit gate; a 16-bit gate uses `offset_low`."""
        return join((self.offset_low, 16), (self.offset_high, 16))

    def is_32(self) -> Any:
        """Whether a call, interrupt or trap gate is the 32-bit kind."""
        return (self.type & 8) != 0


def descriptor(base: int, limit: int, access: int, flags: int) -> int:
    """A descriptor from its parts; `access` is byte 5 and `flags` the four bits G, D/B, L, AVL."""
    return Descriptor.build(
        limit_low=limit & 0xFFFF, limit_high=limit >> 16 & 0xF, base_low=base & 0xFF_FFFF, base_high=base >> 24 & 0xFF,
        access=access, flags=flags)


#: Access bytes and flags of the flat segments.
ACCESS_CODE = ATTR_P | ATTR_S | TYPE_CODE | TYPE_READABLE | TYPE_ACCESSED
ACCESS_DATA = ATTR_P | ATTR_S | TYPE_WRITABLE | TYPE_ACCESSED
ACCESS_TSS32 = ATTR_P | SystemType.TSS32_AVAILABLE.value
ACCESS_DPL3 = ATTR_DPL
FLAGS_FLAT32 = (ATTR_G | ATTR_DB) >> 8
