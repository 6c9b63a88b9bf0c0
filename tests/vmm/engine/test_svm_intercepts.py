"""Intercepts of instructions: code, exit information, next EIP, and what goes before them."""

from __future__ import annotations

import pytest

from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ABSENT, DR_READ, DR_WRITE, EXCEPTION, ExitCode
from rtl.isa.msrs import Msr
from rtl.isa.registers import Cr4, Dr6, Dr7, Eflags
from rtl.isa.retire import RetireCause
from rtl.isa.svm import MOV_CR, IoInfo, TaskInfo, Vmcb, msrpm_bit
from rtl.isa.tss import Tss32
from tests.vmm.engine.machine import FREE, KERNEL_CODE, KERNEL_DATA, TSS, set_descriptor
from tests.vmm.engine.svmguest import (
    GUEST,
    IOPM,
    MSRPM,
    enter,
    intercept,
    leave,
    outcome,
    read,
    to_user_guest,
    world,
    write,
)
from vmm.engine.interpreter import Interpreter

EBX = 3
#: Code, exit, EXITINFO1. EBX is 8000h.
INSTRUCTIONS = [
    ("0f20c3", ExitCode.CR0_READ, MOV_CR | 3), ("0f20d3", ExitCode.CR2_READ, MOV_CR | 3),
    ("0f20db", ExitCode.CR3_READ, MOV_CR | 3), ("0f20e3", ExitCode.CR4_READ, MOV_CR | 3),
    ("0f01e3", ExitCode.CR0_READ, 0), ("0f22d3", ExitCode.CR2_WRITE, MOV_CR | 3),
    ("0f22db", ExitCode.CR3_WRITE, MOV_CR | 3), ("0f06", ExitCode.CR0_WRITE, 0), ("0f01f3", ExitCode.CR0_WRITE, 0),
    *((f"0f21{0xC3 | n << 3:02x}", DR_READ + n, 3) for n in range(8)),
    *((f"0f23{0xC3 | n << 3:02x}", DR_WRITE + n, 3) for n in range(8)),
    ("0f010b", ExitCode.IDTR_READ, 0), ("0f0103", ExitCode.GDTR_READ, 0), ("0f00c3", ExitCode.LDTR_READ, 0),
    ("0f00cb", ExitCode.TR_READ, 0), ("0f011b", ExitCode.IDTR_WRITE, 0), ("0f0113", ExitCode.GDTR_WRITE, 0),
    ("0f00d3", ExitCode.LDTR_WRITE, 0), ("0f00db", ExitCode.TR_WRITE, 0), ("0f31", ExitCode.RDTSC, 0),
    ("0f33", ExitCode.RDPMC, 0), ("9c", ExitCode.PUSHF, 0), ("9d", ExitCode.POPF, 0), ("0fa2", ExitCode.CPUID, 0),
    ("cf", ExitCode.IRET, 0), ("cd21", ExitCode.SWINT, 0x21), ("cd03", ExitCode.SWINT, 3), ("0f08", ExitCode.INVD, 0),
    ("f390", ExitCode.PAUSE, 0), ("f4", ExitCode.HLT, 0), ("0f013b", ExitCode.INVLPG, 0x8000),
    ("0f01df", ExitCode.INVLPGA, 0), ("0f01d8", ExitCode.VMRUN, 0), ("0f01d9", ExitCode.VMMCALL, 0),
    ("0f01da", ExitCode.VMLOAD, 0), ("0f01db", ExitCode.VMSAVE, 0), ("0f01dc", ExitCode.STGI, 0),
    ("0f01dd", ExitCode.CLGI, 0), ("0f01de", ExitCode.SKINIT, 0), ("f1", ExitCode.ICEBP, 0),
    ("0f09", ExitCode.WBINVD, 0), ("cc", ExitCode.EXCEPTION_BP, 0),
]


def prepared(code: str, *codes: int) -> Interpreter:
    """A guest with EBX = 8000h whose intercepts of `codes` are set."""
    return world(code + "0f01d9", codes, ebx=0x8000, ecx=0)


