"""VMRUN, #VMEXIT and the instructions around them, case by case."""

from __future__ import annotations

import pytest

from rtl.isa.cpuid import SVM_LEAF
from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode
from rtl.isa.msrs import EFER_SVME, Msr
from rtl.isa.registers import DR7_FIXED, Cr0, Eflags, Seg
from rtl.isa.retire import RetireCause
from rtl.isa.svm import VINTR_IRQ, VINTR_WRITABLE, Event, SegmentField, Vmcb, VmCr
from tests.vmm.engine.machine import CODE, KERNEL_CODE, machine, to_user
from tests.vmm.engine.svmguest import (
    AFTER,
    GUEST,
    GUEST_STACK,
    HSAVE,
    VMCB,
    enter,
    host_segments,
    intercept,
    leave,
    outcome,
    read,
    to_user_guest,
    world,
    write,
    write_segment,
)
from vmm.engine.interpreter import Interpreter
from vmm.engine.svmcheck import violations
from vmm.engine.vmcb import Area
from vmm.state import CpuState, SegmentCache

VMMCALL = "0f01d9"
INVALID = 0xFFFF_FFFF_FFFF_FFFF


def fault(cpu: Interpreter) -> tuple[int | None, int | None]:
    retired = cpu.step()
    assert retired.cause is RetireCause.EXCEPTION
    return retired.vector, retired.error


# VMRUN and #VMEXIT

def test_there_and_back() -> None:
    cpu = world("40" + VMMCALL, eax=0x41, ecx=7)
    segments, flags = host_segments(cpu), cpu.state.eflags
    retired = cpu.step()
    assert (retired.cause, retired.eip, cpu.state.eip) == (RetireCause.INSTRUCTION, CODE, GUEST)
    state = cpu.state
    assert state.gpr[0] == 0x41 and state.gpr[1] == 7 and state.gpr[4] == GUEST_STACK and state.svm.gif
    cpu.step()
    retired = cpu.step()
    assert (retired.cause, retired.error, retired.eip) == (RetireCause.VMEXIT, ExitCode.VMMCALL, GUEST + 1)
    assert state.eip == AFTER and state.gpr[0] == VMCB and state.gpr[4] == 0x9000 and state.gpr[1] == 7
    assert host_segments(cpu) == segments and state.eflags == flags and not state.svm.guest and not state.svm.gif
    assert read(cpu, Vmcb.RAX) == 0x42 and read(cpu, Vmcb.RIP) == GUEST + 1 and read(cpu, Vmcb.NRIP) == GUEST + 4
    assert state.instructions == 2


def test_everything_of_the_guest_is_loaded_and_saved() -> None:
    """Every field of the save area that VMRUN loads makes the round trip, and the rest stays as it was."""
    cpu = world(VMMCALL)
    code = SegmentCache(KERNEL_CODE, 0x100, 0xFFFF_FFFF, 0xC9B)
    write_segment(cpu, Vmcb.CS, code)
    write_segment(cpu, Vmcb.ES, SegmentCache(0x1234, 0x5678_9ABC, 0xFFF, 0x093))
    for field, value in ((Vmcb.RIP, GUEST - 0x100), (Vmcb.CR2, 0x1122_3344), (Vmcb.CR3, 0x5000), (Vmcb.CR4, 0x10),
                         (Vmcb.RFLAGS, 0x8D7), (Vmcb.DR6, 0xFFFF_4FF3), (Vmcb.G_PAT, 0x1234), (Vmcb.STAR, 0x77)):
        write(cpu, field, value)
    before = cpu.memory.blob(VMCB + Vmcb.ES, 0x400)
    enter(cpu)
    state = cpu.state
    assert state.segments[Seg.CS] == code and state.segments[Seg.ES].base == 0x5678_9ABC
    assert (state.cr2, state.cr3, state.cr4, state.eflags) == (0x1122_3344, 0x5000, 0x10, 0x8D7)
    leave(cpu)
    assert cpu.memory.blob(VMCB + Vmcb.ES, 0x400) == before


