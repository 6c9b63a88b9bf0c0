"""Random programs that rewrite themselves, seeded and endless: every fault starts them afresh from a clean copy.

The body is a loop of slots. Some slots are victims, instructions of many shapes; the others write to them: to
immediates and displacements, to opcodes and ModRM bytes, to a whole slot at once, to two instructions at a
time, to the very next instruction, to themselves. What they write changes from round to round, mostly by a random
number kept in EBP. Tame programs only write what leaves valid instructions, so that they go round without faults.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from rtl.isa.paging import PTE_P, PTE_RW
from rtl.isa.registers import Cr0
from rtl.isa.segments import ACCESS_CODE, ACCESS_DATA, FLAGS_FLAT32, SystemType, descriptor
from tests.vmm.engine.machine import gate
from vmm.engine.emulate import EmulatedMachine

RAM = 0x10_0000
GDT, IDT, HANDLERS, BODY, CLEAN, DATA, STACK = 0x1000, 0x2000, 0x4000, 0x2_0000, 0x3_0000, 0x4_0000, 0x5_0000
DIRECTORY, TABLE = 0x6_0000, 0x6_1000
_SLOT = 16


def _word(value: int) -> bytes:
    return struct.pack("<I", value & 0xFFFF_FFFF)


@dataclass(frozen=True)
class _Victim:
    """An instruction with what of it may change: bits of bytes that may turn, and fields with their sizes."""

    code: bytes
    toggles: dict[int, tuple[int, ...]]
    fields: dict[int, int]


class _Body:
    """Draws the bytes of one loop, which lies across a page boundary."""

    def __init__(self, rng: random.Random, slots: int, tame: bool):
        self._rng, self._slots = rng, slots
        self.start = BODY - _SLOT * (slots // 2) - rng.randrange(_SLOT)
        if tame:
            self._bodies = self._tame_slots()
            return
        self._bodies = [self._victim() for _ in range(slots)]
        for number in range(slots):
            if rng.random() < 0.5:
                self._bodies[number] = self._writer(number)

    def _tame_slots(self) -> list[bytes]:
        """Victims, and writers to any of them; some slots are a writer with the victim right behind it."""
        rng, bodies = self._rng, []
        victims = {number: self._tame_victim() for number in range(self._slots) if rng.random() < 0.6}
        for number in range(self._slots):
            behind = victims.get(number)
            if behind is None:
                target, victim = rng.choice(list(victims.items()))
                bodies.append(self._tame_writer(self._place(target, victim), victim, rng.random() < 0.5))
            elif len(behind.code) <= _SLOT - 7:
                writer = self._tame_writer(self._place(number, behind), behind, False)
                bodies.append(writer.ljust(7, b"\x90") + behind.code)
            else:
                bodies.append(behind.code)
        return bodies

    def _place(self, number: int, victim: _Victim) -> int:
        return self.start + _SLOT * number + (7 if len(victim.code) <= _SLOT - 7 else 0)

    def _tame_victim(self) -> _Victim:
        rng, r, s = self._rng, self._register(), self._register()
        number, small, digit = _word(rng.getrandbits(32)), rng.getrandbits(8), rng.randrange(8) << 3
        data = _word(DATA + 8 * rng.randrange(0x100))
        digits = (8, 16, 32)
        return rng.choice((
            _Victim(bytes((0xB8 + r,)) + number, {0: (1,)}, {1: 4}),
            _Victim(bytes((0x81, 0xC0 | digit | r)) + number, {1: digits}, {2: 4}),
            _Victim(bytes((0x83, 0xC0 | digit | r, small)), {1: digits}, {2: 1}),
            _Victim(bytes((0x66, 0x81, 0xC0 | digit | r)) + number[:2], {2: digits}, {3: 2}),
            _Victim(bytes((0xC1, 0xC0 | digit | r, small)), {1: digits}, {2: 1}),
            _Victim(b"\x05" + number, {0: (0x28, 0x10, 0x08)}, {1: 4}),
            _Victim(bytes((0x40 + r,)), {0: (8, 1)}, {}),
            _Victim(bytes((0x70 | rng.randrange(16), 1, 0x40 + r)), {0: (1, 2, 4, 8)}, {}),
            _Victim(b"\xA1" + data, {0: (1,), 1: (4, 16)}, {}),
            _Victim(bytes((0x03, r << 3 | 5)) + data, {0: (0x28, 0x10), 2: (4, 16)}, {}),
            _Victim(bytes((0x81, digit | 5)) + data + number, {1: digits, 2: (4, 64)}, {6: 4}),
            _Victim(b"\xC7\x05" + data + number, {2: (4, 32)}, {6: 4}),
            _Victim(bytes((0x8D, 0x80 | r << 3 | s)) + number, {1: (8,)}, {2: 4}),
            _Victim(bytes((0x68,)) + number + bytes((0x58 + r,)), {5: (1,)}, {1: 4}),
            _Victim(bytes((0x6A, small, 0x58 + r)), {}, {1: 1}),
            _Victim(bytes((0x69, 0xC0 | r << 3 | s)) + number, {1: (8, 1)}, {2: 4}),
            _Victim(b"\xE8" + _word(0) + bytes((0x58 + r,)), {5: (1,)}, {}),
            _Victim(b"\xA1" + data, {}, {1: 1}), _Victim(bytes((0x03, r << 3 | 5)) + data, {}, {2: 1}),
            _Victim(bytes((0x8D, 0x40 | r << 3 | s, small)), {1: (8,)}, {2: 1}),
            _Victim(bytes((0x8D, 0x44 | r << 3, 0x80 | s << 3 | 3, small)), {1: (8,)}, {3: 1}),
            _Victim(bytes((0x67, 0x8D, 0x40 | r << 3 | rng.randrange(8), small)), {2: (8,)}, {3: 1}),
            _Victim(bytes((0x67, 0x8D, 0x80 | r << 3 | rng.randrange(8))) + number[:2], {2: (8,)}, {3: 2}),
            _Victim(bytes((0x0F, 0x80 | rng.randrange(16))) + _word(0) + bytes((0x40 + r,)), {1: (1, 2), 2: (1,)}, {}),
            _Victim(b"\xE8" + _word(0) + bytes((0x90, 0x58 + r)), {1: (1,)}, {}),
            _Victim(bytes((0xE0 | rng.randrange(4), 0, 0x90, 0x40 + r)), {1: (1, 2), 0: (1,)}, {}),
            # longer and shorter by a prefix, and jumped into
            _Victim(b"\x90\x05" + number[:2] + b"\x90\x90", {0: (0xF6,)}, {2: 2}),
            _Victim(b"\xEB\x00\xB8\x90\x90\x90\x90", {1: (1, 2, 4)}, {}),
        ))

    def _tame_writer(self, place: int, victim: _Victim, conditional: bool) -> bytes:
        """A new number in a field, or a bit of an opcode turned, perhaps only in some rounds."""
        rng = self._rng
        if victim.fields and (not victim.toggles or rng.random() < 0.5):
            offset, size = rng.choice(list(victim.fields.items()))
            at = _word(place + offset)
            if size == 4 and rng.random() < 0.3:
                return b"\x01\x2D" + at
            return {1: b"\x89\xE8\xA2", 2: b"\x66\x89\x2D", 4: b"\x89\x2D"}[size] + at
        offset, bits = rng.choice(list(victim.toggles.items()))
        turn = b"\x80\x35" + _word(place + offset) + bytes((rng.choice(bits),))
        return (b"\xF7\xC5" + _word(1 << rng.randrange(16, 32)) + b"\x74\x07" if conditional else b"") + turn

    def code(self) -> bytes:
        """EBP: another random number each round; then around again."""
        slots = b"".join(body.ljust(_SLOT, b"\x90") for body in self._bodies)
        tail = b"\x69\xED" + _word(1103515245) + b"\x81\xC5" + _word(12345)
        return slots + tail + b"\xE9" + _word(-(len(slots) + len(tail) + 5))

    def _register(self) -> int:
        """Any but ESP and EBP."""
        return self._rng.choice((0, 1, 2, 3, 6, 7))

    def _victim(self) -> bytes:
        rng, r, s = self._rng, self._register(), self._register()
        number, small = rng.getrandbits(32), rng.getrandbits(8)
        data = _word(DATA + rng.randrange(0x800))
        digit = rng.randrange(8)
        return rng.choice((
            bytes((0xB8 + r,)) + _word(number),
            bytes((0x81, 0xC0 | digit << 3 | r)) + _word(number),
            bytes((0x83, 0xC0 | digit << 3 | r, small)),
            bytes((0x66, 0x81, 0xC0 | digit << 3 | r)) + _word(number)[:2],
            bytes((0xC1, 0xC0 | rng.choice((0, 1, 2, 3, 4, 5, 7)) << 3 | r, small)),
            bytes((0xC0, 0xC0 | rng.choice((0, 1, 2, 3, 4, 5, 7)) << 3 | s, small)),
            bytes((0x69, 0xC0 | r << 3 | s)) + _word(number),
            bytes((0x6B, 0xC0 | r << 3 | s, small)),
            bytes((0xA1,)) + data, bytes((0xA2,)) + data,
            bytes((0x03, r << 3 | 5)) + data,
            bytes((0x81, digit << 3 | 5)) + data + _word(number),
            bytes((0xC7, 0x05)) + data + _word(number),
            bytes((0x8D, 0x80 | r << 3 | s)) + _word(number),
            bytes((0x8D, 0x44 | r << 3, 0x80 | s << 3 | 3, small)),
            bytes((0x68,)) + _word(number) + bytes((0x58 + r,)),
            bytes((0x6A, small, 0x58 + r)),
            bytes((0x70 | rng.randrange(16), rng.randrange(10))),
            bytes((0xEB, rng.randrange(10))),
            bytes((0x0F, 0x80 | rng.randrange(16))) + _word(rng.randrange(8)),
            bytes((0xE8,)) + _word(0) + bytes((0x58 + r,)),
            bytes((0xA9,)) + _word(number), bytes((0x3C, small)),
            bytes((0x0F, 0xBA, 0xE0 | r, small)),
            bytes((0xF7, 0xD0 | r)) + bytes((0x11, 0xC0 | r << 3 | s)),
        ))

    def _target(self, number: int) -> int:
        """Of a write in a slot: mostly in a victim's instruction, often the next one, sometimes its own."""
        rng = self._rng
        slot = rng.choice((number + 1, number, rng.randrange(self._slots), rng.randrange(self._slots)))
        return self.start + _SLOT * (slot % self._slots)

    def _writer(self, number: int) -> bytes:
        rng, there = self._rng, self._target(number)
        at = _word(there + rng.choice((0, 0, 1, 1, 1, 2, 2, 3, 5, 7)))
        number_in = _word(there + rng.choice((1, 2, 2)))
        victim = self._victim().ljust(8, b"\x90")
        bit = 1 << rng.randrange(8)
        return rng.choice((
            b"\x89\x2D" + number_in, b"\x89\x2D" + number_in, b"\x89\x2D" + number_in,
            b"\x66\x89\x2D" + number_in, b"\x89\xE8\xA2" + number_in,
            b"\x01\x2D" + number_in, b"\xFF\x05" + number_in,
            b"\x80\x35" + at + bytes((bit,)),
            b"\x80\x35" + _word(there) + bytes((rng.choice((8, 0x10, 0x28)),)),
            b"\xC7\x05" + _word(there) + victim[:4],
            b"\xC6\x05" + at + bytes((rng.choice((0x90, 0x40, 0xEB, 0x66)),)),
            # eight bytes at once, pushed
            b"\x89\xE3\xBC" + _word(there + 8) + b"\xFF\x33\x55\x89\xDC",
            # from the clean copy
            b"\xBE" + _word(CLEAN + rng.randrange(self._slots) * _SLOT) + b"\xBF" + _word(there) + b"\xA5\xA5",
            b"\x89\x2D" + _word(self.start + _SLOT * number + 8) + b"\x05" + _word(rng.getrandbits(32)),
        ))