@pytest.mark.parametrize(("code", "exit_code", "info"), INSTRUCTIONS)
def test_an_intercepted_instruction_is_not_executed(code: str, exit_code: int, info: int) -> None:
    cpu = prepared(code, exit_code)
    registers = list(cpu.state.gpr[1:])
    registers[3] = read(cpu, Vmcb.RSP)
    assert outcome(cpu) == exit_code
    assert (read(cpu, Vmcb.EXITINFO1), read(cpu, Vmcb.EXITINFO2)) == (info, 0)
    assert read(cpu, Vmcb.RIP) == GUEST and read(cpu, Vmcb.NRIP) == GUEST + len(bytes.fromhex(code))
    assert read(cpu, Vmcb.EXITINTINFO) == 0 and read(cpu, Vmcb.RSP) == registers[3]


@pytest.mark.parametrize(("code", "exit_code", "info"), [
    row for row in INSTRUCTIONS if row[1] not in (ExitCode.VMRUN, ExitCode.VMMCALL)])
def test_without_its_bit_there_is_no_such_exit(code: str, exit_code: int, info: int) -> None:
    cpu = prepared(code, *(other for other in ExitCode if other < 0x8D and other != exit_code and other < EXCEPTION))
    intercept(cpu, ExitCode.CR0_SEL_WRITE, on=False)
    intercept(cpu, exit_code, on=False)
    enter(cpu)
    cpu.step()
    if not cpu.state.svm.guest:
        assert read(cpu, Vmcb.EXITCODE) != exit_code


def test_every_exit_that_can_happen_is_tested() -> None:
    """In this file or, for events, in test_svm_events.py and test_svm_paging.py."""
    here = {exit_code for _, exit_code, _ in INSTRUCTIONS} | {
        ExitCode.CR4_WRITE, ExitCode.CR0_SEL_WRITE, ExitCode.IOIO, ExitCode.MSR, ExitCode.TASK_SWITCH}
    elsewhere = {code for code in ExitCode if EXCEPTION <= code < EXCEPTION + 32} | {
        ExitCode.INTR, ExitCode.NMI, ExitCode.INIT, ExitCode.VINTR, ExitCode.SHUTDOWN, ExitCode.NPF,
        ExitCode.INVALID}
    assert set(ExitCode) == here | elsewhere | ABSENT


# control registers

@pytest.mark.parametrize(("value", "exits"), [
    (0x11, False), (0x19, False), (0x13, False), (0x1B, False), (0x15, True), (0x31, True), (0x8000_0011, True),
    (0x1_0011, True), (0x0000_0091, False),
])
def test_selective_cr0_write(value: int, exits: bool) -> None:
    """TS and MP may change, and bits that do not exist; nothing else."""
    cpu = world("0f22c3 0f01d9", (ExitCode.CR0_SEL_WRITE,), ebx=value)
    enter(cpu)
    retired = leave(cpu)
    assert retired.error == (ExitCode.CR0_SEL_WRITE if exits else ExitCode.VMMCALL)
    if exits:
        assert read(cpu, Vmcb.EXITINFO1) == MOV_CR | EBX and read(cpu, Vmcb.CR0) == 0x11


def test_cr0_write_goes_before_the_selective_one_and_lmsw_always_counts() -> None:
    assert outcome(world("0f22c3", (ExitCode.CR0_SEL_WRITE, ExitCode.CR0_WRITE), ebx=0x15)) == ExitCode.CR0_WRITE
    assert outcome(world("0f01f0", (ExitCode.CR0_SEL_WRITE,), eax=1)) == ExitCode.CR0_SEL_WRITE
    assert outcome(world("0f06 0f01d9", (ExitCode.CR0_SEL_WRITE,))) == ExitCode.VMMCALL


def test_cr4_write() -> None:
    cpu = world("0f22e3", (ExitCode.CR4_WRITE,), ebx=int(Cr4.PSE))
    assert outcome(cpu) == ExitCode.CR4_WRITE and read(cpu, Vmcb.CR4) == 0


