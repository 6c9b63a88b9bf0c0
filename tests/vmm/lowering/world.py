"""A random machine, twice: for the interpreter's routines as Python, and for the same routines as native code."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from rtl.isa.msrs import Msr
from rtl.isa.registers import Cr0, Cr4, Eflags
from rtl.isa.segments import FLAGS_FLAT32, descriptor
from vmm.engine.dbt.layout import Context
from vmm.engine.dbt.native import text
from vmm.engine.interpreter import Interpreter
from vmm.faults import Fault, Unsupported
from vmm.lowering.build import Library
from vmm.lowering.program import BAIL, FAULT
from vmm.memory import PhysicalMemory
from vmm.state import CpuState, SegmentCache

RAM = 0x4_0000
GDT, LDT, IDT, TSS, DIRECTORY, TABLE = 0x1000, 0x1800, 0x2000, 0x3000, 0x4000, 0x5000
GDT_ENTRIES, LDT_ENTRIES, IDT_ENTRIES = 40, 8, 48
CODE, DATA, CONFORMING, TASKS, GATES = range(5)
STACKS = (0x8000, 0x9000, 0xA000, 0xB000)
MIRRORED = {int(Msr.SYSENTER_CS): "sysenter_cs", int(Msr.SYSENTER_ESP): "sysenter_esp",
            int(Msr.SYSENTER_EIP): "sysenter_eip"}


@cache
def library() -> Library:
    return Library(text())


@dataclass(frozen=True)
class Outcome:
    """What a routine did: its result or the fault it raised; None when it gave up."""

    result: Any
    fault: tuple[int, int | None, int | None] | None
    image: dict[str, Any]
    ram: bytes


class World:
    """A random state and random tables in memory, mostly sound, so that routines get far."""

    def __init__(self, seed: int):
        self.rng = rng = random.Random(seed)
        self.ram = np.zeros(RAM // 4, dtype=np.uint32)
        self.memory = PhysicalMemory(self.ram)
        self.words = self.memory.words
        self.state = CpuState()
        self._tables()
        self._state()
        self._stacks()
        if rng.random() < 0.7:
            self._paging()

    def _flip(self, likely: float) -> bool:
        return self.rng.random() < likely

    def _descriptor(self, number: int) -> int:
        """Descriptors 4 to 35 come in fours, one for each DPL: code, data, and so on."""
        rng, group = self.rng, (number >> 2) - 1
        dpl = number & 3 if self._flip(0.95) else rng.randrange(4)
        present = 0x80 if self._flip(0.95) else 0
        limit = 0xFFFFF if self._flip(0.9) else rng.choice((0, 0x10, 0x67, 0x9FFF, 0xBFFF))
        flags = FLAGS_FLAT32 if self._flip(0.9) else rng.randrange(16)
        base = 0 if self._flip(0.9) else rng.randrange(0x4000)
        if group in (CODE, DATA, CONFORMING):
            access = (0x1A, 0x12, 0x1E)[group] | rng.randrange(2)
        elif group == TASKS:
            access, base, limit, flags = 9 | rng.choice((0, 0, 2)), TSS, rng.choice((0x67, 0x2B, 0xFFF, 0x20)), 0
        elif group in (GATES, GATES + 1):
            return self._gate(rng.choice((4, 5, 12, 12)))
        elif group == GATES + 2:
            access = 2
        else:
            access = rng.randrange(32)
        return descriptor(base, limit, access | present | dpl << 5, flags)

    def _gate(self, kind: int) -> int:
        rng = self.rng
        access = kind | (0x80 if self._flip(0.95) else 0) | rng.choice((0, 3, 3)) << 5
        selector = self.code() if self._flip(0.9) else self.selector()
        offset = rng.randrange(0x1_0000) if self._flip(0.9) else rng.getrandbits(32)
        return offset & 0xFFFF | selector << 16 | rng.choice((0, 1, 5, 31)) << 32 | access << 40 | offset >> 16 << 48

    def selector(self, group: int | None = None, level: int | None = None) -> int:
        """A selector, most often of a descriptor whose DPL is its RPL."""
        rng = self.rng
        if self._flip(0.03):
            return rng.getrandbits(16)
        if self._flip(0.05):
            return rng.randrange(LDT_ENTRIES) << 3 | 4 | rng.randrange(4)
        level = rng.randrange(4) if level is None else level
        group = rng.randrange(9) if group is None else group
        return (4 + 4 * group + level) << 3 | (level if self._flip(0.9) else rng.randrange(4))

    def code(self, level: int | None = None) -> int:
        level = self.rng.choice((0, 0, 0, 1, 2, 3)) if level is None else level
        return self.selector(CODE if self._flip(0.85) else CONFORMING, level)

    def _tables(self) -> None:
        rng = self.rng
        for place, count in ((GDT, GDT_ENTRIES), (LDT, LDT_ENTRIES)):
            for number in range(count):
                self.put64(place + 8 * number, self._descriptor(number))
        for number in range(IDT_ENTRIES):
            kind = rng.choice((14, 14, 14, 15, 6, 7)) if self._flip(0.95) else rng.randrange(16)
            self.put64(IDT + 8 * number, self._gate(kind))
        for offset in range(0, 0x80, 4):
            self.words[TSS + offset >> 2] = rng.choice(STACKS) + rng.choice((0, 0, 0, 2, 0xFFC))
        for level in range(3):
            self.words[TSS + 4 + 8 * level >> 2] = STACKS[level]
            self.words[TSS + 8 + 8 * level >> 2] = self.selector(DATA, level)
        self.words[TSS + 0x64 >> 2] = 0x68 << 16

    def _stacks(self) -> None:
        """Frames that a return may find: EIP, CS, flags or ESP, ESP or SS, SS."""
        rng = self.rng
        for stack in STACKS:
            for offset in range(-0x40, 0x40, 4):
                self.words[stack + offset >> 2] = rng.randrange(RAM)
            level = rng.choice((self.state.cpl, 3))
            frame = [rng.randrange(0x1_0000), self.code(level), rng.getrandbits(32), rng.choice(STACKS),
                     self.selector(DATA, level)]
            if self._flip(0.5):
                del frame[2]
            for number, value in enumerate(frame):
                self.words[(stack >> 2) + number] = value

    def put64(self, address: int, value: int) -> None:
        self.words[address >> 2], self.words[(address >> 2) + 1] = value & 0xFFFF_FFFF, value >> 32

    def _state(self) -> None:
        rng, state = self.rng, self.state
        state.cpl = rng.choice((0, 0, 3, 3, 1, 2))
        for number in range(8):
            state.gpr[number] = rng.getrandbits(32) if self._flip(0.3) else rng.randrange(RAM)
        if self._flip(0.95):
            state.gpr[4] = rng.choice(STACKS) + rng.choice((0, 0, 0, 4, -4, 8, 1, 0x3C))
        state.eip = rng.randrange(0x1_0000)
        state.eflags = rng.getrandbits(32) & int(
            Eflags.CF | Eflags.PF | Eflags.ZF | Eflags.SF | Eflags.IF | Eflags.DF | Eflags.OF | Eflags.IOPL | Eflags.AC)
        if self._flip(0.03):
            state.system_flags |= int(Eflags.NT)
        state.gdtr_base, state.gdtr_limit = GDT, GDT_ENTRIES * 8 - 1
        state.idtr_base, state.idtr_limit = IDT, IDT_ENTRIES * 8 - 1 if self._flip(0.95) else 0x45
        for number, segment in enumerate(state.segments[:6]):
            segment.selector = self.code(state.cpl) if number == 1 else self.selector(DATA, state.cpl)
            segment.attributes |= state.cpl << 5
            if number == 2 and self._flip(0.1):
                segment.attributes &= ~0x400
            if self._flip(0.1):
                segment.limit, segment.base = rng.choice((0x8FFF, 0xAFFF)), rng.choice((0, 0x10))
        if self._flip(0.8):
            state.segments[6].copy_from(SegmentCache(0x58, LDT, LDT_ENTRIES * 8 - 1, 0x82))
        state.segments[7].copy_from(SegmentCache(0x28, TSS, 0xFFF if self._flip(0.95) else 0x10,
                                                 0x8B if self._flip(0.9) else 0x83))
        state.cr0 |= int(Cr0.AM) if self._flip(0.5) else 0
        for msr in MIRRORED:
            state.msrs[msr] = rng.choice((0, 8, 0x10, rng.getrandbits(32)))

    def _paging(self) -> None:
        """Everything where it is, with some pages absent, read-only or of the supervisor."""
        rng, state = self.rng, self.state
        flags = 7 if self._flip(0.9) else rng.randrange(8)
        self.words[DIRECTORY >> 2] = TABLE | flags | (0x20 if self._flip(0.5) else 0)
        for region in range(1, 1024):
            self.words[(DIRECTORY >> 2) + region] = rng.choice((0, 0x87, 0x1A3, 0x2087, TABLE | 7))
        for page in range(1024):
            entry = page % (RAM >> 12) << 12 | 7 | rng.choice((0, 0x20, 0x60, 0x160))
            self.words[(TABLE >> 2) + page] = entry if self._flip(0.96) else entry & ~rng.choice((1, 2, 4, 7))
        state.cr3 = DIRECTORY
        state.cr0 |= int(Cr0.PG) | (int(Cr0.WP) if self._flip(0.5) else 0)
        state.cr4 = rng.choice((0, int(Cr4.PSE), int(Cr4.PGE), int(Cr4.PSE | Cr4.PGE)))

    # the two ways

    def in_python(self, routine: str, arguments: tuple[Any, ...]) -> Outcome:
        cpu = Interpreter(PhysicalMemory(self.ram.copy()))
        cpu.state.load_dict(self.state.to_dict())
        cpu.state_changed()
        result: Any = None
        fault: tuple[int, int | None, int | None] | None = None
        try:
            owner = cpu.mmu if routine.startswith("mmu.") else cpu
            result = getattr(owner, routine.removeprefix("mmu."))(*arguments)
        except Fault as raised:
            fault = int(raised.vector), raised.error, raised.cr2
        except Unsupported:
            result = Unsupported
        if isinstance(result, Fault):
            result = int(result.vector), result.error
        return Outcome(result, fault, cpu.state.to_dict(), bytes(cpu.memory.bytes))

    def native(self) -> Native:
        return Native(self)

    def in_native(self, routine: str, words: tuple[int, ...]) -> Outcome | None:
        return self.native().call(routine, words)


class Native:
    """The context of a world."""

    def __init__(self, world: World):
        self.ram = world.ram.copy()
        self.context = Context(self.ram.ctypes.data, RAM, MIRRORED)
        self.state = self.context.state
        self.state.load_dict(world.state.to_dict())

    def call(self, routine: str, words: tuple[int, ...]) -> Outcome | None:
        """Call a routine; None when it bails."""
        status, result = library().call(routine.replace(".", "_"), self.state, *words)
        if status == BAIL:
            return None
        state = self.state
        fault = None
        if status == FAULT:
            fault = (state.fault_vector, state.fault_error if state.fault_has_error else None,
                     state.fault_cr2 if state.fault_has_cr2 else None)
        return Outcome(list(result[:8]), fault, state.to_dict(), self.ram.tobytes())


def fault_words(fault: Fault) -> tuple[int, ...]:
    """A fault as an entry point takes it."""
    return (int(fault.vector), fault.error or 0, fault.error is not None, fault.cr2 or 0, fault.cr2 is not None)


