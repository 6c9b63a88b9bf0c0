"""Where the parts of a random virtual machine are: guest without nested paging, guest with it, host.

The guests are random programs as `sim.randprog` makes them, for physical memory from 0. One lies there; the other lies
`NESTED_BASE` higher, where the nested tables map its memory.
"""

from __future__ import annotations

from rtl.isa.svm import REGION_BYTES

RAM = 12 << 20
GUEST_FRAMES = 0x400                     #: 4 MiB of guest-physical memory
NESTED_BASE = 4 << 20

HOST = 0x80_0000
CODE, GDT, IDT, STACK = HOST, HOST + 0x1000, HOST + 0x2000, HOST + 0x4000
DIRECTORY, TABLES = HOST + 0x4000, HOST + 0x5000
HSAVE, IOPM, MSRPM = HOST + 0x8000, HOST + 0x9000, HOST + 0xC000
#: The host's variables: next round, VMCB of this one, and the guest's EBX ECX EDX ESI EDI EBP.
CURSOR, VMCB, REGISTERS = HOST + 0xE000, HOST + 0xE004, HOST + 0xE010
NESTED = HOST + 0x2_0000
ROUNDS = HOST + 0x8_0000
END = HOST + 0x40_0000
VMCBS = range(HOST + 0x10_0000, END, REGION_BYTES)   #: one for each guest that begins
