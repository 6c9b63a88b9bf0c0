"""The flag table: its shape, and what it claims against Unicorn for everything that runs in user mode."""

import random

import pytest
import unicorn
from unicorn import x86_const as ux

from rtl.isa.decoder import decode
from rtl.isa.flags import CONDITION_FLAGS, FLAG_EFFECTS, Case, flag_effect, undefined_result
from rtl.isa.opcodes import FORMS, Form, ImmKind, ModRule, Operand, OpMap, imm_kind
from rtl.isa.registers import STATUS_FLAGS, Eflags

CODE, STACK = 0x10000, 0x20800
NOT_STRAIGHT = {
    "into", "int", "int3", "icebp", "popf", "iret", "callf", "jmpf", "retf", "sysenter", "call", "jmp", "ret", "esc",
    "wait", "ud2", "rsm", "arpl", "lar", "lsl", "verr", "verw", "bound", "nop", "sldt", "str", "smsw", "lmsw", "sti",
    "cli", "sgdt", "sidt", "cpuid", "rdtsc", "rdpmc", "div", "idiv", "enter", "leave", "popa", "sysexit", "xlat",
}


def test_rows_name_operations_of_the_opcode_table() -> None:
    assert {operation for operation, _ in FLAG_EFFECTS} <= {form.operation for form in FORMS}


def test_no_flag_is_both_written_and_undefined() -> None:
    for effect in FLAG_EFFECTS.values():
        assert not effect.written & effect.undefined, effect
        assert not effect.undefined & ~int(STATUS_FLAGS), effect
        assert bool(effect.undefined) == bool(effect.note) or effect.operation in ("callf", "jmpf"), effect


def test_counted_operations_have_every_case() -> None:
    counted = {operation for operation, case in FLAG_EFFECTS if case is not Case.ALWAYS}
    for operation in counted:
        assert all((operation, case) in FLAG_EFFECTS for case in Case if case is not Case.ALWAYS)


def test_count_is_masked_and_compared_with_the_size() -> None:
    assert flag_effect("shl", count=32).case is Case.COUNT_ZERO
    assert flag_effect("shl", count=33).case is Case.COUNT_ONE
    assert flag_effect("shl", count=8, bits=8).case is Case.COUNT_SIZE
    assert flag_effect("shl", count=8, bits=16).case is Case.COUNT_MANY
    assert flag_effect("shld", count=16, bits=16).case is Case.COUNT_MANY
    assert flag_effect("shld", count=17, bits=16).case is Case.COUNT_SIZE
    assert flag_effect("add", count=0).case is Case.ALWAYS


def test_conditions_read_their_flags() -> None:
    assert flag_effect("jcc", condition=7).read == Eflags.CF | Eflags.ZF
    assert flag_effect("setcc", condition=12).read == Eflags.SF | Eflags.OF
    assert len(CONDITION_FLAGS) == 8


def test_undefined_results() -> None:
    assert undefined_result("bsf", source=0) == "unchanged" and undefined_result("bsf", source=1) is None
    assert undefined_result("shld", count=17, bits=16) is not None and undefined_result("shld", count=17) is None
    assert undefined_result("bswap", bits=16) == "zero" and undefined_result("bswap") is None


def straight_line_forms() -> list[Form]:
    """Forms that run alone in user mode. F6 /1 and F7 /1, undocumented by Intel, are TEST here and #UD in Unicorn."""
    return [form for form in FORMS
            if form.key not in ("F6/1", "F7/1") and form.operation not in NOT_STRAIGHT
            and not (form.cpl0 or form.iopl or form.io or form.feature)
            and form.condition is None and not form.operation.startswith(("loop", "jcxz", "l"))
            and form.mod is ModRule.ANY and Operand.Sw not in form.operands
            and imm_kind(form) is not ImmKind.MOFFS
            and not {o.value for o in form.operands} & {"ES", "CS", "SS", "DS", "FS", "GS"}]


@pytest.fixture(scope="module")
def machine() -> unicorn.Uc:
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_32)
    uc.mem_map(CODE, 0x1000)
    uc.mem_map(0x20000, 0x1000)
    return uc


def run(uc: unicorn.Uc, code: bytes, registers: dict[int, int], eflags: int) -> int:
    for register, value in registers.items():
        uc.reg_write(register, value)
    uc.mem_write(0x20000, bytes(0x1000))
    uc.mem_write(CODE, code)
    uc.ctl_remove_cache(CODE, CODE + 16)
    uc.reg_write(ux.UC_X86_REG_EFLAGS, eflags | 2)
    uc.emu_start(CODE, CODE + len(code), count=1)
    return uc.reg_read(ux.UC_X86_REG_EFLAGS)


def test_only_the_flags_of_the_table_change_and_only_those_it_reads_matter(machine: unicorn.Uc) -> None:
    """Each form twice with the same operands: all status flags set, all clear.

    A flag neither written nor undefined must stay. A flag written must come out the same both times unless the
    operation reads a flag.
    """
    source = random.Random(0x516)
    status = int(STATUS_FLAGS)
    checked = set()
    for form in straight_line_forms():
        for _ in range(6):
            registers = {
                register: source.choice((0, 1, source.getrandbits(32), source.getrandbits(8)))
                for register in (ux.UC_X86_REG_EAX, ux.UC_X86_REG_EDX, ux.UC_X86_REG_EBX)}
            count = source.choice((0, 1, 2, 7, 15, 16, 31))
            registers[ux.UC_X86_REG_ECX] = count
            registers |= {ux.UC_X86_REG_ESI: 0x20400, ux.UC_X86_REG_EDI: 0x20500, ux.UC_X86_REG_ESP: STACK,
                          ux.UC_X86_REG_EBP: STACK}
            prefix = source.choice((b"", b"\x66"))
            modrm = 0xC0 | (form.ext if form.ext is not None else 3) << 3 | source.choice((0, 2, 3))
            body = bytes([form.opcode]) + (bytes([modrm]) if form.has_modrm else b"")
            code = prefix + (b"\x0f" if form.map is OpMap.TWO_BYTE else b"") + body + bytes([count | 1]) * 4
            insn = decode(code)
            byte_sized = any(o.value.endswith("b") for o in form.operands[:1])
            if insn.imm is not None and Operand.CL not in form.operands:
                count = insn.imm
            elif Operand.One in form.operands:
                count = 1
            effect = flag_effect(form.operation, count=count, bits=8 if byte_sized else insn.opsize * 8)
            after_set = run(machine, code[:insn.length], registers, status)
            after_clear = run(machine, code[:insn.length], registers, 0)
            kept = status & ~(effect.written | effect.undefined)
            assert after_set & kept == kept, f"{form} {code.hex()} count {count} clears {~after_set & kept:#x}"
            assert after_clear & kept == 0, f"{form} {code.hex()} count {count} sets {after_clear & kept:#x}"
            if not effect.read & status:
                differ = (after_set ^ after_clear) & effect.written
                assert not differ, f"{form} {code.hex()} reads a flag: {differ:#x} differ"
            checked.add(form.operation)
    assert len(checked) > 50
