"""The hardware decoder against the reference decoder of the opcode table."""

import random

import pytest

from rtl.cpu.decode import WINDOW, Decoder, Operands, Prefixes
from rtl.cpu.decode_rom import Check, Entry, build
from rtl.cpu.microcode import assembled
from rtl.isa.decoder import MAX_LENGTH, Insn, Invalid, TooLong, decode
from rtl.isa.opcodes import ImmKind, Operand, OpMap, has_modrm, imm_kind, rows
from rtl.isa.registers import Seg

from .vectors import Vectors

_SEGMENT_BYTES = {Seg.ES: 0x26, Seg.CS: 0x2E, Seg.SS: 0x36, Seg.DS: 0x3E, Seg.FS: 0x64, Seg.GS: 0x65}
_SREGS = {Operand.ES: Seg.ES, Operand.CS: Seg.CS, Operand.SS: Seg.SS, Operand.DS: Seg.DS, Operand.FS: Seg.FS,
          Operand.GS: Seg.GS}
_ROMS = build(assembled())


def _prefixes(rng):
    """A few prefixes: their bytes, and the structure that the prefix stage makes of them."""
    code, seen = b"", dict(opsize=0, adsize=0, lock=0, repeat=0, override=0, segment=0)
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3))):
        byte = rng.choice((0x66, 0x66, 0x67, 0x67, 0xF0, 0xF2, 0xF3, *_SEGMENT_BYTES.values()))
        code += bytes((byte,))
        if byte == 0x66:
            seen["opsize"] = 1
        elif byte == 0x67:
            seen["adsize"] = 1
        elif byte == 0xF0:
            seen["lock"] = 1
        elif byte in (0xF2, 0xF3):
            seen["repeat"] = byte & 3
        else:
            seen["override"] = 1
            seen["segment"] = next(seg.value for seg, value in _SEGMENT_BYTES.items() if value == byte)
    return code, seen


def _case(rng, opcode, map, tail):
    prefix, seen = _prefixes(rng)
    body = (b"\x0F" if map is OpMap.TWO_BYTE else b"") + bytes((opcode,)) + tail + rng.randbytes(WINDOW)
    body = body[:WINDOW]
    code32 = int(rng.random() < 0.7)
    return prefix, body, code32, seen


def _opcodes():
    skipped = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x0F}
    return [(map, opcode) for map in OpMap for opcode in range(256)
            if map is OpMap.TWO_BYTE or opcode not in skipped]


def _run(cases):
    vectors = [{"bytes": int.from_bytes(body, "little"), "code32": code32,
                "prefixes": Prefixes.const(seen).as_value().value} for _, body, code32, seen in cases]
    answers = Vectors(Decoder(_ROMS)).run(vectors)
    for (prefix, body, code32, seen), (_, answer) in zip(cases, answers, strict=True):
        entry, operands = Entry.from_bits(answer["entry"]), Operands.from_bits(answer["operands"])
        where = f"{prefix.hex()} {body.hex()} code32={code32}"
        refused = Check(entry.check) is Check.UD or (seen["lock"] and not entry.lock)
        try:
            insn = decode(prefix + body, default32=bool(code32))
        except Invalid as error:
            assert refused, f"{where} is #UD: {error}"
            assert answer["known"] == error.length - len(prefix), where
            continue
        except TooLong:
            continue
        # The table knows what the processor refuses for want of a feature.
        if insn.form.feature == "smm" or insn.form.mnemonic == "ud2":
            assert refused, where
            continue
        assert not refused, f"{where} is {insn.form}"
        assert answer["known"] <= answer["length"] == insn.length - len(prefix), f"{where} is {insn.form}"
        _compare(insn, entry, operands, where)


