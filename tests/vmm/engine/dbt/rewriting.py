"""Random programs that rewrite themselves, seeded and endless: every fault starts them afresh from a clean copy.

The body is a loop of slots. Some slots are victims, instructions of many shapes; the others write to them: to
immediates and displacements, to opcodes and ModRM bytes, to a whole slot at once, to two instructions at a
time, to the very next instruction, to themselves. What they write changes from round to round, mostly by a random
number kept in EBP.
"""

from __future__ import annotations

import random
import struct

from rtl.isa.paging import PTE_P, PTE_RW
from rtl.isa.registers import Cr0
from rtl.isa.segments import ACCESS_CODE, ACCESS_DATA, FLAGS_FLAT32, SystemType, descriptor
from tests.vmm.engine.machine import gate
from vmm.engine.emulate import EmulatedMachine

RAM = 0x10_0000
GDT, IDT, HANDLERS, BODY, CLEAN, DATA, STACK = 0x1000, 0x2000, 0x4000, 0x2_0000, 0x3_0000, 0x4_0000, 0x5_0000
DIRECTORY, TABLE = 0x6_0000, 0x6_1000
_SLOT = 16
_SLOTS_PER_PAGE = 4096 // _SLOT


def _word(value: int) -> bytes:
    return struct.pack("<I", value & 0xFFFF_FFFF)


class _Body:
    """Draws the bytes of one loop, which lies across a page boundary."""

    def __init__(self, rng: random.Random, slots: int):
        self._rng, self._slots = rng, slots
        self.start = BODY - _SLOT * (slots // 2) - rng.randrange(_SLOT)
        self._bodies = [self._victim() for _ in range(slots)]
        for number in range(slots):
            if rng.random() < 0.5:
                self._bodies[number] = self._writer(number)

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


def prepare(machine: EmulatedMachine, seed: int, paging: bool, slots: int = 24) -> None:
    """Load the program of a seed."""
    rng = random.Random(seed)
    body = _Body(rng, slots)
    code, memory, state = body.code(), machine.memory, machine.cpu.state
    table = (0, descriptor(0, 0xFFFFF, ACCESS_CODE, FLAGS_FLAT32), descriptor(0, 0xFFFFF, ACCESS_DATA, FLAGS_FLAT32))
    memory.load_blob(GDT, struct.pack("<3Q", *table))
    memory.load_blob(IDT, struct.pack("<48Q", *[gate(HANDLERS, 8, SystemType.INTERRUPT_GATE32)] * 48))
    restart = (b"\xBC" + _word(STACK) + b"\xBE" + _word(CLEAN) + b"\xBF" + _word(body.start) + b"\xB9"
               + _word(len(code)) + b"\xFC\xF3\xA4\xB9" + _word(seed) + b"\xE9")
    restart += _word(body.start - (HANDLERS + len(restart) + 4))
    for place, blob in ((HANDLERS, restart), (CLEAN, code), (body.start, code), (DATA, rng.randbytes(0x1000))):
        memory.load_blob(place, blob)
    memory.load_blob(DIRECTORY, _word(TABLE | PTE_P | PTE_RW))
    memory.load_blob(TABLE, b"".join(_word(page << 12 | PTE_P | PTE_RW) for page in range(RAM >> 12)))
    state.gdtr_base, state.gdtr_limit, state.idtr_base, state.idtr_limit = GDT, 23, IDT, 48 * 8 - 1
    for number in range(6):
        state.segments[number].selector = 8 if number == 1 else 16
    state.gpr[4], state.gpr[5], state.eip, state.cr3 = STACK, rng.getrandbits(32), body.start, DIRECTORY
    if paging:
        state.cr0 |= int(Cr0.PG)
    machine.cpu.state_changed()