def test_what_vmexit_does_not_restore() -> None:
    """CR2 and DR6 are the guest's afterwards; DR7 is reset, breakpoints are off."""
    cpu = world(VMMCALL)
    cpu.state.dr[7] = DR7_FIXED | 3
    cpu.state.cr2, cpu.state.dr[6] = 1, 0xFFFF_0FF0
    write(cpu, Vmcb.CR2, 0xABC)
    write(cpu, Vmcb.DR6, 0xFFFF_4FF0)
    enter(cpu)
    leave(cpu)
    assert (cpu.state.cr2, cpu.state.dr[6], cpu.state.dr[7]) == (0xABC, 0xFFFF_4FF0, DR7_FIXED)


def test_the_host_is_in_protected_mode_whatever_the_save_area_says() -> None:
    """PE is set (the Action of VMRUN, AMD64 APM vol. 3), reserved bits are dropped."""
    cpu = world(VMMCALL)
    enter(cpu)
    for field, value in ((Vmcb.CR0, 0x10), (Vmcb.CR4, 0xFFFF_F000), (Vmcb.EFER, 0xFFFF_FFFF)):
        cpu.memory.write32(HSAVE + field, value)
    leave(cpu)
    state = cpu.state
    assert (state.cr0, state.cr4, state.msrs[Msr.EFER]) == (int(Cr0.PE | Cr0.ET), 0, EFER_SVME)
    assert cpu.step().cause is not RetireCause.SHUTDOWN


def test_reserved_bits_of_vintr_are_dropped() -> None:
    cpu = world(VMMCALL)
    write(cpu, Vmcb.VINTR, 0xFFFF_FFFF & ~VINTR_IRQ)
    outcome(cpu)
    assert read(cpu, Vmcb.VINTR, 4) == VINTR_WRITABLE & ~VINTR_IRQ


def test_a_host_that_single_steps_traps_behind_the_exit() -> None:
    """15.5.1: VMRUN and what the guest does are one instruction to it."""
    cpu = world("90" + VMMCALL)
    cpu.state.system_flags |= int(Eflags.TF)
    enter(cpu)
    assert cpu.step().cause is RetireCause.INSTRUCTION
    leave(cpu)
    retired = cpu.step()
    assert (retired.cause, retired.vector, retired.eip) == (RetireCause.EXCEPTION, Vector.DB, AFTER)


def test_fs_gs_tr_and_ldtr_pass_through() -> None:
    cpu = world("8ee0" + VMMCALL, eax=0x10)
    enter(cpu)
    leave(cpu)
    assert cpu.state.segments[Seg.FS].selector == 0x10


def test_the_state_with_which_an_instruction_is_intercepted() -> None:
    """RF and the interrupt shadow are as they were before it; the event in the VMCB is no more valid."""
    cpu = world("fbf4", (ExitCode.HLT,))
    enter(cpu)
    leave(cpu)
    assert read(cpu, Vmcb.INTERRUPT_SHADOW) == 1 and read(cpu, Vmcb.RFLAGS) == 0x202
    cpu = world("f4", (ExitCode.HLT,))
    write(cpu, Vmcb.RFLAGS, 2 | Eflags.RF)
    outcome(cpu)
    assert read(cpu, Vmcb.RFLAGS) == 2 | Eflags.RF and read(cpu, Vmcb.INTERRUPT_SHADOW) == 0


def test_interrupt_shadow_of_the_vmcb_is_in_force() -> None:
    cpu = world("9090" + VMMCALL)
    write(cpu, Vmcb.INTERRUPT_SHADOW, 1)
    write(cpu, Vmcb.RFLAGS, 0x202)
    enter(cpu)
    assert not cpu.can_interrupt
    cpu.step()
    assert cpu.can_interrupt


def test_writes_are_recorded() -> None:
    cpu = world(VMMCALL)
    cpu.record = True
    writes = cpu.step().writes
    assert {address >> 12 for address, _, _ in writes} == {HSAVE >> 12}
    assert (HSAVE + Vmcb.RIP, 4, AFTER) in writes
    writes = cpu.step().writes
    assert {address >> 12 for address, _, _ in writes} == {VMCB >> 12}
    assert (VMCB + Vmcb.EXITCODE, 4, ExitCode.VMMCALL) in writes and (VMCB + Vmcb.CPL, 1, 0) in writes