def test_mov_cr3_of_the_guest_is_the_guests() -> None:
    cpu = world("0f22db 0f01d9", ebx=0x7000)
    host = cpu.state.cr3 = 0x5000
    cpu.state_changed()
    outcome(cpu)
    assert read(cpu, Vmcb.CR3) == 0x7000 and cpu.state.cr3 == host


# priority

@pytest.mark.parametrize(("code", "exit_code", "vector"), [
    ("f4", ExitCode.HLT, Vector.GP), ("0f22d8", ExitCode.CR3_WRITE, Vector.GP), ("0f01d8", ExitCode.VMRUN, Vector.GP),
    ("0f32", ExitCode.MSR, Vector.GP), ("0f0113", ExitCode.GDTR_WRITE, Vector.GP),
    ("0f09", ExitCode.WBINVD, Vector.GP), ("0f33", ExitCode.RDPMC, Vector.GP), ("0f013b", ExitCode.INVLPG, Vector.GP),
])
def test_privilege_goes_before_the_intercept(code: str, exit_code: int, vector: Vector) -> None:
    cpu = prepared(code, exit_code)
    to_user_guest(cpu)
    enter(cpu)
    retired = cpu.step()
    assert (retired.cause, retired.vector) == (RetireCause.EXCEPTION, vector)


@pytest.mark.parametrize(("code", "exit_code"), [
    ("9c", ExitCode.PUSHF), ("9d", ExitCode.POPF), ("cf", ExitCode.IRET), ("0fa2", ExitCode.CPUID),
    ("cd21", ExitCode.SWINT), ("f1", ExitCode.ICEBP), ("f390", ExitCode.PAUSE), ("0f01d9", ExitCode.VMMCALL),
    ("0f0103", ExitCode.GDTR_READ), ("0f00c3", ExitCode.LDTR_READ), ("cc", ExitCode.EXCEPTION_BP),
])
def test_what_ring_3_may_do_exits_from_there_too(code: str, exit_code: int) -> None:
    cpu = prepared(code, exit_code)
    to_user_guest(cpu)
    assert outcome(cpu) == exit_code


@pytest.mark.parametrize(("code", "exit_code"), [
    ("0f0103", ExitCode.GDTR_READ), ("0f0113", ExitCode.GDTR_WRITE), ("0f0013", ExitCode.LDTR_WRITE),
    ("0f0133", ExitCode.CR0_WRITE), ("cf", ExitCode.IRET), ("9d", ExitCode.POPF), ("6f", ExitCode.IOIO),
])
def test_the_intercept_goes_before_memory(code: str, exit_code: int) -> None:
    """The operand, or the stack, lies beyond its segment."""
    cpu = prepared(code, exit_code)
    for field in (Vmcb.DS, Vmcb.SS, Vmcb.ES):
        write(cpu, field + 4, 0, 4)
    set_port_bit(cpu, 0, 4)
    assert outcome(cpu) == exit_code


@pytest.mark.parametrize(("code", "value", "exit_code"), [
    ("0f22c3", 0x8000_0010, ExitCode.CR0_WRITE), ("0f22c3", 0x2000_0011, ExitCode.CR0_WRITE),
    ("0f22e3", 0x20, ExitCode.CR4_WRITE), ("0f22c3", 0x2000_0011, ExitCode.CR0_SEL_WRITE),
])
def test_illegal_values_go_before_the_intercept(code: str, value: int, exit_code: int) -> None:
    cpu = world(code, (exit_code,), ebx=value)
    enter(cpu)
    assert cpu.step().vector == Vector.GP


def test_time_stamp_disable_goes_before_rdtsc() -> None:
    cpu = world("0f31", (ExitCode.RDTSC,))
    to_user_guest(cpu)
    write(cpu, Vmcb.CR4, int(Cr4.TSD))
    enter(cpu)
    assert cpu.step().vector == Vector.GP


def test_general_detect_goes_before_debug_register_intercepts() -> None:
    cpu = world("0f21c3", (ExitCode.DR0_READ,))
    write(cpu, Vmcb.DR7, int(Dr7.GD) | 0x400)
    enter(cpu)
    assert cpu.step().vector == Vector.DB and cpu.state.dr[6] & Dr6.BD


