"""The machine around a measured piece of code: tables, handlers, a loop, as an image that boots.

Paging is on with one 4 MiB page, so that the TLBs are in use; caches and predictors are warm when it counts, because
the piece stands there `copies` times in a row and the row is run `ROUNDS` times.
"""

from __future__ import annotations

import struct

import numpy as np

from rtl.isa.paging import PTE_A, PTE_D, PTE_P, PTE_PS, PTE_RW, PTE_US
from rtl.isa.platform import PORT
from rtl.isa.registers import Cr0, Cr4
from rtl.isa.segments import (
    ACCESS_CODE,
    ACCESS_DATA,
    ACCESS_DPL3,
    ACCESS_TSS32,
    ATTR_P,
    FLAGS_FLAT32,
    SystemType,
    descriptor,
)
from rtl.isa.tss import TSS32_MIN_LIMIT, Tss32
from sim.design import RETIRE
from sim.image import Image, Protocol, Segment
from sim.randprog import asm
from sim.rtlmachine import RtlMachine
from sim.stop import Stop

ENTRY, GDT, IDT, DIRECTORY, TSS, TASK = 0x10_0000, 0x10_1000, 0x10_2000, 0x10_3000, 0x10_4000, 0x10_4200
BODY, HANDLERS, DATA, DATA2, COUNTER, KERNEL_STACK, STACK, TASK_STACK = (
    0x10_5000, 0x10_6800, 0x10_7000, 0x10_7800, 0x10_7F00, 0x10_8400, 0x10_8C00, 0x10_9C00)
RAM = 4 << 20
ROUNDS = 4

CODE0, DATA0, CODE3, DATA3, TSS_SEL, TASK_SEL, GATE_SEL = (index * 8 for index in range(1, 8))
SOFT, UD = 0x80, 6
#: Places that measured code goes to: a near function, far code, handlers.
NEAR, FAR, INTERRUPT, SYSENTER, OVER_UD, TASK_ENTRY = (HANDLERS + 32 * index for index in range(6))

_HANDLERS = {
    NEAR: "c3",                          # ret
    FAR: "cb",                           # retf
    INTERRUPT: "cf",                     # iretd
    SYSENTER: "0f35",                    # sysexit
    OVER_UD: "83042402 cf",              # add dword ptr [esp], 2; iretd
    TASK_ENTRY: "cf ebfd",               # iretd; jmp to it
}


def _gate(selector: int, offset: int, kind: SystemType) -> bytes:
    access = ATTR_P | ACCESS_DPL3 | kind.value
    return struct.pack("<HHBBH", offset & 0xFFFF, selector, 0, access, offset >> 16)


def _gdt() -> bytes:
    flat = 0xF_FFFF
    entries = [
        0, descriptor(0, flat, ACCESS_CODE, FLAGS_FLAT32), descriptor(0, flat, ACCESS_DATA, FLAGS_FLAT32),
        descriptor(0, flat, ACCESS_CODE | ACCESS_DPL3, FLAGS_FLAT32),
        descriptor(0, flat, ACCESS_DATA | ACCESS_DPL3, FLAGS_FLAT32),
        descriptor(TSS, TSS32_MIN_LIMIT, ACCESS_TSS32, 0), descriptor(TASK, TSS32_MIN_LIMIT, ACCESS_TSS32, 0),
    ]
    return struct.pack(f"<{len(entries)}Q", *entries) + _gate(CODE0, FAR, SystemType.CALL_GATE32)


def _idt() -> bytes:
    table = bytearray(8 * 256)
    for vector, handler in ((SOFT, INTERRUPT), (UD, OVER_UD)):
        table[8 * vector:8 * vector + 8] = _gate(CODE0, handler, SystemType.INTERRUPT_GATE32)
    return bytes(table)


def _tss(fields: dict[Tss32, int]) -> bytes:
    data = bytearray(TSS32_MIN_LIMIT + 1)
    for field, value in {Tss32.CR3: DIRECTORY, Tss32.T: (TSS32_MIN_LIMIT + 1) << 16, **fields}.items():
        struct.pack_into("<I", data, field.value, value)
    return bytes(data)


def _task() -> bytes:
    segments = dict.fromkeys((Tss32.ES, Tss32.SS, Tss32.DS, Tss32.FS, Tss32.GS), DATA0)
    return _tss({Tss32.EIP: TASK_ENTRY, Tss32.EFLAGS: 2, Tss32.ESP: TASK_STACK, Tss32.CS: CODE0, **segments})