def test_host_paging_is_back_after_the_exit() -> None:
    """A guest without paging, a host with: the host's own translations are used again."""
    cpu = world("a1 00700000" + VMMCALL)
    directory, table = 0x1_8000, 0x1_9000
    cpu.memory.write32(directory, table | 7)
    for page in range(32):
        cpu.memory.write32(table + 4 * page, page << 12 | 7)
    cpu.memory.write32(table + 4 * 7, 0x8000 | 7)
    cpu.memory.load_blob(AFTER, bytes.fromhex("a100700000"))
    cpu.memory.write32(0x7000, 0x1111_1111)
    cpu.memory.write32(0x8000, 0x2222_2222)
    cpu.state.cr3, cpu.state.cr0 = directory, int(Cr0.PG | Cr0.PE | Cr0.ET)
    cpu.state_changed()
    outcome(cpu)
    assert read(cpu, Vmcb.RAX) == 0x1111_1111
    cpu.step()
    assert cpu.state.gpr[0] == 0x2222_2222


@pytest.mark.parametrize("way", ["step", "run"])
def test_guests_run_fast_and_slow(way: str) -> None:
    """A loop of the guest comes out the same through `run`, which does many instructions at once."""
    cpu = world("49 75fd" + VMMCALL, ecx=50)
    enter(cpu)
    if way == "step":
        leave(cpu, 200)
    else:
        cpu.memory.load_blob(AFTER, b"\xf4")
        cpu.run(1000)
    assert cpu.state.gpr[1] == 0 and read(cpu, Vmcb.EXITCODE) == ExitCode.VMMCALL
    assert cpu.state.instructions == 1 + 100 + (way == "run")


# refusals

def test_vmrun_without_svme_is_ud_before_privilege() -> None:
    cpu = world(VMMCALL)
    cpu.state.msrs[Msr.EFER] = 0
    to_user(cpu)
    assert fault(cpu) == (Vector.UD, None)


def test_without_svm_nothing_of_it_is_there() -> None:
    cpu = machine("0f30", ecx=int(Msr.EFER), eax=EFER_SVME)
    cpu.svm = False
    assert fault(cpu) == (Vector.GP, 0)
    for code in ("0f01d8", "0f01da", "0f01db", "0f01dc", "0f01dd", "0f01de", "0f01df"):
        assert fault(machine(code)) == (Vector.UD, None)


def test_vmrun_needs_cpl_0_and_alignment() -> None:
    cpu = world(VMMCALL)
    cpu.state.gpr[0] |= 8
    assert fault(cpu) == (Vector.GP, 0)
    cpu = world(VMMCALL)
    to_user(cpu)
    assert fault(cpu) == (Vector.GP, 0)


def test_host_save_area_has_to_be_memory() -> None:
    cpu = world(VMMCALL)
    cpu.state.msrs[Msr.VM_HSAVE_PA] = 0x8000_0000
    assert fault(cpu) == (Vector.GP, 0)


def test_address_size_cuts_the_address() -> None:
    cpu = world(VMMCALL, host="670f01d8")
    cpu.state.gpr[0] = 0xABCD_0000
    cpu.state.msrs[Msr.VM_HSAVE_PA] = HSAVE
    assert cpu.step().error == INVALID & 0xFFFF_FFFF
    assert cpu.state.svm.vmcb == 0


