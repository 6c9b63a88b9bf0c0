"""One random instruction of a form, encoded for 32-bit code."""

from __future__ import annotations

import random

from rtl.isa.opcodes import FORMS, Form, Operand, OpMap, Rep, imm_kind, imm_size

from .asm import ESP

#: Operations that change where or how the program runs; they appear only where the generator means them.
CONTROL = frozenset(
    "callf jmpf retf ret iret int int3 into icebp call jmp jcc loop loope loopne jcxz enter leave hlt lgdt lidt lldt "
    "ltr wrmsr invd wbinvd rdmsr rdtsc rdpmc in out ins outs cli sti popf lmsw clts sysenter sysexit les lds lss lfs "
    "lgs invlpg".split())
STRINGS = frozenset("movs cmps stos lods scas".split())
_SYSTEM_OPERANDS = {Operand[name] for name in ("ES", "CS", "SS", "DS", "FS", "GS", "Sw", "Cd", "Dd", "Rd")}
_OFFSET = {Operand.Ob, Operand.Ov}
_STACK = frozenset("push pop pusha popa pushf".split())


def _ordinary(form: Form) -> bool:
    return (form.operation not in CONTROL and form.operation not in STRINGS and form.feature is None
            and not _SYSTEM_OPERANDS.intersection(form.operands))


ORDINARY: tuple[Form, ...] = tuple(form for form in FORMS if _ordinary(form))
REGISTER_FORMS = tuple(form for form in ORDINARY if form.operation not in _STACK and not form.operands or
                       form.operation not in _STACK and _OFFSET.isdisjoint(form.operands) and form.mod.name != "MEM"
                       and form.operation != "xlat")
MEMORY_FORMS = tuple(form for form in ORDINARY if form.has_rm_memory)
STACK_FORMS = tuple(form for form in ORDINARY if form.operation in _STACK)
STRING_FORMS = tuple(form for form in FORMS if form.operation in STRINGS)
PRIVILEGED_FORMS = tuple(form for form in FORMS if form.cpl0 or form.iopl or form.io)

_ESP_WRITERS = {Operand.Zv, Operand.Gv, Operand.Ev, Operand.Gw, Operand.Ew, Operand.Ed, Operand.Zb, Operand.Gb,
                Operand.Eb, Operand.MwRv}


def _register(rng: random.Random, avoid_esp: bool) -> int:
    while True:
        register = rng.randrange(8)
        if register != ESP or not avoid_esp:
            return register


def encode_register(rng: random.Random, form: Form, avoid_esp: bool) -> bytes:
    """`form` between registers. With `avoid_esp` no register operand is ESP."""
    prefixes = b"\x66" if rng.random() < 0.25 else b""
    opsize = 2 if prefixes else 4
    opcode = form.opcode
    if avoid_esp and form.operands and form.operands[0] in (Operand.Zv, Operand.Zb) and opcode & 7 == ESP:
        opcode ^= 1
    body = bytes([0x0F, opcode] if form.map is OpMap.TWO_BYTE else [opcode])
    if form.has_modrm:
        reg = form.ext if form.ext is not None else _register(rng, avoid_esp)
        rm = form.rm if form.rm is not None else _register(rng, avoid_esp)
        body += bytes([0xC0 | reg << 3 | rm])
    return prefixes + body + rng.randbytes(imm_size(imm_kind(form), opsize, 4))


def encode_memory(rng: random.Random, form: Form, base: int, avoid_esp: bool, segment: int | None = None) -> bytes:
    """`form` on memory at `base` plus a small displacement; `base` must not be ESP."""
    prefixes = bytearray()
    if form.lock and rng.random() < 0.15:
        prefixes.append(0xF0)
    if rng.random() < 0.25:
        prefixes.append(0x66)
    if segment is not None:
        prefixes.append(segment)
    opsize = 2 if 0x66 in prefixes else 4
    body = bytearray([0x0F] if form.map is OpMap.TWO_BYTE else [])
    body.append(form.opcode)
    reg = form.ext if form.ext is not None else _register(rng, avoid_esp)
    kind = rng.random()
    if kind < 0.6:
        body += bytes([0x40 | reg << 3 | base, rng.getrandbits(8)])
    elif kind < 0.8:
        body += bytes([0x80 | reg << 3 | base]) + rng.randrange(-64, 64).to_bytes(4, "little", signed=True)
    else:
        # SIB without index: the scale must not matter.
        body += bytes([0x44 | reg << 3, rng.getrandbits(2) << 6 | 0x20 | base, rng.getrandbits(8)])
    return bytes(prefixes + body) + rng.randbytes(imm_size(imm_kind(form), opsize, 4))


def encode_string(rng: random.Random, form: Form) -> bytes:
    """A string instruction, perhaps repeated and with 16-bit operands."""
    prefixes = bytearray()
    if form.rep is not Rep.NONE and rng.random() < 0.8:
        prefixes.append(rng.choice((0xF2, 0xF3)) if form.rep is Rep.REPE else 0xF3)
    if rng.random() < 0.2:
        prefixes.append(0x66)
    return bytes(prefixes) + bytes([form.opcode])


def encode_any(rng: random.Random, form: Form) -> bytes:
    """Any form with random operands: for code whose faults are welcome."""
    body = bytearray(b"\x66" if rng.random() < 0.2 else b"")
    opsize = 2 if body else 4
    if form.map is OpMap.TWO_BYTE:
        body.append(0x0F)
    body.append(form.opcode)
    if form.has_modrm:
        modrm = rng.getrandbits(8)
        if form.ext is not None:
            modrm = modrm & 0xC7 | form.ext << 3
        if form.rm is not None:
            modrm = modrm & 0xF8 | form.rm
        if not form.accepts(modrm):
            modrm ^= 0xC0 if modrm >> 6 in (0, 3) else 0
        if not form.accepts(modrm):
            modrm = modrm & 0x3F if form.mod.name == "MEM" else modrm | 0xC0
        body.append(modrm)
        if modrm >> 6 != 3:
            if modrm & 7 == 4:
                body.append(rng.getrandbits(8) & ~0x07 | rng.choice((0, 1, 2, 3, 6, 7)))
            body += rng.randbytes({0: 4 if modrm & 7 == 5 else 0, 1: 1, 2: 4}[modrm >> 6])
    return bytes(body) + rng.randbytes(imm_size(imm_kind(form), opsize, 4))
