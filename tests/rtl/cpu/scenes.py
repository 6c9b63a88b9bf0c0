"""Random processors in random surroundings: descriptor tables, gates, task-state segments and stacks for one step.

A scene is the state and memory that the golden model and a model of the hardware both start from. Most of what is in it
is right, so that deep paths are reached; the rest is wrong in one place.
"""
from __future__ import annotations

import random

import numpy as np

from rtl.isa.registers import Eflags
from rtl.isa.segments import Gate, SystemType, descriptor
from rtl.isa.tss import Tss16, Tss32
from vmm.state import CpuState, SegmentCache

SIZE = 1 << 18
GDT, LDT, IDT = 0x1000, 0x1400, 0x2000
TASKS = (0x3000, 0x3100, 0x3200, 0x3300)     # two 32-bit, two 16-bit
PAGES, TABLE = 0x4000, 0x5000
CODE, STACKS, DATA = 0x8000, 0x1_9000, 0x2_0000
CODE_OFFSET = 0x100
#: Ports that no device has.
PORT_RANGE = 0x240

# GDT slots.
CODES = {(level, conforming, wide): 1 + level * 4 + conforming * 2 + wide
         for level in range(4) for conforming in range(2) for wide in range(2)}
STACK_SEGMENTS = {(level, wide): 20 + level * 2 + wide for level in range(4) for wide in range(2)}
READ_ONLY, EXPAND_DOWN, DATA3, LOCAL_TABLE = 30, 31, 32, 33
TASK_SLOTS = (34, 35, 36, 37)
GATES = range(40, 56)
JUNK = range(56, 64)