CHECKS = [
    (Vmcb.EFER, 0, "EFER.SVME is clear"), (Vmcb.EFER, EFER_SVME | 1, "EFER has a reserved bit set"),
    (Vmcb.EFER, EFER_SVME | 1 << 40, "EFER has a reserved bit set"), (Vmcb.CR0, 0x10, "CR0.PE is clear"),
    (Vmcb.CR0, 0x2000_0011, "CR0.NW is set"), (Vmcb.CR0, 1 << 32 | 0x11, "CR0 has a bit above 31"),
    (Vmcb.CR4, 0x20, "CR4 has a reserved bit"), (Vmcb.CR4, 1 << 33, "CR4 has a reserved bit"),
    (Vmcb.DR6, 1 << 32, "DR6 has a bit above 31"), (Vmcb.DR7, 1 << 32, "DR7 has a bit above 31"),
    (Vmcb.ASID, 0, "ASID is not 1 to 15"), (Vmcb.ASID, 16, "ASID is not 1 to 15"),
    (Vmcb.INTERCEPT_MISC2, 2, "VMRUN is not intercepted"), (Vmcb.IOPM_BASE, 0xFFFF_E000, "IOPM_BASE lies beyond"),
    (Vmcb.MSRPM_BASE, 0xFFFF_F000, "MSRPM_BASE lies beyond"), (Vmcb.IOPM_BASE, 1 << 40, "IOPM_BASE lies beyond"),
    (Vmcb.EVENTINJ, Event.build(v=1, type=1), "EVENTINJ is of type 1"),
    (Vmcb.EVENTINJ, Event.build(v=1, type=7), "EVENTINJ is of type 7"),
    (Vmcb.EVENTINJ, Event.build(v=1, type=3, vector=2), "EVENTINJ is exception 2"),
    (Vmcb.EVENTINJ, Event.build(v=1, type=3, vector=32), "EVENTINJ is exception 32"),
    (Vmcb.NP_ENABLE, 1, "nested paging with the host's paging off"),
]


@pytest.mark.parametrize(("field", "value", "reason"), CHECKS)
def test_consistency_checks(field: Vmcb, value: int, reason: str) -> None:
    cpu = world(VMMCALL, eax=0x1234)
    write(cpu, field, value)
    write(cpu, Vmcb.EXITINFO1, 0x55)
    area = Area(cpu.memory, VMCB, lambda *_: None)
    assert any(found.startswith(reason) for found in violations(area, False))
    before = cpu.memory.blob(VMCB + Vmcb.ES, 0x400)
    segments, gpr = host_segments(cpu), list(cpu.state.gpr)
    retired = cpu.step()
    assert retired.cause is RetireCause.VMEXIT and read(cpu, Vmcb.EXITCODE) == INVALID
    assert read(cpu, Vmcb.EXITINFO1) == read(cpu, Vmcb.EXITINTINFO) == 0
    assert cpu.state.eip == AFTER and list(cpu.state.gpr) == gpr and host_segments(cpu) == segments
    assert cpu.memory.blob(VMCB + Vmcb.ES, 0x400) == before and not cpu.state.svm.gif


@pytest.mark.parametrize("high", [Vmcb.CR3, Vmcb.RIP, Vmcb.RSP, Vmcb.RAX, Vmcb.RFLAGS])
def test_upper_halves_that_do_not_matter(high: Vmcb) -> None:
    cpu = world(VMMCALL)
    write(cpu, high + 4, 0x1234, 4)
    assert outcome(cpu) == ExitCode.VMMCALL


def test_nested_paging_is_checked() -> None:
    cpu = world(VMMCALL)
    write(cpu, Vmcb.NP_ENABLE, 1)
    write(cpu, Vmcb.G_PAT, 0x0007_0406_0007_0406)
    area = Area(cpu.memory, VMCB, lambda *_: None)
    assert not list(violations(area, True))
    write(cpu, Vmcb.N_CR3 + 4, 1, 4)
    write(cpu, Vmcb.G_PAT, 2)
    assert list(violations(area, True)) == ["N_CR3 has a bit above 31 set", "G_PAT has an illegal memory type"]


def test_a_vmcb_outside_memory_is_invalid() -> None:
    cpu = world(VMMCALL)
    cpu.state.gpr[0] = 0x4000_0000
    retired = cpu.step()
    assert retired.cause is RetireCause.VMEXIT and retired.error == INVALID & 0xFFFF_FFFF
    assert cpu.state.eip == AFTER and not cpu.state.shutdown


# CPL x GUEST/HOST

