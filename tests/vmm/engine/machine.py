"""A small machine for directed tests: flat segments, an IDT of interrupt gates, a GDT to play with."""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.registers import Seg
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
from vmm.engine.emulate import EmulatedMachine
from vmm.engine.interpreter import Interpreter, Retired
from vmm.memory import PhysicalMemory
from vmm.state import SegmentCache

RAM = 0x2_0000
GDT, IDT, TSS, HANDLERS, CODE, STACK, INNER_STACK = 0x1000, 0x2000, 0x3000, 0x4000, 0x6000, 0x9000, 0xA000
KERNEL_CODE, KERNEL_DATA, USER_CODE, USER_DATA, TASK, FREE = 0x08, 0x10, 0x1B, 0x23, 0x28, 0x30


#: Makes processors; the fixture `engine` puts others in its place.
processor: Callable[..., Interpreter] = Interpreter


def computer(ram: int) -> EmulatedMachine:
    """A whole computer with a processor of the engine under test."""
    return EmulatedMachine(ram, processor=processor)  # type: ignore[arg-type]


def gate(offset: int, selector: int, kind: SystemType, dpl: int = 0, present: bool = True, count: int = 0) -> int:
    access = (ATTR_P if present else 0) | dpl << 5 | kind.value
    return offset & 0xFFFF | selector << 16 | count << 32 | access << 40 | offset >> 16 << 48


def machine(code: str | bytes, make: Callable[..., Interpreter] | None = None, **registers: int) -> Interpreter:
    """A processor about to run `code` (hexadecimal text or bytes) at CODE with CPL 0, of the engine under test."""
    cpu = (make or processor)(PhysicalMemory(RAM))
    table = [0, descriptor(0, 0xFFFFF, ACCESS_CODE, FLAGS_FLAT32), descriptor(0, 0xFFFFF, ACCESS_DATA, FLAGS_FLAT32),
             descriptor(0, 0xFFFFF, ACCESS_CODE | ACCESS_DPL3, FLAGS_FLAT32),
             descriptor(0, 0xFFFFF, ACCESS_DATA | ACCESS_DPL3, FLAGS_FLAT32),
             descriptor(TSS, 0xFFF, ACCESS_TSS32 | 2, 0)]
    for number, value in enumerate(table):
        set_descriptor(cpu, 8 * number, value)
    for vector in range(48):
        set_gate(cpu, vector, gate(HANDLERS + vector, KERNEL_CODE, SystemType.INTERRUPT_GATE32))
    cpu.memory.load_blob(HANDLERS, b"\x90" * 64)
    cpu.memory.write32(TSS + 4, INNER_STACK)
    cpu.memory.write32(TSS + 8, KERNEL_DATA)
    cpu.memory.load_blob(CODE, bytes.fromhex(code) if isinstance(code, str) else code)
    state = cpu.state
    state.gdtr_base, state.gdtr_limit, state.idtr_base, state.idtr_limit = GDT, 0xFF, IDT, 48 * 8 - 1
    state.segments[Seg.TR].copy_from(SegmentCache(TASK, TSS, 0xFFF, ACCESS_TSS32 | 2))
    state.eip, state.gpr[4] = CODE, STACK
    for name, value in registers.items():
        state.gpr["eax ecx edx ebx esp ebp esi edi".split().index(name)] = value
    cpu.state_changed()
    return cpu


def set_descriptor(cpu: Interpreter, selector: int, value: int) -> None:
    cpu.memory.load_blob(GDT + selector, value.to_bytes(8, "little"))


def set_gate(cpu: Interpreter, vector: int, value: int) -> None:
    cpu.memory.load_blob(IDT + 8 * vector, value.to_bytes(8, "little"))


def to_user(cpu: Interpreter) -> None:
    """Continue at CPL 3 with user segments."""
    state = cpu.state
    for number, selector in ((Seg.CS, USER_CODE), (Seg.SS, USER_DATA), (Seg.DS, USER_DATA), (Seg.ES, USER_DATA)):
        state.segments[number].selector = selector
        state.segments[number].attributes |= 3 << 5
    state.cpl = 3
    cpu.state_changed()


def steps(cpu: Interpreter, count: int) -> list[Retired]:
    return [cpu.step() for _ in range(count)]


def stack(cpu: Interpreter, count: int) -> list[int]:
    """Doublewords from the top of the stack."""
    return list(cpu.memory.words_at(cpu.state.gpr[4], count))
