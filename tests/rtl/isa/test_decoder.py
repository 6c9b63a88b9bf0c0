"""The reference decoder: fields, prefixes, #UD, length limit. Lengths and validity are in test_opcodes_capstone."""

import pytest

from rtl.isa.decoder import MAX_LENGTH, Insn, Invalid, TooLong, Truncated, decode
from rtl.isa.registers import Gpr, Seg


def d(text: str, **options: bool) -> Insn:
    return decode(bytes.fromhex(text), **options)


def test_memory_operand_and_default_segment() -> None:
    insn = d("8b 44 8d f0")  # mov eax, [ebp + ecx*4 - 16]
    assert (insn.base, insn.index, insn.scale, insn.disp) == (Gpr.EBP, Gpr.ECX, 2, -16)
    assert insn.is_memory and insn.seg is None and insn.segment is Seg.SS
    assert d("8b 44 29 00").segment is Seg.DS  # base ecx, index ebp
    assert d("8b 04 6d 00 00 00 00").segment is Seg.DS  # no base, index ebp
    assert d("8b 05 78 56 34 12").base is None
    assert d("67 8b 02").segment is Seg.SS  # [bp + si]
    assert d("67 8b 06 00 80").disp == -0x8000


def test_last_override_and_last_repeat_win() -> None:
    insn = d("26 64 f2 f3 a5")
    assert insn.seg is Seg.FS and insn.segment is Seg.FS and insn.rep == "rep"
    assert d("f3 f2 a6").rep == "repne"


def test_size_prefixes_do_not_toggle_twice() -> None:
    assert d("66 66 b8 34 12").opsize == 2
    assert d("66 b8 78 56 34 12", default32=False).opsize == 4
    insn = d("b8 34 12", default32=False)
    assert (insn.opsize, insn.adsize, insn.imm) == (2, 2, 0x1234)


def test_immediates() -> None:
    assert d("6a ff").imm == 0xFFFF_FFFF
    assert d("66 6a ff").imm == 0xFFFF
    assert d("cd 80").imm == 0x80
    assert d("c1 e0 ff").imm == 0xFF
    assert d("eb fe").imm == -2
    assert d("66 e9 00 ff").imm == -0x100
    far = d("9a 44 33 22 11 66 55")
    assert (far.imm, far.imm2) == (0x1122_3344, 0x5566)
    enter = d("c8 10 00 05")
    assert (enter.imm, enter.imm2) == (0x10, 5)
    assert d("a1 00 00 00 ff").disp == 0xFF00_0000
    assert d("90").imm is None


def test_register_in_opcode_and_modrm_fields() -> None:
    assert d("57").opcode_reg == 7
    insn = d("03 d9")
    assert (insn.modrm, insn.mod, insn.reg, insn.rm) == (0xD9, 3, 3, 1)
    assert not insn.is_memory and insn.base is None


def test_mov_cr_ignores_mod() -> None:
    assert d("0f 20 04").length == 3
    assert not d("0f 20 04").is_memory


@pytest.mark.parametrize(("text", "reason", "length"), [
    ("0f 0a 00", "no such opcode", 2),
    ("0f ff", "no such opcode", 2),
    ("66 ff f8", "no such form of the opcode", 3),
    ("8d c0", "no such form of the opcode", 2),
    ("8e c8", "no such form of the opcode", 2),
    ("0f 22 e8", "no such form of the opcode", 3),
    ("f0 01 c0", "LOCK is not allowed here", 3),
    ("f0 03 00", "LOCK is not allowed here", 3),
    ("f0 90", "LOCK is not allowed here", 2),
    ("f0 80 38", "LOCK is not allowed here", 3),
])
def test_invalid(text: str, reason: str, length: int) -> None:
    with pytest.raises(Invalid) as caught:
        d(text)
    assert (caught.value.reason, caught.value.length) == (reason, length)


def test_lock_on_memory_destinations() -> None:
    for text in ("f0 01 00", "f0 0f b1 00", "f0 0f c7 08", "f0 87 00", "f0 ff 00", "f0 0f ba 28 01"):
        assert d(text).lock


def test_invalid_is_known_before_the_rest_is_read() -> None:
    with pytest.raises(Invalid):
        d("f0 81 c0")
    with pytest.raises(Truncated):
        d("f0 81 00")


def test_fifteen_bytes_are_allowed_and_sixteen_are_not() -> None:
    assert decode(b"\x66" * 14 + b"\x90").length == MAX_LENGTH
    with pytest.raises(TooLong, match="^instruction is longer than 15 bytes$"):
        decode(b"\x66" * 15 + b"\x90")
    with pytest.raises(TooLong):
        decode(b"\x2e" * 11 + b"\xb8\x00\x00\x00\x00")
    assert decode(b"\x2e" * 10 + b"\xb8\x00\x00\x00\x00").length == MAX_LENGTH


def test_truncated_asks_for_no_more_than_fifteen() -> None:
    with pytest.raises(Truncated) as caught:
        decode(b"\x66" * 14)
    assert caught.value.needed == MAX_LENGTH
    with pytest.raises(Truncated) as caught:
        decode(b"\x2e" * 11 + b"\xb8\x00")
    assert caught.value.needed == MAX_LENGTH
    with pytest.raises(Truncated, match="^instruction needs at least 5 bytes$"):
        decode(b"\xb8\x00")


def test_offset_and_buffer_types() -> None:
    code = bytearray(b"\x90\x90\xb8\x01\x00\x00\x00")
    assert decode(memoryview(code), 2).imm == 1
    assert decode(code, 2).length == 5