@pytest.mark.parametrize("guest", [False, True])
@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("intercepted", [False, True])
def test_cpl_and_guest_mode_are_orthogonal(guest: bool, user: bool, intercepted: bool) -> None:
    """The table of the course: HLT is done, faults or exits by privilege level and mode.

    Ring 3 gets #GP in either mode, intercept or not; ring 0 halts, unless the guest's HLT is intercepted.
    """
    if guest:
        cpu = world("f4", (ExitCode.HLT,) if intercepted else ())
        if user:
            to_user_guest(cpu)
        enter(cpu)
    else:
        cpu = machine("f4")
        if user:
            to_user(cpu)
    retired = cpu.step()
    if user:
        assert (retired.cause, retired.vector) == (RetireCause.EXCEPTION, Vector.GP)
        assert cpu.state.cpl == 0 and cpu.state.svm.guest is guest
    elif guest and intercepted:
        assert (retired.cause, retired.error) == (RetireCause.VMEXIT, ExitCode.HLT)
    else:
        assert retired.cause is RetireCause.HALT and cpu.state.svm.guest is guest


def test_cpl_is_that_of_the_vmcb() -> None:
    cpu = world(VMMCALL)
    to_user_guest(cpu)
    enter(cpu)
    assert cpu.state.cpl == 3
    leave(cpu)
    assert cpu.state.cpl == 0 and read(cpu, Vmcb.CPL) == 3


# the other instructions

def test_vmload_and_vmsave() -> None:
    cpu = world("", host="0f01da 0f01db")
    write_segment(cpu, Vmcb.FS, SegmentCache(0x33, 0x1234_5678, 0xFFFF, 0x0F3))
    write_segment(cpu, Vmcb.LDTR, SegmentCache(0x48, 0x1000, 0xFF, 0x082))
    write(cpu, Vmcb.SYSENTER_EIP, 0xC0DE)
    write(cpu, Vmcb.KERNEL_GS_BASE, 0x99)
    cpu.step()
    state = cpu.state
    assert state.segments[Seg.FS] == SegmentCache(0x33, 0x1234_5678, 0xFFFF, 0x0F3)
    assert state.segments[Seg.LDTR].base == 0x1000 and state.msrs[Msr.SYSENTER_EIP] == 0xC0DE
    state.segments[Seg.GS].base = 0x7777
    state.msrs[Msr.SYSENTER_CS] = 8
    cpu.step()
    assert read(cpu, Vmcb.GS + SegmentField.BASE, 8) == 0x7777 and read(cpu, Vmcb.SYSENTER_CS) == 8
    assert read(cpu, Vmcb.KERNEL_GS_BASE) == 0x99
    cpu.state.gpr[0] = VMCB + 4
    cpu.state.eip = CODE
    assert fault(cpu) == (Vector.GP, 0)


def test_clgi_and_stgi() -> None:
    cpu = world("", host="fb 90 0f01dd 90 0f01dc 90")
    for allowed in (False, True, False, False, True):
        cpu.step()
        assert cpu.can_interrupt is allowed


def test_breakpoints_match_nothing_while_gif_is_clear() -> None:
    cpu = world("", host="0f01dd 90 0f01dc 90")
    cpu.state.dr[0], cpu.state.dr[1], cpu.state.dr[7] = CODE + 3, CODE + 7, DR7_FIXED | 0xF
    cpu.state_changed()
    causes = [cpu.step().cause for _ in range(4)]
    assert causes == [RetireCause.INSTRUCTION] * 3 + [RetireCause.EXCEPTION]


def test_skinit_and_vmmcall_are_ud() -> None:
    for code in ("0f01de", VMMCALL):
        assert fault(world("", host=code)) == (Vector.UD, None)


def test_cpuid_announces_svm() -> None:
    cpu = world("", host="0fa2 b801000080 0fa2")
    cpu.state.gpr[0] = SVM_LEAF
    cpu.step()
    assert cpu.state.gpr[0] == 1 and cpu.state.gpr[3] == 16 and cpu.state.gpr[2] & 0x89 == 0x89
    cpu.step()
    cpu.step()
    assert cpu.state.gpr[1] == 4


