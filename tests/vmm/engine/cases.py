"""Random single instructions with operands that land in mapped memory."""

from __future__ import annotations

import random
from dataclasses import dataclass

from rtl.isa.decoder import Insn, decode
from rtl.isa.opcodes import FORMS, Form, Operand, OpMap, Rep, imm_kind, imm_size
from rtl.isa.registers import STATUS_FLAGS, Eflags


@dataclass(frozen=True)
class Layout:
    """Where code and data of a campaign are. `small` is 16-bit code and stack within 64 KiB."""

    small: bool
    code: int
    data: tuple[int, int]
    low_data: tuple[int, int]
    stack: int

    def area(self, adsize: int) -> tuple[int, int]:
        return self.data if adsize == 4 else self.low_data


WIDE = Layout(False, 0x1_0000, (0x2_0000, 0x2_F000), (0x4000, 0xF000), 0x2_8000)
SMALL = Layout(True, 0x0000, (0x4000, 0xF000), (0x4000, 0xF000), 0x9000)

#: Operations that need descriptor tables, ports or a known machine; they have directed tests.
SYSTEM = frozenset(
    "callf jmpf retf iret int int3 into icebp les lds lss lfs lgs sldt str lldt ltr verr verw lar lsl sgdt sidt lgdt "
    "lidt smsw lmsw invlpg clts invd wbinvd rdmsr wrmsr rdtsc rdpmc cpuid sysenter sysexit in out ins outs hlt cli sti "
    "popf esc wait ud2".split())
_SEGMENT_OPERANDS = {Operand[name] for name in ("ES", "CS", "SS", "DS", "FS", "GS", "Sw", "Cd", "Dd", "Rd")}
POOL: tuple[Form, ...] = tuple(
    form for form in FORMS
    if form.operation not in SYSTEM and form.feature is None and not _SEGMENT_OPERANDS.intersection(form.operands))
#: ARPL does not exist in real mode, where Unicorn runs 16-bit code.
PROTECTED_ONLY = frozenset({"arpl"})
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
_SETTABLE = int(STATUS_FLAGS | Eflags.DF)


@dataclass(frozen=True)
class Case:
    """One instruction and the state it starts in."""

    code: bytes
    insn: Insn
    eip: int
    gpr: tuple[int, ...]
    eflags: int


def _number(rng: random.Random) -> int:
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(_EDGES)
    if kind < 0.6:
        return rng.getrandbits(rng.choice((4, 8, 16, 24)))
    return rng.getrandbits(32)


def _encode(rng: random.Random, form: Form, small: bool) -> bytes:
    prefixes = bytearray()
    opsize = adsize = 2 if small else 4
    if rng.random() < 0.3:
        prefixes.append(0x66)
        opsize ^= 6
    if rng.random() < 0.15:
        prefixes.append(0x67)
        adsize ^= 6
    if form.rep is not Rep.NONE and rng.random() < 0.5:
        prefixes.append(rng.choice((0xF2, 0xF3) if form.rep is Rep.REPE else (0xF3,)))
    body = bytearray([0x0F] if form.map is OpMap.TWO_BYTE else [])
    body.append(form.opcode)
    if form.has_modrm:
        modrm = rng.getrandbits(8)
        if form.ext is not None:
            modrm = modrm & 0xC7 | form.ext << 3
        if not form.accepts(modrm):
            modrm &= 0x3F
        body.append(modrm)
        body += rng.randbytes(5)
    body += rng.randbytes(imm_size(imm_kind(form), opsize, adsize))
    code = bytes(prefixes + body)
    return code + rng.randbytes(15 - len(code))


def _place(rng: random.Random, insn: Insn, gpr: list[int], layout: Layout) -> bool:
    """Choose register values so that the memory operand lands in the data area."""
    low, high = layout.area(insn.adsize)
    target = rng.randrange(low, high)
    mask = 0xFFFF_FFFF if insn.adsize == 4 else 0xFFFF
    if insn.index is not None:
        gpr[insn.index] = rng.getrandbits(10)
    if insn.base is None:
        if insn.index is None:
            return low <= insn.disp & mask < high
        if insn.scale == 0:
            gpr[insn.index] = target - insn.disp & 0xFFFF_FFFF
            return True
        return False
    if insn.base == insn.index:
        return False
    index = gpr[insn.index] << insn.scale if insn.index is not None else 0
    gpr[insn.base] = target - insn.disp - index & mask
    return True


def _implicit(rng: random.Random, insn: Insn, gpr: list[int], layout: Layout) -> None:
    """String pointers and counts, stack registers."""
    low, high = layout.area(insn.adsize)
    if insn.form.rep is not Rep.NONE:
        gpr[6], gpr[7] = (rng.randrange(low + 256, high - 256) for _ in range(2))
        if insn.rep is not None:
            gpr[1] = rng.randrange(0, 9)
    if insn.form.operation == "xlat":
        gpr[3] = rng.randrange(low, high - 256)
    if insn.form.operation in ("leave", "enter"):
        gpr[5] = layout.stack + rng.randrange(-4096, 4096)


def make_case(rng: random.Random, form: Form, eip: int, layout: Layout = WIDE) -> Case:
    """A case for one form. Retries until the operands are in mapped memory."""
    while True:
        code = _encode(rng, form, layout.small)
        insn = decode(code, default32=not layout.small)
        assert insn.form is form
        gpr = [_number(rng) for _ in range(8)]
        if rng.random() < 0.5:
            gpr[1] = gpr[1] & ~0x1F | rng.getrandbits(5)
        gpr[4] = layout.stack + rng.randrange(-4096, 4096)
        memory = insn.modrm is not None and insn.mod != 3 and form.has_rm_memory or {
            Operand.Ob, Operand.Ov}.intersection(form.operands)
        if memory and form.operation not in ("lea", "nop"):
            if form.operation in ("bt", "bts", "btr", "btc") and form.operands[1] is Operand.Gv:
                gpr[insn.reg] = rng.getrandbits(11)
            if Operand.Ob in form.operands or Operand.Ov in form.operands:
                target = rng.randrange(*layout.area(insn.adsize))
                start = insn.length - insn.adsize
                code = code[:start] + target.to_bytes(insn.adsize, "little") + code[insn.length:]
                insn = decode(code, default32=not layout.small)
            else:
                if insn.disp and insn.base is None and insn.index is None:
                    size = insn.adsize
                    target = rng.randrange(*layout.area(size))
                    code = code.replace(
                        (insn.disp & (1 << 8 * size) - 1).to_bytes(size, "little"), target.to_bytes(size, "little"), 1)
                    insn = decode(code, default32=not layout.small)
                if insn.form is not form or not _place(rng, insn, gpr, layout):
                    continue
                if form.operation in ("bt", "bts", "btr", "btc") and insn.reg in (insn.base, insn.index) \
                        and form.operands[1] is Operand.Gv:
                    continue
        _implicit(rng, insn, gpr, layout)
        if not layout.data[0] <= gpr[4] < layout.data[1]:
            continue
        if form.operation in ("jmp", "call") and form.operands[0] is Operand.Ev and insn.mod == 3 and insn.rm != 4:
            gpr[insn.rm] = rng.getrandbits(31)
        eflags = rng.getrandbits(12) & _SETTABLE | 2
        return Case(code[:insn.length], insn, eip, tuple(value & 0xFFFF_FFFF for value in gpr), eflags)
