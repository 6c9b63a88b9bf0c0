"""The opcode table itself: form of the rows, keys, derived properties."""

import pytest

from rtl.isa import opcodes
from rtl.isa.opcodes import FORMS, Form, ImmKind, ModRule, Operand, OpMap, Rep, imm_kind, imm_size, lookup, rows


def form(key: str) -> Form:
    return next(form for form in FORMS if form.key == key)


def test_keys_are_unique() -> None:
    assert len({form.key for form in FORMS}) == len(FORMS)


def test_one_form_per_modrm_byte() -> None:
    for map in OpMap:
        for opcode in range(256):
            forms = rows(map, opcode)
            assert len({form.has_modrm for form in forms}) <= 1
            for modrm in range(256) if forms and forms[0].has_modrm else ():
                matching = [form for form in forms if form.accepts(modrm)]
                assert len(matching) <= 1, (map, opcode, modrm)


def test_prefixes_and_escape_have_no_row() -> None:
    for opcode in (0x0F, 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3):
        assert rows(OpMap.ONE_BYTE, opcode) == ()


@pytest.mark.parametrize(("key", "mnemonic", "operands"), [
    ("00", "add", (Operand.Eb, Operand.Gb)),
    ("0FAF", "imul", (Operand.Gv, Operand.Ev)),
    ("80/0", "add", (Operand.Eb, Operand.Ib)),
    ("0F01/7", "invlpg", (Operand.M,)),
    ("0F01D9", "vmmcall", ()),
    ("0F4F", "cmovg", (Operand.Gv, Operand.Ev)),
])
def test_rows_of_the_manual(key: str, mnemonic: str, operands: tuple[Operand, ...]) -> None:
    assert form(key).mnemonic == mnemonic
    assert form(key).operands == operands


def test_attributes() -> None:
    assert form("00").lock and not form("02").lock
    assert form("0F01/7").cpl0 and form("0F01/7").mod is ModRule.MEM
    assert form("A4").rep is Rep.REP and form("A6").rep is Rep.REPE and form("90").rep is Rep.NONE
    assert form("FA").iopl and not form("FA").io and form("EC").io
    assert form("0F01D8").feature == "svm" and form("0F01D8").mod is ModRule.REG
    assert form("74").operation == "jcc" and form("74").condition == 4 and form("74").mnemonic == "je"


def test_lookup_of_group_7() -> None:
    assert lookup(OpMap.TWO_BYTE, 0x01, 0x38) is form("0F01/7")
    assert lookup(OpMap.TWO_BYTE, 0x01, 0xD9) is form("0F01D9")
    assert lookup(OpMap.TWO_BYTE, 0x01, 0xF8) is None
    assert lookup(OpMap.TWO_BYTE, 0x01, 0xE0) is form("0F01/4")
    assert lookup(OpMap.TWO_BYTE, 0x0A) is None


@pytest.mark.parametrize(("key", "kind", "sizes"), [
    ("00", ImmKind.NONE, (0, 0)), ("04", ImmKind.B, (1, 1)), ("83/0", ImmKind.BS, (1, 1)), ("EB", ImmKind.BS, (1, 1)),
    ("C2", ImmKind.W, (2, 2)), ("E9", ImmKind.V, (2, 4)), ("C8", ImmKind.ENTER, (3, 3)), ("9A", ImmKind.FAR, (4, 6)),
    ("A1", ImmKind.MOFFS, (2, 4)), ("F7/0", ImmKind.V, (2, 4)), ("F7/2", ImmKind.NONE, (0, 0)),
])
def test_immediates(key: str, kind: ImmKind, sizes: tuple[int, int]) -> None:
    assert imm_kind(form(key)) is kind
    assert (imm_size(kind, 2, 2), imm_size(kind, 4, 4)) == sizes


@pytest.mark.parametrize("row", ["GG add Eb,Gb", "00 add Eb,Gb locked", "00", "0F 01 /8 lgdt Ms", "00 esc x87 svm"])
def test_bad_rows_are_refused(row: str) -> None:
    with pytest.raises(ValueError, match="^opcode row .* (is not BYTES|has attributes)"):
        opcodes._parse_row(row)


def test_unknown_operand_is_refused() -> None:
    with pytest.raises(ValueError, match="'Qq' is not a valid Operand"):
        opcodes._parse_row("00 add Qq,Gb")
