"""Task-state segments: field offsets. Intel SDM vol. 3A, 7.2.1 and 7.6."""

import enum


class Tss32(enum.IntEnum):
    """Byte offsets in a 32-bit TSS. Selectors are words in the low half of a doubleword."""
    LINK = 0x00
    ESP0 = 0x04
    SS0 = 0x08
    ESP1 = 0x0C
    SS1 = 0x10
    ESP2 = 0x14
    SS2 = 0x18
    CR3 = 0x1C
    EIP = 0x20
    EFLAGS = 0x24
    EAX = 0x28
    ECX = 0x2C
    EDX = 0x30
    EBX = 0x34
    ESP = 0x38
    EBP = 0x3C
    ESI = 0x40
    EDI = 0x44
    ES = 0x48
    CS = 0x4C
    SS = 0x50
    DS = 0x54
    FS = 0x58
    GS = 0x5C
    LDT = 0x60
    T = 0x64
    IO_BASE = 0x66


class Tss16(enum.IntEnum):
    """Byte offsets in a 16-bit TSS; all fields are words."""
    LINK = 0x00
    SP0 = 0x02
    SS0 = 0x04
    SP1 = 0x06
    SS1 = 0x08
    SP2 = 0x0A
    SS2 = 0x0C
    IP = 0x0E
    FLAGS = 0x10
    AX = 0x12
    CX = 0x14
    DX = 0x16
    BX = 0x18
    SP = 0x1A
    BP = 0x1C
    SI = 0x1E
    DI = 0x20
    ES = 0x22
    CS = 0x24
    SS = 0x26
    DS = 0x28
    LDT = 0x2A


#: Smallest limits a task switch accepts; less is #TS.
TSS32_MIN_LIMIT = 0x67
TSS16_MIN_LIMIT = 0x2B
TSS32_SIZE = TSS32_MIN_LIMIT + 1
TSS16_SIZE = TSS16_MIN_LIMIT + 1

#: Bytes between the stack pointers of successive levels, and the first one.
TSS32_STACK_STRIDE = Tss32.ESP1 - Tss32.ESP0
TSS16_STACK_STRIDE = Tss16.SP1 - Tss16.SP0

#: Fields a task switch saves in the outgoing TSS: EIP to GS in a 32-bit TSS, IP to DS in a 16-bit one.
TSS32_SAVED = tuple(field for field in Tss32 if Tss32.EIP <= field <= Tss32.GS)
TSS16_SAVED = tuple(field for field in Tss16 if Tss16.IP <= field <= Tss16.DS)