# ports

def set_port_bit(cpu: Interpreter, port: int, count: int = 1) -> None:
    for bit in range(port, port + count):
        place = IOPM + (bit >> 3)
        cpu.memory.load_blob(place, bytes([cpu.memory.read(place, 1) | 1 << (bit & 7)]))


PORTS = [
    ("ec", dict(input=1, size8=1, address32=1)), ("66ed", dict(input=1, size16=1, address32=1)),
    ("ed", dict(input=1, size32=1, address32=1)), ("67ee", dict(size8=1, address16=1)),
    ("ef", dict(size32=1, address32=1)), ("6c", dict(input=1, string=1, size8=1, address32=1)),
    ("f36d", dict(input=1, string=1, rep=1, size32=1, address32=1)),
    ("6e", dict(string=1, size8=1, address32=1, segment=3)),
    ("f3 64 67 66 6f", dict(string=1, rep=1, size16=1, address16=1, segment=4)),
]


@pytest.mark.parametrize(("code", "info"), PORTS)
def test_ports(code: str, info: dict[str, int]) -> None:
    cpu = world(code, (ExitCode.IOIO,), edx=0x3F8, ecx=1)
    set_port_bit(cpu, 0x3F8)
    assert outcome(cpu) == ExitCode.IOIO
    following = GUEST + len(bytes.fromhex(code))
    assert read(cpu, Vmcb.EXITINFO1) == IoInfo.build(port=0x3F8, **info)
    assert read(cpu, Vmcb.EXITINFO2) == following and read(cpu, Vmcb.NRIP) == following


@pytest.mark.parametrize(("port", "bit", "exits"), [
    (0x10, 0x10, True), (0x10, 0x13, True), (0x10, 0x14, False), (0x0F, 0x10, True), (0xFFFF, 0x1_0002, True),
    (0xFFFF, 0x1_0003, False), (0xFFFD, 0xFFFC, False),
])
def test_an_access_of_four_ports_tests_four_bits(port: int, bit: int, exits: bool) -> None:
    """At the last port they go on behind the map's 64 K bits."""
    cpu = world("ed 0f01d9", (ExitCode.IOIO,), edx=port)
    set_port_bit(cpu, bit)
    assert outcome(cpu) == (ExitCode.IOIO if exits else ExitCode.VMMCALL)


def test_no_iteration_asks_for_no_port() -> None:
    cpu = world("f36d 0f01d9", (ExitCode.IOIO,), edx=0x20, ecx=0)
    set_port_bit(cpu, 0, 64)
    assert outcome(cpu) == ExitCode.VMMCALL


def test_the_task_state_segment_goes_before_the_permission_map() -> None:
    cpu = world("ec", (ExitCode.IOIO,), edx=0x20)
    to_user_guest(cpu)
    cpu.memory.write32(TSS + Tss32.IO_BASE - 2, 0x100 << 16)
    cpu.memory.load_blob(TSS + 0x100, b"\0" * 8)
    set_port_bit(cpu, 0x20)
    assert outcome(cpu) == ExitCode.IOIO
    cpu = world("ec", (ExitCode.IOIO,), edx=0x20)
    to_user_guest(cpu)
    cpu.memory.write32(TSS + Tss32.IO_BASE - 2, 0x100 << 16)
    cpu.memory.load_blob(TSS + 0x100, b"\xff" * 8)
    set_port_bit(cpu, 0x20)
    enter(cpu)
    assert cpu.step().vector == Vector.GP


# MSRs