def _compare(insn: Insn, entry, operands, where):
    form = insn.form
    where = f"{where} is {form}"
    assert Check(entry.check) is (
        Check.WAIT if form.mnemonic == "wait" else Check.ESCAPE if form.feature == "x87" else
        Check.SVM if form.feature == "svm" and form.cpl0 else
        Check.CPL0 if form.cpl0 else Check.IOPL if form.iopl else Check.NONE), where
    assert (operands.opsize16, operands.adsize16) == (insn.opsize == 2, insn.adsize == 2), where
    kind, offset, size = imm_kind(form), (1 << 8 * insn.adsize) - 1, (1 << 8 * insn.opsize) - 1
    assert operands.segment == insn.segment, where
    assert operands.memory == insn.is_memory, where
    if insn.is_memory:
        assert operands.disp & offset == insn.disp & offset, where
        assert (operands.base if operands.has_base else None) == insn.base, where
        assert (operands.index if operands.has_index else None) == insn.index, where
        assert not operands.has_index or operands.scale == insn.scale, where
    else:
        assert not operands.has_base and not operands.has_index, where
        assert operands.disp == (insn.disp if kind is ImmKind.MOFFS else 0), where
    if insn.modrm is not None:
        assert (operands.reg, operands.rm) == (insn.reg, insn.rm), where
    if kind in (ImmKind.B, ImmKind.W, ImmKind.ENTER):
        assert operands.imm == insn.imm, where
    elif kind in (ImmKind.BS, ImmKind.V, ImmKind.FAR):
        assert operands.imm & size == insn.imm & size, where
    if kind is ImmKind.BS:
        # Rows of 32 bits use it too: it is extended to all of them.
        assert (operands.imm >> 7 == 0) or (operands.imm >> 7 == 0x1FFFFFF), where
    if kind in (ImmKind.FAR, ImmKind.ENTER):
        assert operands.imm2 == insn.imm2, where
    for operand in form.operands:
        if operand is Operand.Sw:
            assert operands.sreg == insn.reg, where
        elif operand in _SREGS and form.mnemonic in ("push", "pop"):
            assert operands.sreg == _SREGS[operand], where
        elif operand in (Operand.Zb, Operand.Zv):
            assert operands.opcode & 7 == insn.opcode_reg, where
    if form.condition is not None:
        assert operands.opcode & 15 == form.condition, where


@pytest.mark.parametrize("map", OpMap, ids=lambda map: map.name.lower())
def test_every_opcode_and_digit(map):
    """Each digit once with a register and twice with memory; SIB and displacement at random."""
    rng, cases = random.Random(7), []
    for opcode in (opcode for its_map, opcode in _opcodes() if its_map is map):
        if has_modrm(map, opcode):
            for digit in range(8):
                for mod in (3, rng.randrange(3), rng.randrange(3)):
                    modrm = mod << 6 | digit << 3 | rng.choice((4, 5, 6, rng.randrange(8)))
                    cases.append(_case(rng, opcode, map, bytes((modrm,))))
        else:
            cases += [_case(rng, opcode, map, b"") for _ in range(4)]
    _run(cases)


def test_every_address_form():
    """Every ModRM of both address sizes, every SIB under each mod."""
    rng, cases = random.Random(8), []
    for adsize in (0, 1):
        for modrm in range(256):
            sibs = range(0, 256) if adsize == 0 and modrm & 0xC7 in (0x04, 0x44, 0x84) and modrm < 0xC0 and (
                modrm >> 3 & 7 == modrm >> 6) else (rng.randrange(256),)
            for sib in sibs:
                body = (b"\x8B" + bytes((modrm, sib)) + rng.randbytes(WINDOW))[:WINDOW]
                seen = dict(opsize=0, adsize=adsize, lock=0, repeat=0, override=0, segment=0)
                cases.append((b"\x67" * adsize, body, 1, seen))
    _run(cases)


@pytest.mark.parametrize("key", ["00", "87", "0FB1", "0FC7/1", "8B", "88", "39", "0FA3"])
def test_lock_needs_a_memory_destination(key):
    """F0 before ADD, XCHG, CMPXCHG and CMPXCHG8B to memory; #UD before a load, MOV, CMP or BT."""
    allowed = key in ("00", "87", "0FB1", "0FC7/1")
    opcode, _, digit = key.partition("/")
    code = bytes.fromhex(opcode) + bytes((int(digit or 0) << 3 | 3,))
    for modrm, in_memory in ((code[-1], True), (code[-1] | 0xC0, False)):
        body = code[:-1] + bytes((modrm,)) + bytes(WINDOW)
        (_, answer), = Vectors(Decoder(_ROMS)).run([{
            "bytes": int.from_bytes(body[:WINDOW], "little"), "code32": 1,
            "prefixes": Prefixes.const({"lock": 1}).as_value().value}])
        assert Entry.from_bits(answer["entry"]).lock == (allowed and in_memory)


@pytest.mark.slow
def test_every_opcode_and_modrm():
    rng = random.Random(9)
    cases = [_case(rng, opcode, map, bytes((modrm,))) for map, opcode in _opcodes() if rows(map, opcode)
             for modrm in range(256)]
    _run(cases)


def test_the_window_holds_the_longest_instruction():
    """Without prefixes nothing is longer than the window, so `length` always fits the bytes shown."""
    rng = random.Random(10)
    cases = [_case(rng, opcode, map, b"\x84\x25") for map, opcode in _opcodes()]
    vectors = [{"bytes": int.from_bytes(body, "little"), "code32": 1, "prefixes": 0} for _, body, _, _ in cases]
    lengths = [answer["length"] for _, answer in Vectors(Decoder(_ROMS)).run(vectors)]
    assert max(lengths) <= WINDOW < MAX_LENGTH
