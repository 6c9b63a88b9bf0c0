"""Registers of the local APIC and the I/O APIC as data, read by the hardware, its software twins and the tables.

Intel SDM vol. 3A, chapter 11 (APIC); AMD64 APM vol. 2, chapter 16; Intel 82093AA datasheet (order number 290566);
MultiProcessor Specification 1.4 for what firmware leaves and for how a PC is wired.
"""

from enum import IntEnum, IntFlag

# --- local APIC --------------------------------------------------------------------------------------------------

APIC_ID = 0
"""Of the one processor; read-only, as on processors where software cannot change it."""
APIC_VERSION = 0x0005_0014
"""Version 14h (xAPIC) with six local vectors."""
APIC_TIMER_BITS = 32
APIC_TIMER_DIVIDER = 1
"""Processor cycles in one clock of the timer, before the divide configuration register."""


class ApicReg(IntEnum):
    """Offsets; every register is 32 bits at a multiple of 16."""

    ID = 0x020
    VERSION = 0x030
    TPR = 0x080
    APR = 0x090
    PPR = 0x0A0
    EOI = 0x0B0
    LDR = 0x0D0
    DFR = 0x0E0
    SVR = 0x0F0
    ISR = 0x100
    TMR = 0x180
    IRR = 0x200
    ESR = 0x280
    ICR_LOW = 0x300
    ICR_HIGH = 0x310
    LVT_TIMER = 0x320
    LVT_THERMAL = 0x330
    LVT_PERF = 0x340
    LVT_LINT0 = 0x350
    LVT_LINT1 = 0x360
    LVT_ERROR = 0x370
    TIMER_INITIAL = 0x380
    TIMER_CURRENT = 0x390
    TIMER_DIVIDE = 0x3E0


class Delivery(IntEnum):
    """Delivery modes of messages, local vectors and redirection entries."""

    FIXED = 0
    LOWEST = 1
    SMI = 2
    NMI = 4
    INIT = 5
    STARTUP = 6
    EXTINT = 7


class Shorthand(IntEnum):
    """Destination shorthands of the interrupt command register, bits 19-18."""

    NONE = 0
    SELF = 1
    ALL = 2
    OTHERS = 3


class IrqBits(IntFlag):
    """Bits of an interrupt's description: command register, local vectors and redirection entries agree on them."""

    LOGICAL = 1 << 11
    PENDING = 1 << 12
    ACTIVE_LOW = 1 << 13
    REMOTE_IRR = 1 << 14
    ASSERT = 1 << 14
    LEVEL = 1 << 15
    MASKED = 1 << 16
    PERIODIC = 1 << 17


class EsrBits(IntFlag):
    """Errors this APIC can meet."""

    SEND_ILLEGAL_VECTOR = 0x20
    RECEIVED_ILLEGAL_VECTOR = 0x40
    ILLEGAL_REGISTER = 0x80


FIRST_VECTOR = 16
"""Vectors below cannot be sent or received."""
SVR_ENABLE = 0x100
SVR_WRITABLE = 0x1FF
ICR_WRITABLE = 0x000C_CFFF
LVT_WRITABLE = {ApicReg.LVT_TIMER: 0x3_00FF, ApicReg.LVT_THERMAL: 0x1_07FF, ApicReg.LVT_PERF: 0x1_07FF,
                ApicReg.LVT_LINT0: 0x1_A7FF, ApicReg.LVT_LINT1: 0x1_A7FF, ApicReg.LVT_ERROR: 0x1_00FF}
APIC_SVR_FIRMWARE = 0x1FF
LVT_FIRMWARE = {ApicReg.LVT_TIMER: 0x1_0000, ApicReg.LVT_THERMAL: 0x1_0000, ApicReg.LVT_PERF: 0x1_0000,
                ApicReg.LVT_LINT0: 0x8700, ApicReg.LVT_LINT1: 0x8400, ApicReg.LVT_ERROR: 0x1_0000}
"""Virtual wire mode: the 8259A pair passes through LINT0, NMI comes by LINT1."""
APIC_BASE_BSP = 1 << 8
APIC_BASE_ENABLE = 1 << 11
"""Bits of IA32_APIC_BASE."""


def divide_shift(divide: int) -> int:
    """Logarithm of the divisor that a divide configuration selects."""
    return ((divide >> 1 & 4 | divide & 3) + 1) & 7


# --- I/O APIC ----------------------------------------------------------------------------------------------------

IO_APIC_ID = 1
IO_APIC_INPUTS = 24
IO_APIC_VERSION = 0x11 | IO_APIC_INPUTS - 1 << 16


class IoApicReg(IntEnum):
    """Offsets in the memory window."""

    SELECT = 0x00
    WINDOW = 0x10


class IoApicIndex(IntEnum):
    """Registers behind the window; entry n has two, from ENTRY + 2 * n."""

    ID = 0
    VERSION = 1
    ARBITRATION = 2
    ENTRY = 0x10


ENTRY_WRITABLE = 0x1_AFFF
ENTRY_FIRMWARE = 0x1_0000

EXTINT_INPUT = 0
"""The 8259A pair's INT at the I/O APIC."""


def io_apic_input(irq: int) -> int:
    """Where an ISA interrupt line is connected: the timer is where PCs have it, its own input being taken."""
    return 2 if irq == 0 else irq