@pytest.mark.parametrize("msr", [Msr.TSC, 0x1FFF, Msr.EFER, Msr.VM_HSAVE_PA, Msr.PAT])
@pytest.mark.parametrize("is_write", [False, True])
def test_msrs(msr: int, is_write: bool) -> None:
    """Its own bit of the map, and no other. An MSR that does not exist is asked about all the same."""
    bit = msrpm_bit(msr, is_write)
    assert bit is not None
    for set_bits, exits in ((bytes([1 << (bit & 7)]), True), (bytes([0xFF ^ 1 << (bit & 7)]), False)):
        cpu = world("0f30" if is_write else "0f32", (ExitCode.MSR, ExitCode.EXCEPTION_GP), ecx=int(msr))
        cpu.memory.load_blob(MSRPM + (bit >> 3), set_bits)
        enter(cpu)
        retired = cpu.step()
        assert (retired.error == ExitCode.MSR) is exits
        if exits:
            assert read(cpu, Vmcb.EXITINFO1) == is_write and read(cpu, Vmcb.NRIP) == GUEST + 2


@pytest.mark.parametrize("msr", [0x2000, 0x4000_0000, 0xC000_2000, 0xC001_2000])
def test_msrs_outside_the_map_are_always_intercepted(msr: int) -> None:
    assert outcome(world("0f32", (ExitCode.MSR,), ecx=msr)) == ExitCode.MSR


# task switches

def task_guest(code: str) -> Interpreter:
    cpu = world(code, (ExitCode.TASK_SWITCH,))
    set_descriptor(cpu, FREE, 0x0000_8900_5000_0067 | 0x5000 << 16)
    return cpu


def test_an_exit_behind_the_commit_point_saves_the_new_task() -> None:
    """It used to save the flags of the old one."""
    cpu = task_guest(f"ea00000000{FREE:02x}00")
    intercept(cpu, ExitCode.TASK_SWITCH, on=False)
    intercept(cpu, ExitCode.EXCEPTION_TS)
    write(cpu, Vmcb.RFLAGS, 2 | Eflags.DF)
    for field, value in ((Tss32.EIP, 0x1234), (Tss32.EFLAGS, 2 | Eflags.NT), (Tss32.CS, KERNEL_CODE),
                         (Tss32.SS, KERNEL_DATA), (Tss32.DS, 0x100)):
        cpu.memory.write32(0x5000 + field, value)
    assert outcome(cpu) == ExitCode.EXCEPTION_TS and read(cpu, Vmcb.EXITINFO1) == 0x100
    assert (read(cpu, Vmcb.RIP), read(cpu, Vmcb.RFLAGS)) == (0x1234, 2 | Eflags.NT)


@pytest.mark.parametrize(("link", "left", "blocked"), [
    (FREE, ExitCode.TASK_SWITCH, True), (FREE | 4, ExitCode.EXCEPTION_TS, False)])
def test_an_iret_that_leaves_for_its_task_switch_lets_no_nmi_in(link: int, left: ExitCode, blocked: bool) -> None:
    """It used to; one that faults does."""
    cpu = task_guest("cf")
    intercept(cpu, ExitCode.EXCEPTION_TS)
    set_descriptor(cpu, FREE, 0x0000_8B00_5000_0067 | 0x5000 << 16)
    cpu.memory.write32(TSS, link)
    write(cpu, Vmcb.RFLAGS, 2 | Eflags.NT)
    cpu.state.nmi_blocked = True
    assert outcome(cpu) == left
    assert cpu.state.nmi_blocked is blocked


@pytest.mark.parametrize("flags", [2, 2 | Eflags.RF])
@pytest.mark.parametrize(("code", "info"), [
    (f"ea00000000{FREE:02x}00", dict(jump=1)), (f"9a00000000{FREE:02x}00", dict())])
def test_far_transfers_to_a_task(code: str, info: dict[str, int], flags: int) -> None:
    """RF would be saved as zero, and is in the VMCB as it was."""
    cpu = task_guest(code)
    write(cpu, Vmcb.RFLAGS, flags)
    tss = cpu.memory.blob(TSS, 104)
    assert outcome(cpu) == ExitCode.TASK_SWITCH
    assert read(cpu, Vmcb.EXITINFO1) == FREE and read(cpu, Vmcb.EXITINFO2) == TaskInfo.build(**info)
    assert read(cpu, Vmcb.RFLAGS) == flags and read(cpu, Vmcb.NRIP) == 0 and cpu.memory.blob(TSS, 104) == tss