def surround(machine: EmulatedMachine, paging: bool) -> None:
    """Tables and flat segments; under paging everything lies where it would without."""
    memory, state = machine.memory, machine.cpu.state
    table = (0, descriptor(0, 0xFFFFF, ACCESS_CODE, FLAGS_FLAT32), descriptor(0, 0xFFFFF, ACCESS_DATA, FLAGS_FLAT32))
    memory.load_blob(GDT, struct.pack("<3Q", *table))
    memory.load_blob(IDT, struct.pack("<48Q", *[gate(HANDLERS, 8, SystemType.INTERRUPT_GATE32)] * 48))
    memory.load_blob(DIRECTORY, _word(TABLE | PTE_P | PTE_RW))
    memory.load_blob(TABLE, b"".join(_word(page << 12 | PTE_P | PTE_RW) for page in range(RAM >> 12)))
    state.gdtr_base, state.gdtr_limit, state.idtr_base, state.idtr_limit = GDT, 23, IDT, 48 * 8 - 1
    for number in range(6):
        state.segments[number].selector = 8 if number == 1 else 16
    state.gpr[4], state.cr3 = STACK, DIRECTORY
    if paging:
        state.cr0 |= int(Cr0.PG)


def walked(machine: EmulatedMachine) -> None:
    """Code in a page table, turned from ADD to AND when the walk of the load before it sets the accessed bit."""
    number = 0x100
    code, page = TABLE + 4 * number - 11, number << 12
    entry = b"\x03\xC3\x04\x00"
    body = b"\xB8" + _word(0) + b"\x8B\x1D" + _word(page) + entry
    loop = b"\x45\x89\x2D" + _word(code + 1) + b"\x80\x25" + _word(TABLE + 4 * number)
    loop += b"\xDF\x0F\x01\x3D" + _word(page) + b"\x01\xC1\xE9"
    surround(machine, True)
    machine.memory.load_blob(BODY, loop + _word(code - (BODY + len(loop) + 4)))
    machine.memory.load_blob(code, body + b"\xE9" + _word(BODY - (code + len(body) + 5)))
    machine.memory.load_blob(0x4_C000, _word(0x1234_5677))
    machine.cpu.state.eip = BODY
    machine.cpu.state_changed()


def prepare(machine: EmulatedMachine, seed: int, paging: bool, slots: int = 24) -> None:
    """Load the program of a seed; every other one is tame."""
    rng = random.Random(seed)
    body = _Body(rng, slots, seed % 2 == 0)
    code, memory, state = body.code(), machine.memory, machine.cpu.state
    surround(machine, paging)
    restart = (b"\xBC" + _word(STACK) + b"\xBE" + _word(CLEAN) + b"\xBF" + _word(body.start) + b"\xB9"
               + _word(len(code)) + b"\xFC\xF3\xA4\xB9" + _word(seed) + b"\xE9")
    restart += _word(body.start - (HANDLERS + len(restart) + 4))
    for place, blob in ((HANDLERS, restart), (CLEAN, code), (body.start, code), (DATA, rng.randbytes(0x1000))):
        memory.load_blob(place, blob)
    state.gpr[5], state.eip = rng.getrandbits(32), body.start
    machine.cpu.state_changed()