class Scene:
    """One random state; `state` and `memory` are copied for each model."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.memory = np.zeros(SIZE // 4, dtype=np.uint32)
        self.bytes = memoryview(self.memory).cast("B")
        self.state = CpuState()
        self.absolute = False   # the code has a displacement of the 32-bit kind
        self._tables()
        self._tasks()
        self._processor()

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def put(self, address: int, value: int, size: int) -> None:
        self.bytes[address:address + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")

    def get(self, address: int, size: int) -> int:
        return int.from_bytes(self.bytes[address:address + size], "little")

    def _segment(self, kind: int, level: int, wide: int, limit: int = 0xF_FFFF) -> int:
        rng = self.rng
        if self.chance(0.05):
            limit = rng.choice([0, 0x10, 0xFFFF])
        base = rng.choice([0, 0, 0, 0x10])
        access = (0 if self.chance(0.03) else 0x80) | level << 5 | 0x10 | kind | rng.getrandbits(1)
        return descriptor(base, limit, access, (wide and 4) | (8 if limit == 0xF_FFFF else 0))

    def _tables(self) -> None:
        rng = self.rng
        slots: dict[int, int] = {}
        for (level, conforming, wide), slot in CODES.items():
            slots[slot] = self._segment(8 | conforming << 2 | (2 if self.chance(0.8) else 0), level, wide)
        for (level, wide), slot in STACK_SEGMENTS.items():
            slots[slot] = self._segment(2, level, wide, 0xF_FFFF if wide else 0x3_FFFF)
        slots[READ_ONLY] = self._segment(0, rng.randrange(4), 1)
        slots[EXPAND_DOWN] = self._segment(6, rng.randrange(4), rng.getrandbits(1), 0xFFF)
        slots[DATA3] = self._segment(2, 3, 1)
        slots[LOCAL_TABLE] = descriptor(LDT, rng.choice([0x1FF, 0x1FF, 0x3F]), 0x82, 0)
        for number, slot in enumerate(TASK_SLOTS):
            limit = rng.choice([0x67, 0xFF]) if number < 2 else rng.choice([0x2B, 0x67])
            if self.chance(0.05):
                limit -= 1
            kind = (9 if number < 2 else 1) | (2 if self.chance(0.2) else 0)
            slots[slot] = descriptor(TASKS[number], limit, (0 if self.chance(0.05) else 0x80)
                                     | rng.choice([0, 3]) << 5 | kind, 0)
        for slot in GATES:
            slots[slot] = self._gate(rng.choice([SystemType.CALL_GATE32, SystemType.CALL_GATE32,
                                                 SystemType.CALL_GATE16, SystemType.TASK_GATE]))
        for slot in JUNK:
            slots[slot] = rng.getrandbits(64) | (1 << 47)
        for slot, value in slots.items():
            self.put(GDT + 8 * slot, value, 8)
            self.put(LDT + 8 * slot, slots[rng.choice(list(slots))], 8)
        for vector in range(64):
            kind = rng.choice([SystemType.INTERRUPT_GATE32, SystemType.TRAP_GATE32] * 3
                              + [SystemType.INTERRUPT_GATE16, SystemType.TRAP_GATE16, SystemType.TASK_GATE])
            self.put(IDT + 8 * vector, self._gate(kind) if self.chance(0.97) else rng.getrandbits(64), 8)

    def selector(self) -> int:
        rng = self.rng
        slot = rng.choice([*CODES.values(), *STACK_SEGMENTS.values(), *range(30, 64), 0, rng.randrange(80)])
        return slot << 3 | (4 if self.chance(0.15) else 0) | rng.randrange(4)

    def code_selector(self) -> int:
        if self.chance(0.1):
            return self.selector()
        (level, *_), slot = self.rng.choice(list(CODES.items()))
        return slot << 3 | (level if self.chance(0.7) else self.rng.randrange(4))

    def stack_selector(self, level: int) -> int:
        if self.chance(0.1):
            return self.selector()
        return STACK_SEGMENTS[level, int(self.chance(0.7))] << 3 | level

    def _gate(self, kind: SystemType) -> int:
        rng = self.rng
        target = (rng.choice(TASK_SLOTS) << 3) if kind is SystemType.TASK_GATE else self.code_selector()
        if self.chance(0.03):
            target = self.selector()
        offset = rng.choice([CODE, CODE + rng.randrange(0x1000), rng.getrandbits(17)])
        return Gate.build(offset_low=offset & 0xFFFF, offset_high=offset >> 16, selector=target,
                          count=rng.choice([0, 0, 1, 3, 31]), type=kind.value, s=0,
                          dpl=rng.choice([0, 3, 3, 3, rng.randrange(4)]), p=int(self.chance(0.95)))

    def _tasks(self) -> None:
        rng = self.rng
        for base in TASKS[:2]:
            self.bytes[base:base + 0x68] = rng.randbytes(0x68)
            for level, (esp, ss) in enumerate(((Tss32.ESP0, Tss32.SS0), (Tss32.ESP1, Tss32.SS1),
                                               (Tss32.ESP2, Tss32.SS2))):
                self.put(base + esp.value, self._stack_top(level), 4)
                self.put(base + ss.value, self.stack_selector(level), 2)
            self._task_image(base, Tss32, 4)
            self.put(base + Tss32.CR3.value, PAGES, 4)
            self.put(base + Tss32.T.value, rng.choice([0, 0, 0, 1]), 2)
            self.put(base + Tss32.IO_BASE.value, rng.choice([0x68, 0x68, 0xFE, 0xFFFF]), 2)
        for base in TASKS[2:]:
            self.bytes[base:base + 0x2C] = rng.randbytes(0x2C)
            for level, (sp, ss) in enumerate(((Tss16.SP0, Tss16.SS0), (Tss16.SP1, Tss16.SS1), (Tss16.SP2, Tss16.SS2))):
                self.put(base + sp.value, rng.randrange(0x9000, 0xD000), 2)
                self.put(base + ss.value, self.stack_selector(level), 2)
            self._task_image(base, Tss16, 2)

    def _stack_top(self, level: int) -> int:
        return STACKS + 0x1000 * level + self.rng.choice([0x800, 0x800, 0x10, 0x7FD, 0x1000])

    def _task_image(self, base: int, tss, size: int) -> None:
        rng = self.rng
        level = rng.randrange(4)
        code = CODES[level, 0, rng.getrandbits(1)] << 3 | level
        fields = {"LINK": rng.choice(TASK_SLOTS) << 3, "ES": self.data_selector(), "CS": code,
                  "SS": self.stack_selector(level), "DS": self.data_selector(),
                  "LDT": rng.choice([0, LOCAL_TABLE << 3, LOCAL_TABLE << 3, self.selector()])}
        if size == 4:
            fields |= {"FS": self.data_selector(), "GS": self.data_selector(), "EIP": CODE,
                       "ESP": self._stack_top(level)}
        else:
            fields |= {"IP": CODE, "SP": 0x9800}
        for name, value in fields.items():
            if self.chance(0.03):
                value = self.selector()
            self.put(base + tss[name].value, value, 2 if name[-1] == "S" and name != "FLAGS" else size)

    def data_selector(self) -> int:
        rng = self.rng
        slot = rng.choice([DATA3, DATA3, 0, READ_ONLY, *STACK_SEGMENTS.values()])
        return slot << 3 | rng.choice([0, 3])

    def cache(self, selector: int) -> SegmentCache:
        """A segment register loaded without checks."""
        value = self.get(GDT + (selector & 0xFFF8), 8)
        high, low = value >> 32, value & 0xFFFF_FFFF
        limit = low & 0xFFFF | high & 0xF_0000
        if high & 1 << 23:
            limit = limit << 12 | 0xFFF
        return SegmentCache(selector, low >> 16 | (high & 0xFF) << 16 | high & 0xFF00_0000, limit,
                            high >> 8 & 0xFF | high >> 12 & 0xF00)

    def _processor(self) -> None:
        rng, state = self.rng, self.state
        level = rng.choice([0, 0, 1, 2, 3, 3, 3])
        state.cpl = level
        wide = int(self.chance(0.8))
        state.gdtr_base, state.gdtr_limit = GDT, rng.choice([0x1FF, 0x1FF, 0x1FF, 40 * 8 - 1])
        state.idtr_base, state.idtr_limit = IDT, rng.choice([0x1FF, 0x1FF, 0x1FF, 0x77])
        state.gpr[:] = [rng.choice([rng.getrandbits(32), rng.getrandbits(12)]) for _ in range(8)]
        state.gpr[3] = state.gpr[6] = DATA + rng.randrange(0x2000)
        state.gpr[5], state.gpr[7] = DATA + rng.randrange(0x2000), DATA + rng.randrange(0x2000)
        state.gpr[4] = self._stack_top(level)
        state.eip = CODE + CODE_OFFSET
        state.eflags = rng.getrandbits(22) & ~int(Eflags.TF | Eflags.RF | Eflags.AC | Eflags.NT)
        if self.chance(0.2):
            state.eflags |= Eflags.NT
        flat = SegmentCache(CODES[level, 0, wide] << 3 | level, 0, 0xFFFF_FFFF, 0x89B | level << 5 | wide << 10)
        state.segments[1] = flat
        big = int(self.chance(0.75))
        state.segments[2] = SegmentCache(STACK_SEGMENTS[level, big] << 3 | level, 0, 0xFFFF_FFFF if big else 0x3_FFFF,
                                         0x893 | level << 5 | big << 10)
        for number in (0, 3, 4, 5):
            selector = self.data_selector()
            slot = selector >> 3
            state.segments[number] = self.cache(selector) if slot else SegmentCache(selector & 3)
        current = rng.choice([0, 0, 2])
        state.segments[7] = self.cache(TASK_SLOTS[current] << 3)
        state.segments[7].attributes |= 0x82
        address = GDT + 8 * TASK_SLOTS[current] + 5
        self.put(address, self.get(address, 1) | 2, 1)
        if self.chance(0.7):
            state.segments[6] = SegmentCache(LOCAL_TABLE << 3, LDT, 0x1FF, 0x82)
        else:
            state.segments[6] = SegmentCache()
        state.msrs[0x174] = rng.choice([0, 8, 0x1234_0058])
        state.msrs[0x175], state.msrs[0x176] = self._stack_top(0), CODE
        for address in (STACKS, STACKS & 0xFFFF):   # the second is where 16-bit stacks find themselves
            self.bytes[address:address + 0x4000] = rng.randbytes(0x4000)
        if self.chance(0.5):
            self._paging()

    def _paging(self) -> None:
        """Linear is physical; some pages are supervisor, read-only, not present or not yet accessed."""
        rng, state = self.rng, self.state
        self.put(PAGES, TABLE | 7, 4)
        for page in range(SIZE >> 12):
            flags = 7 | rng.choice([0x20, 0x60, 0x60, 0])
            if self.chance(0.04) and page != CODE >> 12:
                flags &= ~rng.choice([1, 2, 4])
            self.put(TABLE + 4 * page, page << 12 | flags, 4)
        state.cr3 = PAGES
        state.cr0 |= 1 << 31 | rng.getrandbits(1) << 16

    def frame(self, *values: int, size: int) -> None:
        """Put values on the current stack, the first on top."""
        state = self.state
        mask = 0xFFFF_FFFF if state.segments[2].big else 0xFFFF
        for number, value in enumerate(values):
            offset = state.gpr[4] + number * size & mask
            if offset + size < SIZE:
                self.put(offset, value, size)

    def code(self, code: bytes) -> None:
        start = self.state.segments[1].base + self.state.eip
        self.bytes[start:start + 16] = code.ljust(16, b"\x90")
