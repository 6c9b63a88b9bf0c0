"""Semantics through the recording executor: widths agree everywhere, and what is emitted is what the manual says."""

from collections.abc import Iterator

import pytest

from rtl.isa.decoder import Insn, Invalid, decode
from rtl.isa.opcodes import FORMS, Form, OpMap
from vmm.engine.recordops import RecordOps, listing
from vmm.semantics.ops import Mode, Ops
from vmm.semantics.table import ABSENT_FEATURES, semantics

_TAIL = bytes(range(0x10, 0x1B))


def _instructions(form: Form) -> Iterator[Insn]:
    opcode = (b"\x0f" if form.map is OpMap.TWO_BYTE else b"") + bytes([form.opcode])
    for prefix in (b"", b"\x66", b"\x67", b"\xf3", b"\xf2"):
        for modrm in (0x05, 0x44, 0xC1) if form.has_modrm else (None,):
            byte = b""
            if modrm is not None:
                digit = modrm >> 3 & 7 if form.ext is None else form.ext
                byte = bytes([modrm & 0xC7 | digit << 3] if form.rm is None else [0xC0 | digit << 3 | form.rm])
            try:
                insn = decode(prefix + opcode + byte + _TAIL)
            except Invalid:
                continue
            if insn.form is form:
                yield insn


@pytest.mark.parametrize("mode", [Mode(flat=0x3F), Mode(False, False, 0), Mode(flat=0x3F, guest=True)])
def test_every_form_is_well_typed(mode: Mode) -> None:
    """RecordOps refuses operands of different widths."""
    count = 0
    for form in FORMS:
        for insn in _instructions(form):
            listing(insn, mode)
            count += 1
    assert count > 2000


def test_every_operation_has_semantics() -> None:
    for form in FORMS:
        if form.feature not in ABSENT_FEATURES:
            assert callable(semantics(form.operation))
    with pytest.raises(KeyError, match="operation 'frobnicate' has no semantics"):
        semantics("frobnicate")


def test_add_reads_with_write_rights_and_sets_flags_last() -> None:
    assert listing(decode(bytes.fromhex("0108"))).splitlines() == [
        "v1:32 = reg 0",
        "v2:32 = load_for_write 3, v1",
        "v3:32 = reg 1",
        "v4:32 = add v2, v3",
        "store 3, v1, v4",
        "v5:1 = ult v4, v2",
        "v6:32 = xor v2, v4",
        "set_result v4",
        "set_carry v5",
        "v7:32 = xor v6, v3",
        "set_adjust v7",
        "v8:32 = xor v3, v4",
        "v9:32 = and v6, v8",
        "set_overflow v9",
    ]


def test_privilege_comes_before_operands() -> None:
    lines = listing(decode(bytes.fromhex("0f0010"))).splitlines()
    assert lines[0] == "call require_cpl0" and lines[-1].startswith("call load_ldt")


def test_absent_feature_is_invalid_opcode() -> None:
    assert listing(decode(bytes.fromhex("0faa"))) == "fault 6"


def test_svm_asks_for_svme_then_privilege_then_the_intercept() -> None:
    lines = listing(decode(bytes.fromhex("0f01d8")), Mode(guest=True)).splitlines()
    assert lines[:2] == ["call require_svm", "call require_cpl0"] and lines[3].startswith("call intercept 128, 0,")
    assert lines[-1].startswith("jump_call vmrun")


def test_only_code_of_guest_mode_asks_about_intercepts() -> None:
    for form in FORMS:
        for insn in _instructions(form):
            assert "intercept" not in listing(insn, Mode(flat=0x3F))


def test_push_checks_before_the_pointer_moves() -> None:
    lines = listing(decode(bytes.fromhex("50"))).splitlines()
    assert lines[-2].startswith("store 2") and lines[-1].startswith("set_reg 4")


def test_a_width_error_is_refused() -> None:
    ops = RecordOps(Mode())
    with pytest.raises(TypeError, match="add cannot take widths 8, 16"):
        ops.add(ops.const(1, 8), ops.const(1, 16))
    with pytest.raises(AttributeError, match="Ops has no operation 'fly'"):
        ops.fly()


def test_executors_have_every_operation() -> None:
    from vmm.engine.pyops import PyOps

    names = {name for name in vars(Ops) if not name.startswith("_")}
    ops = RecordOps(Mode())
    for name in names - {"mode"}:
        assert hasattr(PyOps, name) and getattr(ops, name) is not None


def test_the_monitor_answers_vmmcall() -> None:
    assert listing(decode(bytes.fromhex("0f01d9"))).strip() == "call hypercall"
