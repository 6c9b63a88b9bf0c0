"""Small guests with breakpoints of their own armed, each a loop: what is not at a breakpoint runs as native code.

The handler of #DB adds DR6 to EBP and sets RF in the flags it returns to.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from rtl.isa.exceptions import Vector
from rtl.isa.paging import PTE_P
from rtl.isa.registers import BREAKPOINT_LENGTHS, DR7_FIXED, BreakpointType, Cr4
from rtl.isa.segments import ACCESS_TSS32, SystemType, descriptor
from sim.randprog import asm
from tests.vmm.engine.dbt.scenes import DATA, RWX, Scene, calls, entry, loop, on, paging
from tests.vmm.engine.machine import (
    CODE,
    FREE,
    GDT,
    IDT,
    KERNEL_CODE,
    KERNEL_DATA,
    STACK,
    TSS,
    gate,
    machine,
    set_descriptor,
    set_gate,
    to_user,
)
from vmm.engine.interpreter import Interpreter

EXECUTE, WRITE, PORT, ACCESS = (
    kind.value for kind in (BreakpointType.EXECUTE, BreakpointType.WRITE, BreakpointType.IO, BreakpointType.ACCESS))
#: push eax; mov eax, dr6; add ebp, eax; xor eax, eax; mov dr6, eax; pop eax; or byte [esp + 10], 1; iret
COUNT = bytes.fromhex("50 0f21f0 01c5 31c0 0f23f0 58 804c240a01 cf")
SCENES: dict[str, Scene] = {}
#: Address, kind, length.
Breakpoint = tuple[int, int, int]


def scene(prepare: Scene) -> Scene:
    SCENES[prepare.__name__] = prepare
    return prepare


def control(breakpoints: Iterable[Breakpoint]) -> int:
    """DR7 with breakpoints armed, by turns locally and globally."""
    value = DR7_FIXED
    for number, (_address, kind, length) in enumerate(breakpoints):
        value |= 1 << 2 * number + (number & 1) | kind << 16 + 4 * number
        value |= BREAKPOINT_LENGTHS.index(length) << 18 + 4 * number
    return value


def arm(cpu: Interpreter, *breakpoints: Breakpoint) -> Interpreter:
    """With the handler that counts."""
    on(cpu, Vector.DB, COUNT)
    for number, (address, _kind, _length) in enumerate(breakpoints):
        cpu.state.dr[number] = address
    cpu.state.dr[7] = control(breakpoints)
    cpu.state_changed()
    return cpu


def arm_randomly(cpu: Interpreter, rng: random.Random, executed: list[int]) -> None:
    """Up to four breakpoints where a scene has its code, its data and its tables."""
    places = [DATA, DATA + 0x10, DATA + 0x14, STACK - 4, STACK - 8, STACK - 16, 0x9000, 0x2_0010, 0x2_1014, CODE + 8,
              GDT + KERNEL_CODE, GDT + KERNEL_DATA, IDT + 8 * Vector.PF, IDT + 8 * Vector.GP, TSS + 4, TSS + 8]
    found = []
    for _ in range(rng.randrange(1, 5)):
        kind = rng.choice((EXECUTE, WRITE, ACCESS, ACCESS))
        place = rng.choice(executed) if kind == EXECUTE or rng.random() < 0.1 else rng.choice(places) + rng.randrange(4)
        found.append((place, kind, 1 if kind == EXECUTE else rng.choice((1, 2, 4))))
    arm(cpu, *found)


@scene
def an_instruction_of_a_loop(make: Callable[..., Interpreter]) -> Interpreter:
    cpu = machine(loop(b"\x43\x42\x01\xD3\x46\x01\xF7", 40), make)
    return arm(cpu, (CODE + 6 + 2, EXECUTE, 1))


@scene
def first_instruction_of_a_function(make: Callable[..., Interpreter]) -> Interpreter:
    """Come to by calls from two places, by a jump, and by IRET with and without RF."""
    def body(here: int) -> bytes:
        text = calls(0x7100, 0x7100)(here)
        for flags in (2, 0x1_0002):
            back = here + len(text) + 21
            text += asm.push(back) + asm.push(flags) + asm.push(KERNEL_CODE) + asm.push(0x7100) + b"\xCF"
        return text
    cpu = machine(loop(body), make)
    cpu.memory.load_blob(0x7100, b"\x43\x01\xDA\xC3")
    return arm(cpu, (0x7100, EXECUTE, 1), (0x7103, EXECUTE, 1))


@scene
def behind_a_load_of_ss(make: Callable[..., Interpreter]) -> Interpreter:
    cpu = machine(loop(b"\x8C\xD0\x8E\xD0\x43\x42\xFB\x46\xFA\x47", 20), make)
    return arm(cpu, (CODE + 6 + 4, EXECUTE, 1), (CODE + 6 + 7, EXECUTE, 1))


@scene
def a_repeated_instruction(make: Callable[..., Interpreter]) -> Interpreter:
    begin = asm.mov(asm.EDI, DATA) + asm.mov(asm.ECX, 5)
    cpu = machine(loop(begin + b"\xF3\xAB\x43"), make)
    return arm(cpu, (CODE + 6 + len(begin), EXECUTE, 1))


@scene
def the_middle_of_an_instruction(make: Callable[..., Interpreter]) -> Interpreter:
    """Code at a breakpoint only when it is jumped into: MOV EAX, imm32 whose immediate is INC EBX; INC EDX; RET."""
    cpu = machine(loop(calls(0x7100, 0x7101), 20), make)
    cpu.memory.load_blob(0x7100, bytes.fromhex("b8 43 42 c3 90 4f c3"))
    return arm(cpu, (0x7102, EXECUTE, 1))


@scene
def writes_and_reads(make: Callable[..., Interpreter]) -> Interpreter:
    """Before, at and behind what is armed, aligned and not, of every size."""
    body = b"".join(opcode + asm.imm32(DATA + at) for at in range(1, 14) for opcode in (
        (b"\xA3", b"\x66\x03\x15"), (b"\x66\xA3", b"\x03\x1D"), (b"\x88\x0D", b"\x02\x15", b"\x01\x0D"))[at % 3])
    return arm(machine(loop(body, 6), make), (DATA + 4, WRITE, 2), (DATA + 9, ACCESS, 1), (DATA + 12, WRITE, 4))


@scene
def accesses_across_pages(make: Callable[..., Interpreter]) -> Interpreter:
    body = b"".join(opcode + asm.imm32(DATA + 0xFFD + at) for at in range(4) for opcode in (
        b"\xA3", b"\x66\xA3", b"\x03\x1D", b"\x66\x03\x15", b"\x87\x15"))
    return arm(machine(loop(body), make), (DATA + 0x1000, ACCESS, 1), (DATA + 0xFFC, WRITE, 2), (DATA, WRITE, 4))


@scene
def strings(make: Callable[..., Interpreter]) -> Interpreter:
    """REP MOVS, STOS, SCAS and LODS over armed words, both ways."""
    body = b""
    for direction, at in ((b"\xFC", 0), (b"\xFD", 0x40)):
        for operation in (b"\xF3\xA5", b"\xF3\xA4", b"\xF3\x66\xAB", b"\xF2\xAF", b"\xF3\xAC"):
            body += direction + asm.mov(asm.ESI, DATA + at) + asm.mov(asm.EDI, DATA + 0xFE0 + at)
            body += asm.mov(asm.ECX, 14) + operation
    return arm(machine(loop(body + b"\xFC", 5), make), (DATA + 0x10, ACCESS, 4), (DATA + 0x1004, ACCESS, 2),
               (DATA + 0x38, WRITE, 4))


@scene
def data_beside_code(make: Callable[..., Interpreter]) -> Interpreter:
    """Variables in the page of the code, one of them armed; and the code writes to itself there."""
    def body(here: int) -> bytes:
        text = b"\x89\x0D" + asm.imm32(CODE + 0x800) + b"\x03\x1D" + asm.imm32(CODE + 0x810)
        text += b"\xFF\x05" + asm.imm32(CODE + 0x804) + calls(0x7100)(here + len(text))
        # mov [immediate of the next one], cl; mov eax, immediate
        return text + b"\x88\x0D" + asm.imm32(here + len(text) + 7) + asm.mov(asm.EAX, 0x100) + b"\x01\xC3"
    cpu = machine(loop(body, 20), make)
    cpu.memory.load_blob(0x7100, b"\xFF\x05" + asm.imm32(0x7200) + b"\x03\x15" + asm.imm32(0x7204) + b"\xC3")
    return arm(cpu, (CODE + 0x804, ACCESS, 4), (0x7204, ACCESS, 4), (0x7200, WRITE, 1))


@scene
def breakpoints_on_code_bytes(make: Callable[..., Interpreter]) -> Interpreter:
    """The guest patches an instruction that is armed for execution and for writes."""
    def body(here: int) -> bytes:
        # add ebx, imm32 to come, of which the lowest byte is written
        text = b"\x88\x0D" + asm.imm32(here + 14)
        return text + b"\x90\xBA" + asm.imm32(0x100) + b"\x81\xC3" + asm.imm32(7)
    return arm(machine(loop(body, 20), make), (CODE + 6 + 7, EXECUTE, 1), (CODE + 6 + 14, WRITE, 1))


@scene
def armed_on_the_way(make: Callable[..., Interpreter]) -> Interpreter:
    """The loop moves its breakpoints about, switches them off, and meets them."""
    def body(here: int) -> bytes:
        # eax = (ecx & 3) * 4 + DATA, to DR0; DR7 off whenever the count is odd
        text = b"\x89\xC8\x83\xE0\x03\xC1\xE0\x02\x05" + asm.imm32(DATA) + b"\x0F\x23\xC0"
        on_, off = control([(0, ACCESS, 4), (0, EXECUTE, 1)]), DR7_FIXED
        text += asm.mov(asm.EAX, on_) + b"\xF6\xC1\x01\x74\x05" + asm.mov(asm.EAX, off) + b"\x0F\x23\xF8"
        text += b"".join(b"\xFF\x05" + asm.imm32(DATA + 4 * n) for n in range(4))
        return text + b"\xA1" + asm.imm32(DATA + 8) + b"\x01\xC3" + calls(0x7100)(here + len(text) + 7)
    cpu = machine(loop(body, 40), make)
    cpu.memory.load_blob(0x7100, b"\x47\xC3")
    on(cpu, Vector.DB, COUNT)
    cpu.state.dr[1] = 0x7100
    return cpu


@scene
def the_stack(make: Callable[..., Interpreter]) -> Interpreter:
    """In ring 3, since the handler would meet its own frame for ever."""
    body = bytes.fromhex("50 ff30 8f05") + asm.imm32(DATA + 8) + bytes.fromhex("60 61 9c 9d c8080000 c9 58 1e 1f 06 07")
    body = b"\xB8" + asm.imm32(DATA) + body
    cpu, top = machine(loop(body, 12), make), STACK - 4
    on(cpu, Vector.GP, b"\xF4")
    to_user(cpu)
    return arm(cpu, (top - 4, ACCESS, 4), (top - 16, WRITE, 4), (DATA + 8, WRITE, 1))


@scene
def tables_of_the_processor(make: Callable[..., Interpreter]) -> Interpreter:
    """Gates, descriptors, the stack in the TSS and what is pushed there; from ring 3."""
    cpu = machine(loop(b"\xCD\x2E\x8C\xD8\x8E\xD8\x50\x58", 12), make)
    on(cpu, 0x2E, b"\x46\xCF")
    on(cpu, Vector.GP, b"\xF4")
    to_user(cpu)
    return arm(cpu, (IDT + 8 * 0x2E, ACCESS, 2), (GDT + KERNEL_DATA + 4, ACCESS, 4), (TSS + 4, ACCESS, 4),
               (0xA000 - 8, WRITE, 4))


@scene
def two_pages_of_one_frame(make: Callable[..., Interpreter]) -> Interpreter:
    """Breakpoints are on linear addresses. Pages come and go meanwhile."""
    body = b"\xFF\x05" + asm.imm32(0x2_0010) + b"\xFF\x05" + asm.imm32(0x2_1010) + b"\x03\x1D" + asm.imm32(0x2_1014)
    body += asm.invlpg(0x2_1000) + b"\x03\x1D" + asm.imm32(0x2_1010) + b"\xF6\xC1\x01\x74\x06\x0F\x20\xD8\x0F\x22\xD8"
    cpu = machine(loop(body, 20), make)
    paging(cpu, {0x20: DATA | RWX, 0x21: DATA | RWX})
    return arm(cpu, (0x2_1010, WRITE, 4), (0x2_1014, ACCESS, 4))


@scene
def code_on_pages_with_breakpoints(make: Callable[..., Interpreter]) -> Interpreter:
    """Calls and jumps between pages, of which reads are watched."""
    cpu = machine(loop(lambda here: calls(0x2_6100, 0x2_7100)(here) + b"\x03\x1D" + asm.imm32(0x2_6200), 60), make)
    cpu.memory.load_blob(0x7100, b"\x43\x01\xDA" + asm.jump(0x2_6103, 0x2_7110))
    cpu.memory.load_blob(0xA100, b"\x03\x15" + asm.imm32(0x2_7200) + b"\xC3")
    cpu.memory.load_blob(0xA110, b"\x47\xC3")
    paging(cpu, {0x26: 0x7000 | RWX, 0x27: 0xA000 | RWX})
    return arm(cpu, (0x2_6200, ACCESS, 4), (0x2_7200, ACCESS, 4))


@scene
def a_fault_behind_a_match(make: Callable[..., Interpreter]) -> Interpreter:
    """MOVS from what is armed to a page that is absent at first: what does not complete matches nothing."""
    body = asm.mov(asm.ESI, DATA) + asm.mov(asm.EDI, 0x2_0010) + b"\xA5\xA1" + asm.imm32(DATA)
    body += asm.xor_at(entry(0x20), PTE_P) + asm.invlpg(0x2_0000)
    cpu = machine(loop(body, 12), make)
    paging(cpu, {0x20: DATA | RWX & ~PTE_P})
    on(cpu, Vector.PF, asm.xor_at(entry(0x20), PTE_P) + b"\x43\x83\xC4\x04\xCF")
    return arm(cpu, (DATA, ACCESS, 4), (0x2_0010, WRITE, 4))


@scene
def ports(make: Callable[..., Interpreter]) -> Interpreter:
    """CR4.DE on and off in the loop."""
    toggle = b"\x0F\x20\xE0\x34\x08\x0F\x22\xE0"
    body = b"\xE6\x80\xE7\x7E\xE4\x80\xB0\x41\xE6\x81\x43" + b"\xF6\xC1\x01\x74\x08" + toggle
    cpu = machine(loop(body, 20), make)
    cpu.state.cr4 = int(Cr4.DE)
    return arm(cpu, (0x80, PORT, 1), (0x81, PORT, 2))


@scene
def general_detect(make: Callable[..., Interpreter]) -> Interpreter:
    """MOV from a debug register faults once per setting of GD, beside a breakpoint."""
    value = control([(DATA, WRITE, 4)]) | 1 << 13
    body = asm.mov(asm.EAX, value) + b"\x0F\x23\xF8\x0F\x21\xC0\x01\xC3\x89\x0D" + asm.imm32(DATA) + b"\x43"
    return arm(machine(loop(body), make), (DATA, WRITE, 4))


@scene
def a_task_switch_disarms(make: Callable[..., Interpreter]) -> Interpreter:
    """What is armed locally is off behind the delivery of #UD through a task gate; the loop arms it again."""
    value = control([(DATA, WRITE, 4)])
    body = asm.mov(asm.EAX, value) + b"\x0F\x23\xF8\x89\x0D" + asm.imm32(DATA) + b"\x0F\x0B\x89\x0D" + asm.imm32(DATA)
    cpu = machine(loop(body), make)
    other = TSS + 0x800
    set_descriptor(cpu, FREE, descriptor(other, 0x67, ACCESS_TSS32, 0))
    set_gate(cpu, Vector.UD, gate(0, FREE, SystemType.TASK_GATE))
    # add the length of UD2 to EIP in the TSS it came from, and back
    handler = b"\x83\x05" + asm.imm32(TSS + 0x20) + b"\x02\xCF\xEB" + bytes([0x100 - 10])
    cpu.memory.load_blob(0x7100, handler)
    for at, word in ((0x20, 0x7100), (0x24, 2), (0x38, 0xB000), (0x48, KERNEL_DATA), (0x4C, KERNEL_CODE),
                     (0x50, KERNEL_DATA), (0x54, KERNEL_DATA)):
        cpu.memory.write32(other + at, word)
    return arm(cpu, (DATA, WRITE, 4))
