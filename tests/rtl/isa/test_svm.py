"""The virtual machine control block: offsets, exit codes, and the layouts of its fields."""

from itertools import pairwise

import pytest

from rtl.isa import cpuid, exitcodes, svm
from rtl.isa.exceptions import Vector
from rtl.isa.opcodes import FORMS
from rtl.isa.svm import ExitCode, Vmcb


def test_fields_do_not_overlap_and_fit() -> None:
    fields = list(Vmcb)
    assert fields == sorted(fields)
    assert all(first + first.size <= second for first, second in pairwise(fields))
    assert fields[-1] + fields[-1].size <= svm.REGION_BYTES
    assert all(field % min(field.size, 8) == 0 for field in fields if field is not Vmcb.FETCHED_BYTES)
    assert Vmcb.FETCHED_BYTES.size == svm.FETCHED_MAX
    assert Vmcb.ES == svm.SAVE_AREA and all(field < svm.SAVE_AREA for field in fields if field < Vmcb.ES)


@pytest.mark.parametrize(("field", "offset"), [
    (Vmcb.TSC_OFFSET, 0x50), (Vmcb.ASID, 0x58), (Vmcb.VINTR, 0x60), (Vmcb.EXITCODE, 0x70), (Vmcb.EXITINTINFO, 0x88),
    (Vmcb.NP_ENABLE, 0x90), (Vmcb.EVENTINJ, 0xA8), (Vmcb.N_CR3, 0xB0), (Vmcb.NRIP, 0xC8), (Vmcb.TR, 0x490),
    (Vmcb.CPL, 0x4CB), (Vmcb.EFER, 0x4D0), (Vmcb.CR4, 0x548), (Vmcb.RIP, 0x578), (Vmcb.RSP, 0x5D8), (Vmcb.RAX, 0x5F8),
    (Vmcb.SYSENTER_CS, 0x628), (Vmcb.CR2, 0x640), (Vmcb.G_PAT, 0x668),
])
def test_offsets_of_the_manual(field: Vmcb, offset: int) -> None:
    """APM appendix B, tables B-1 and B-2."""
    assert field == offset


def test_intercept_bits_are_of_the_words_of_the_control_area() -> None:
    """APM table B-1: bit 0 of 00Ch is INTR, bit 31 SHUTDOWN, bit 0 of 010h VMRUN; CR writes from bit 16 of word 0."""
    assert exitcodes.INTERCEPT_WORDS * 4 == Vmcb.INTERCEPT_MISC2 + Vmcb.INTERCEPT_MISC2.size
    for code, word, bit in (
            (ExitCode.CR0_READ, Vmcb.INTERCEPT_CR, 0), (ExitCode.CR3_WRITE, Vmcb.INTERCEPT_CR, 19),
            (ExitCode.DR7_READ, Vmcb.INTERCEPT_DR, 7), (ExitCode.DR0_WRITE, Vmcb.INTERCEPT_DR, 16),
            (ExitCode.EXCEPTION_PF, Vmcb.INTERCEPT_EXCEPTION, 14), (ExitCode.INTR, Vmcb.INTERCEPT_MISC1, 0),
            (ExitCode.SHUTDOWN, Vmcb.INTERCEPT_MISC1, 31), (ExitCode.IOIO, Vmcb.INTERCEPT_MISC1, 27),
            (ExitCode.VMRUN, Vmcb.INTERCEPT_MISC2, 0), (ExitCode.MWAIT_COND, Vmcb.INTERCEPT_MISC2, 12)):
        assert svm.intercept_word(code) * 4 == word and svm.intercept_bit(code) == 1 << bit


def test_exit_codes_follow_registers_and_vectors() -> None:
    assert ExitCode.CR4_WRITE == exitcodes.CR_WRITE + 4 and ExitCode.CR3_READ == exitcodes.CR_READ + 3
    assert ExitCode.DR7_READ == exitcodes.DR_READ + 7 and ExitCode.DR6_WRITE == exitcodes.DR_WRITE + 6
    names = {f"EXCEPTION_{vector.name}": exitcodes.EXCEPTION + vector for vector in Vector if vector is not Vector.NMI}
    assert names == {code.name: code for code in ExitCode if code.name.startswith("EXCEPTION_")}
    assert ExitCode.SHUTDOWN == 0x7F and ExitCode.MWAIT_COND == 0x8C and ExitCode.NPF == 0x400
    assert svm.exit_name(0x81) == "VMMCALL" and svm.exit_name(0x42) == "42h"


def test_codes_60h_to_8ch_have_no_gap() -> None:
    assert {code for code in ExitCode if 0x60 <= code <= 0x8C} == set(range(0x60, 0x8D))


def test_layouts() -> None:
    assert svm.Event.build(vector=0x80, type=4, ev=1, v=1, error=0x1234) == 0x1234_8000_0C80
    assert sum(svm.Event.widths.values()) == sum(svm.VintrLayout.widths.values()) == 64
    assert sum(svm.NpfInfo.widths.values()) == sum(svm.TaskInfo.widths.values()) == 64
    assert svm.VintrLayout.build(vector=0x31, priority=5, irq=1, masking=1) == 0x31_0105_0100
    assert svm.IoInfo.build(port=0x3F8, size16=1, input=1) == 0x03F8_0021
    assert svm.NpfInfo.build(p=1, w=1, u=1, final=1) == 0x1_0000_0007
    assert svm.NPF_TABLE == 1 << 33 and svm.NPF_FETCH == 1 << 4
    assert svm.TaskInfo.build(iret=1, jump=1, has_error=1, rf=1) == 1 << 36 | 1 << 38 | 1 << 44 | 1 << 48


@pytest.mark.parametrize(("msr", "write", "bit"), [
    (0x10, False, 0x20), (0x1FFF, True, 0x3FFF), (0xC000_0080, False, 0x4100), (0xC001_0117, True, 0x822F),
    (0x2000, False, None), (0xC001_2000, True, None), (0x4000_0000, False, None),
])
def test_permission_map_of_msrs(msr: int, write: bool, bit: int | None) -> None:
    assert svm.msrpm_bit(msr, write) == bit


def test_every_instruction_of_svm_has_its_exit() -> None:
    names = {form.mnemonic.upper() for form in FORMS if form.feature == "svm"}
    assert names == {"VMRUN", "VMMCALL", "VMLOAD", "VMSAVE", "STGI", "CLGI", "SKINIT", "INVLPGA"}
    assert names <= {code.name for code in ExitCode}


def test_cpuid_announces_what_there_is() -> None:
    assert cpuid.cpuid(0x8000_0001, svm=True).ecx == cpuid.ECX_SVM and cpuid.cpuid(0x8000_0001, svm=False).ecx == 0
    leaf = cpuid.cpuid(0x8000_000A, svm=True)
    assert (leaf.eax, leaf.ebx, leaf.ecx, leaf.edx) == (1, 16, 0, 0x104E9)
    assert cpuid.cpuid(0x8000_0000, svm=True).eax == 0x8000_000A
    assert cpuid.cpuid(0x8000_0006, svm=True) == cpuid.Leaf()
    assert cpuid.cpuid(0x8000_0002, svm=True) == cpuid.cpuid(0x8000_0002, svm=False)