def _start(ring: int) -> bytes:
    """Code at ENTRY: loads the tables, turns paging on, goes to BODY in the ring."""
    gdtr, idtr = ENTRY + 0xF00, ENTRY + 0xF10
    code = b"\x0F\x01\x15" + asm.imm32(gdtr) + b"\x0F\x01\x1D" + asm.imm32(idtr) + asm.mov(asm.ESP, KERNEL_STACK)
    code += asm.far_jump(CODE0, ENTRY + len(code) + 7)
    for segment in (0, 2, 3, 4, 5):
        code += asm.mov_sreg(segment, DATA0)
    code += asm.mov(asm.EAX, TSS_SEL) + b"\x0F\x00\xD8"              # ltr ax
    code += asm.mov(asm.EAX, DIRECTORY) + asm.mov_to_control(3, asm.EAX)
    code += asm.mov(asm.EAX, int(Cr4.PSE)) + asm.mov_to_control(4, asm.EAX)
    code += asm.mov(asm.EAX, int(Cr0.PG | Cr0.PE | Cr0.ET)) + asm.mov_to_control(0, asm.EAX)
    for msr, value in ((0x174, CODE0), (0x175, KERNEL_STACK), (0x176, SYSENTER)):
        code += asm.mov(asm.ECX, msr) + asm.mov(asm.EAX, value) + asm.mov(asm.EDX, 0) + b"\x0F\x30"
    selectors = (DATA3 | 3, CODE3 | 3) if ring else (DATA0, CODE0)
    if ring:
        code += asm.push(selectors[0]) + asm.push(STACK)
    code += asm.push(0x3002) + asm.push(selectors[1]) + asm.push(BODY)
    for segment in (0, 3, 4, 5):
        code += asm.mov_sreg(segment, selectors[0])
    code += b"\xCF"
    return code.ljust(0xF00, b"\0") + struct.pack("<HI", 0x3F, GDT) + bytes(10) + struct.pack("<HI", 0x7FF, IDT)


def row_setup(setup: bytes) -> bytes:
    """Registers before the row: EAX, ECX, EDX numbers; EBX, ESI, EDI, ESP, EBP pointers."""
    values = {asm.EAX: 0x1234_5678, asm.ECX: 1, asm.EDX: 0, asm.EBX: DATA, asm.ESI: DATA, asm.EDI: DATA2,
              asm.ESP: STACK, asm.EBP: STACK}
    return b"".join(asm.mov(register, value) for register, value in values.items()) + setup


def row_start(setup: bytes) -> int:
    """Address of the first copy; on a boundary of 16 bytes, as a compiler would place it."""
    return -(-(BODY + len(row_setup(setup))) // 16) * 16


def stage(name: str, row: bytes, setup: bytes, ring: int) -> Image:
    """The image that runs `row`, which was assembled for `row_start`, `ROUNDS` times, and exits with 0."""
    again = row_setup(setup)
    code = again + b"\x90" * (row_start(setup) - BODY - len(again)) + row
    code += b"\xFF\x0D" + asm.imm32(COUNTER)                                # dec dword ptr [COUNTER]
    code += b"\x0F\x85" + asm.imm32(-(len(code) + 6))                       # jnz BODY
    code += asm.mov(asm.EDX, PORT["EXIT"].base) + b"\x31\xC0\xEF"           # xor eax, eax; out dx, eax
    if BODY + len(code) > HANDLERS:
        raise ValueError(f"the row of '{name}' is {len(row)} bytes long, more than the stage holds")
    handlers = bytearray(0x200)
    for address, text in _HANDLERS.items():
        data = bytes.fromhex(text)
        handlers[address - HANDLERS:address - HANDLERS + len(data)] = data
    directory = PTE_P | PTE_RW | PTE_US | PTE_PS | PTE_A | PTE_D
    # DATA begins with its own address, for chains of loads.
    parts = {ENTRY: _start(ring), GDT: _gdt(), IDT: _idt(), DIRECTORY: struct.pack("<1024I", directory, *[0] * 1023),
             TSS: _tss({Tss32.ESP0: KERNEL_STACK, Tss32.SS0: DATA0}), TASK: _task(), BODY: code,
             HANDLERS: bytes(handlers), DATA: struct.pack("<II", DATA, 1), COUNTER: asm.imm32(ROUNDS)}
    return Image(name, Protocol.MULTIBOOT, ENTRY, tuple(
        Segment(address, data, len(data)) for address, data in sorted(parts.items())))


def play(machine: RtlMachine, image: Image, limit: int) -> tuple[Stop, np.ndarray]:
    """Run it from reset for so many cycles: how that ends, and the records of what has retired."""
    machine.reset()
    machine.load(image)
    machine.engine.set_tap(RETIRE, True)
    stop = machine.run(limit)
    records = machine.engine.drain_tap(RETIRE)
    machine.engine.set_tap(RETIRE, False)
    return stop, records