@pytest.mark.parametrize(("msr", "value", "accepted"), [
    (Msr.EFER, EFER_SVME, True), (Msr.EFER, 0, True), (Msr.EFER, EFER_SVME | 0x100, False), (Msr.EFER, 1 << 32, False),
    (Msr.VM_HSAVE_PA, 0x5000, True), (Msr.VM_HSAVE_PA, 0x5800, False), (Msr.VM_HSAVE_PA, 1 << 32, False),
    (Msr.VM_CR, VmCr.LOCK, True), (Msr.VM_CR, 0x20, False), (Msr.VM_CR, VmCr.R_INIT, False),
    (Msr.VM_CR, VmCr.SVMDIS, False), (Msr.PAT, 0x0007_0406_0007_0406, False),
])
def test_msrs(msr: Msr, value: int, accepted: bool) -> None:
    cpu = world("", host="0f30 0f32", ecx=int(msr), edx=value >> 32)
    cpu.state.gpr[0] = value & 0xFFFF_FFFF
    if not accepted:
        assert fault(cpu) == (Vector.GP, 0)
        return
    cpu.step()
    cpu.state.gpr[0] = 0
    cpu.step()
    assert cpu.state.gpr[0] == value


def test_svm_can_be_locked_away() -> None:
    cpu = world("", host="0f30 0f30 0f30", ecx=int(Msr.VM_CR))
    cpu.state.msrs[Msr.EFER] = 0
    cpu.state.gpr[0] = int(VmCr.SVMDIS | VmCr.LOCK)
    cpu.step()
    cpu.state.gpr[0] = 0
    cpu.step()
    assert cpu.state.msrs[Msr.VM_CR] == VmCr.SVMDIS | VmCr.LOCK
    cpu.state.gpr[0], cpu.state.gpr[1] = EFER_SVME, int(Msr.EFER)
    assert fault(cpu) == (Vector.GP, 0)


def test_tsc_offset_is_the_guests_alone() -> None:
    cpu = world("0f31 89c3 b910000000 0f32" + VMMCALL)
    write(cpu, Vmcb.TSC_OFFSET, -100)
    cpu.clock = lambda: 1000
    enter(cpu)
    leave(cpu)
    assert cpu.state.gpr[3] == 900 and read(cpu, Vmcb.RAX) == 900 and cpu.read_time() == 1000


def test_state_of_a_guest_goes_through_an_image() -> None:
    """A processor in guest mode is saved and goes on elsewhere."""
    cpu = world("40 40" + VMMCALL, eax=1)
    write(cpu, Vmcb.ASID, 5)
    enter(cpu)
    cpu.step()
    image = cpu.state.to_dict()
    assert image["svm"]["asid"] == 5
    other = Interpreter(cpu.memory)
    other.state.load_dict(image)
    other.state_changed()
    assert leave(other).error == ExitCode.VMMCALL and read(cpu, Vmcb.RAX) == 3
    assert "svm" not in CpuState().to_dict()


def test_pause_filter() -> None:
    """The count of the VMCB is how many PAUSEs pass."""
    for count in (0, 1, 3):
        cpu = world("f390 ebfc", (ExitCode.PAUSE,))
        write(cpu, Vmcb.PAUSE_COUNT, count)
        enter(cpu)
        passed = 0
        while cpu.step().cause is RetireCause.INSTRUCTION:
            passed += 1
        assert passed == 2 * count and read(cpu, Vmcb.EXITCODE) == ExitCode.PAUSE
        assert read(cpu, Vmcb.PAUSE_COUNT) == count and read(cpu, Vmcb.NRIP) == GUEST + 2


def test_nothing_of_the_clean_bits_is_believed() -> None:
    cpu = world(VMMCALL)
    outcome(cpu)
    write(cpu, Vmcb.CLEAN, 0x7FF)
    cpu.state.eip = CODE
    intercept(cpu, ExitCode.VMMCALL, on=False)
    enter(cpu)
    assert fault(cpu) == (Vector.UD, None) and read(cpu, Vmcb.CLEAN) == 0x7FF
