"""A guest: a random program with slots of what a virtual machine monitor cares about, and the state it starts in."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from rtl.isa.msrs import EFER_SVME, Msr
from rtl.isa.registers import DR6_FIXED, DR7_FIXED, Cr0, Cr4, Eflags
from rtl.isa.segments import (
    ACCESS_CODE,
    ACCESS_DATA,
    ACCESS_DPL3,
    ACCESS_TSS32,
    ATTR_P,
    FLAGS_FLAT32,
    SystemType,
)
from rtl.isa.svm import SegmentField, Vmcb
from rtl.isa.tss import TSS32_MIN_LIMIT

from .. import randprog
from ..image import Segment
from ..randprog import asm, world
from ..randprog.asm import EAX, ECX, EDX
from ..randprog.world import BODY, ENTRY, SLOT, STACK

SLOTS = 400
#: Chance of a slot to be one of ours.
_SHARE = 0.4
_FLAT = FLAGS_FLAT32 << 8
_TSS_BUSY = ATTR_P | SystemType.TSS32_BUSY.value
_PAT_AT_RESET = 0x0007_0406_0007_0406
_MSRS = (*(int(msr) for msr in Msr), 0x1234, 0xC000_0101, 0xC001_1FFF, 0x4000_0000)
#: Interrupts of the guest that come from nowhere but its VMCB.
VECTORS = range(0x30, 0x80)


def with_slots(rng: random.Random, program: randprog.Program, gif: bool = False) -> randprog.Program:
    """`program` with some of its slots replaced; with `gif` by STGI and CLGI, too."""
    kinds = (*_KINDS, _gif) if gif else _KINDS
    segments = []
    for segment in program.image.segments:
        if segment.address == BODY:
            code = bytearray(segment.data)
            for index in range(SLOTS):
                if rng.random() < _SHARE:
                    code[index * SLOT:index * SLOT + SLOT] = _slot(rng, kinds)
            segment = Segment(BODY, bytes(code), segment.size)
        segments.append(segment)
    return replace(program, image=replace(program.image, segments=tuple(segments)))


def _slot(rng: random.Random, kinds: Sequence[Callable[[random.Random], bytes]]) -> bytes:
    text = b""
    while True:
        made = rng.choice(kinds)(rng)
        if len(text) + len(made) > SLOT:
            return text.ljust(SLOT, b"\x90")
        text += made


def _control_register(rng: random.Random) -> bytes:
    number, register = rng.choice((0, 0, 2, 3, 3, 4)), rng.choice((EAX, ECX, EDX))
    read = bytes([0x0F, 0x20, 0xC0 | number << 3 | register])
    change = b""
    if number == 0:
        # The read may have been intercepted, and then the register has anything; there is no real mode.
        change = bytes([0x81, 0xF0 | register]) + asm.imm32(rng.choice((Cr0.MP, Cr0.TS, Cr0.WP, Cr0.AM, Cr0.NE)))
        change += bytes([0x83, 0xC8 | register, Cr0.PE])
    write = asm.mov_to_control(number, register) if rng.random() < 0.7 else b""
    # No pointer to the page directory stays behind.
    return read + change + write + (asm.mov(register, rng.getrandbits(32)) if number == 3 else b"")


def _msr(rng: random.Random) -> bytes:
    return asm.mov(ECX, rng.choice(_MSRS)) + rng.choice((b"\x0F\x32", b"\x0F\x32", b"\x0F\x32\x0F\x30"))


def _port(rng: random.Random) -> bytes:
    return asm.mov(EDX, rng.choice((0x80, 0x83, 0x85, 0x87, 0x60, 0xFFFF))) + rng.choice((
        b"\xEC", b"\xED", b"\xEE", b"\xEF", b"\x66\xEF", b"\xE4\x80", b"\xE6\x86", b"\x6C", b"\x6D", b"\x6E", b"\x6F",
        asm.mov(ECX, 3) + b"\xF3\x6E", asm.mov(ECX, 2) + b"\xF3\x66\x6D"))


def _plain(rng: random.Random) -> bytes:
    """What has no operands, or those of chance."""
    return rng.choice((
        b"\x0F\x01\xD9", b"\x0F\x01\xD9", b"\x0F\x01" + bytes([rng.randrange(0xD8, 0xE0)]), b"\xF3\x90",
        b"\xF3\x90\xF3\x90", b"\x0F\xA2", b"\x0F\x31", b"\x0F\x33", b"\xF4", b"\xFB\xF4", b"\x0F\x08", b"\x0F\x09",
        b"\x9C\x9D", b"\xCC", b"\xF1", bytes([0xCD, world.RETURN_INT]), bytes([0xCD, world.TASK_INT]), b"\x0F\x06",
        b"\x0F\x01\xE0", b"\x0F\x01\xF0", b"\x0F\x00\xC0", b"\x0F\x00\xC8", b"\x0F\xAA", b"\x0F\x0B", b"\xFA", b"\xFB",
        b"\x0F\x30", b"\x0F\x34", b"\x0F\x35", b"\xF3\x6C"))


def _table_register(rng: random.Random) -> bytes:
    """SGDT and SIDT into data, LGDT and LIDT of what they were at first, LTR and LLDT of what may not be loaded."""
    pointer = world.DATA + 8 * rng.randrange(16)
    return rng.choice((
        b"\x0F\x01\x05" + asm.imm32(pointer), b"\x0F\x01\x0D" + asm.imm32(pointer),
        b"\x0F\x01\x15" + asm.imm32(ENTRY + 0xF00), b"\x0F\x01\x1D" + asm.imm32(ENTRY + 0xF10),
        asm.mov(EAX, rng.choice((world.TSS_SEL, world.TASK_SEL, 0))) + b"\x0F\x00" + rng.choice((b"\xD8", b"\xD0"))))


def _debug_register(rng: random.Random) -> bytes:
    number = rng.randrange(8)
    read = bytes([0x0F, 0x21, 0xC0 | number << 3])
    return read + (bytes([0x0F, 0x23, 0xC0 | number << 3]) if rng.random() < 0.5 else b"")


def _invlpg(rng: random.Random) -> bytes:
    return asm.invlpg(rng.choice((BODY, world.DATA, world.ODD)) + 0x1000 * rng.randrange(4))


def _gif(rng: random.Random) -> bytes:
    return b"\x0F\x01" + rng.choice((b"\xDC", b"\xDD"))


_KINDS = (_control_register, _msr, _port, _plain, _plain, _table_register, _debug_register, _invlpg)


def start(rng: random.Random, program: randprog.Program) -> dict[int, int]:
    """Words of a VMCB's save area, by offset, that let `program` run from one of its slots."""
    around = program.world
    user = around.user if rng.random() < 0.95 else not around.user
    ring = ACCESS_DPL3 if user else 0
    flags = 2 | (Eflags.IF if around.interrupts or rng.random() < 0.3 else 0)
    flags |= sum(bit for bit in (Eflags.TF, Eflags.DF, Eflags.AC, Eflags.NT, Eflags.RF) if rng.random() < 0.03)
    flags |= rng.choice((0, 0, 0, Eflags.IOPL)) | rng.getrandbits(8) & 0xD5
    cr0 = Cr0.PE | Cr0.ET | (Cr0.PG if around.paging else 0) | (Cr0.WP if around.write_protect else 0) \
        | (Cr0.AM if around.alignment else 0) | sum(bit for bit in (Cr0.MP, Cr0.TS, Cr0.NE) if rng.random() < 0.2)
    cr4 = Cr4.PSE | (Cr4.PGE if around.global_pages else 0) | sum(
        bit for bit in (Cr4.TSD, Cr4.DE, Cr4.PCE) if rng.random() < 0.2)
    words = {
        **_segment(Vmcb.CS, world.CODE3 | 3 if user else world.CODE0, ACCESS_CODE | ring | _FLAT, 0xFFFF_FFFF, 0),
        **_segment(Vmcb.GDTR, 0, 0, 0x7F, world.GDT), **_segment(Vmcb.IDTR, 0, 0, 0x7FF, world.IDT),
        **_segment(Vmcb.LDTR, 0, 0, 0, 0),
        **_segment(Vmcb.TR, world.TSS_SEL, rng.choice((_TSS_BUSY, _TSS_BUSY, ACCESS_TSS32)), TSS32_MIN_LIMIT + 40,
                   world.TSS)}
    for segment in (Vmcb.SS, Vmcb.DS, Vmcb.ES, Vmcb.FS, Vmcb.GS):
        words |= _segment(segment, world.DATA3 | 3 if user else world.DATA0, ACCESS_DATA | ring | _FLAT, 0xFFFF_FFFF, 0)
    if rng.random() < 0.1:
        # A segment that is not what its descriptor says.
        words |= _segment(rng.choice((Vmcb.DS, Vmcb.ES, Vmcb.FS, Vmcb.GS)), rng.getrandbits(16),
                          rng.choice((ACCESS_DATA | ring, ACCESS_CODE | ring, 0, rng.getrandbits(12))) & ~0x200,
                          rng.getrandbits(rng.choice((12, 20))), rng.choice((0, world.DATA, rng.getrandbits(32))))
    quads = {
        Vmcb.EFER: EFER_SVME, Vmcb.CR4: cr4, Vmcb.CR3: world.DIRECTORY, Vmcb.CR0: cr0, Vmcb.DR7: DR7_FIXED,
        Vmcb.DR6: DR6_FIXED, Vmcb.RFLAGS: flags, Vmcb.RIP: BODY + SLOT * rng.randrange(SLOTS),
        Vmcb.RSP: STACK - 4 * rng.randrange(64), Vmcb.RAX: rng.getrandbits(32), Vmcb.CR2: rng.getrandbits(32),
        Vmcb.G_PAT: _PAT_AT_RESET, Vmcb.SYSENTER_CS: rng.choice((0, world.CODE0)),
        Vmcb.SYSENTER_ESP: world.KERNEL_STACK, Vmcb.SYSENTER_EIP: BODY + SLOT * rng.randrange(SLOTS)}
    if rng.random() < 0.1:
        quads[Vmcb.DR7] = DR7_FIXED | rng.getrandbits(8) & ~0x2000 | rng.getrandbits(16) << 16
    for field, value in quads.items():
        words |= quad(field, value)
    words[Vmcb.CPL & ~3] = (3 if user else 0) << 8 * (Vmcb.CPL & 3)
    return words


def quad(field: int, value: int) -> dict[int, int]:
    """The two words of a field."""
    return {int(field): value & 0xFFFF_FFFF, int(field) + 4: value >> 32}


def _segment(field: int, selector: int, attributes: int, limit: int, base: int) -> dict[int, int]:
    return {field: selector | attributes << 16, field + SegmentField.LIMIT: limit,
            **quad(field + SegmentField.BASE, base)}
