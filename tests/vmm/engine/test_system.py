"""System behaviour, case by case: gates, tasks, segments, control registers, ports."""

import pytest

from rtl.isa.exceptions import Vector
from rtl.isa.msrs import Msr, PerfEvent
from rtl.isa.registers import Cr0, Cr4, Dr6, Eflags, Seg
from rtl.isa.retire import RetireCause
from rtl.isa.segments import ACCESS_CODE, ACCESS_DATA, ATTR_P, FLAGS_FLAT32, SystemType, descriptor
from rtl.isa.tss import Tss16, Tss32
from tests.vmm.engine.machine import (
    CODE,
    FREE,
    GDT,
    HANDLERS,
    INNER_STACK,
    KERNEL_CODE,
    KERNEL_DATA,
    STACK,
    TASK,
    TSS,
    USER_CODE,
    USER_DATA,
    gate,
    machine,
    set_descriptor,
    set_gate,
    stack,
    steps,
    to_user,
)
from vmm.engine.interpreter import Interpreter
from vmm.state import SegmentCache

pytestmark = pytest.mark.usefixtures("engine")

NT, RF, IF = int(Eflags.NT), int(Eflags.RF), int(Eflags.IF)
NEW_TSS, NEW_CODE, NEW_STACK = 0x5000, 0x7000, 0xB000
LDT_PLACE, LOCAL_TSS = 0xC000, 0x14


def fault(cpu: Interpreter) -> tuple[int | None, int | None]:
    retired = cpu.step()
    assert retired.cause is RetireCause.EXCEPTION
    return retired.vector, retired.error


def selector(text: int) -> str:
    return text.to_bytes(2, "little").hex()


def word(value: int) -> str:
    return value.to_bytes(4, "little").hex()


# Segments

@pytest.mark.parametrize(("value", "vector", "error"), [
    (0x00, Vector.GP, 0), (0x13, Vector.GP, 0x10), (KERNEL_CODE, Vector.GP, 8), (0x100, Vector.GP, 0x100),
    (TASK, Vector.GP, TASK), (FREE, Vector.SS, FREE),
])
def test_mov_ss_refuses(value: int, vector: int, error: int) -> None:
    cpu = machine("8e d0", eax=value)
    set_descriptor(cpu, FREE, descriptor(0, 0xFFFFF, ACCESS_DATA & ~ATTR_P, FLAGS_FLAT32))
    before = cpu.state.segments[Seg.SS].copy()
    assert fault(cpu) == (vector, error)
    assert cpu.state.segments[Seg.SS] == before


def test_null_data_segment_faults_on_use_only() -> None:
    cpu = machine("8e d8 a1 00800000", eax=0)
    assert cpu.step().cause is RetireCause.INSTRUCTION and fault(cpu) == (Vector.GP, 0)


def test_accessed_bit_is_set_once_and_recorded() -> None:
    cpu = machine("8e d8 8e d8", eax=FREE)
    set_descriptor(cpu, FREE, descriptor(0, 0xFFFFF, ACCESS_DATA & ~1, FLAGS_FLAT32))
    cpu.record = True
    assert [r.writes for r in steps(cpu, 2)] == [[(GDT + FREE + 5, 1, 0x93)], []]


def test_expand_down_segment_is_valid_above_its_limit() -> None:
    cpu = machine("8e d8 a1 00800000 a1 ff7f0000", eax=FREE)
    set_descriptor(cpu, FREE, descriptor(0, 7, ACCESS_DATA | 4, FLAGS_FLAT32))
    assert [r.vector for r in steps(cpu, 3)] == [None, None, Vector.GP]


def test_read_only_and_execute_only_segments() -> None:
    for access, write, vector in ((ACCESS_DATA & ~2, False, None), (ACCESS_DATA & ~2, True, Vector.GP)):
        cpu = machine("8e d8" + ("a3" if write else "a1") + "00800000", eax=FREE)
        set_descriptor(cpu, FREE, descriptor(0, 0xFFFFF, access, FLAGS_FLAT32))
        assert [r.vector for r in steps(cpu, 2)] == [None, vector]
    cpu = machine("8e d8", eax=FREE)
    set_descriptor(cpu, FREE, descriptor(0, 0xFFFFF, ACCESS_CODE & ~2, FLAGS_FLAT32))
    assert fault(cpu) == (Vector.GP, FREE)


def test_segment_base_is_added() -> None:
    cpu = machine("8e e0 64 a1 04000000", eax=FREE)
    set_descriptor(cpu, FREE, descriptor(0x8000, 7, ACCESS_DATA, 0))
    cpu.memory.write32(0x8004, 0xCAFE)
    steps(cpu, 2)
    assert cpu.state.gpr[0] == 0xCAFE
    cpu.state.eip = CODE + 2
    cpu.memory.load_blob(CODE + 4, bytes.fromhex("05"))
    assert fault(cpu) == (Vector.GP, 0)


def test_ltr_makes_the_task_busy_and_refuses_it_then() -> None:
    cpu = machine("0f 00 d8 0f 00 d8", eax=FREE)
    set_descriptor(cpu, FREE, descriptor(NEW_TSS, 0x67, ATTR_P | SystemType.TSS32_AVAILABLE.value, 0))
    cpu.step()
    assert cpu.state.segments[Seg.TR].base == NEW_TSS and cpu.memory.read(GDT + FREE + 5, 1) == 0x8B
    assert fault(cpu) == (Vector.GP, FREE)


# Call gates and returns

def test_call_gate_copies_parameters_to_the_inner_stack() -> None:
    cpu = machine(f"9a 00000000 {selector(FREE | 3)}")
    set_descriptor(cpu, FREE, gate(0x7000, KERNEL_CODE, SystemType.CALL_GATE32, dpl=3, count=2))
    to_user(cpu)
    cpu.memory.write32(STACK, 0x1111)
    cpu.memory.write32(STACK + 4, 0x2222)
    cpu.step()
    assert stack(cpu, 6) == [CODE + 7, USER_CODE, 0x1111, 0x2222, STACK, USER_DATA]
    assert (cpu.state.eip, cpu.state.cpl, cpu.state.segments[Seg.CS].selector) == (0x7000, 0, KERNEL_CODE)
    cpu.memory.load_blob(0x7000, bytes.fromhex("ca 0800"))
    cpu.step()
    state = cpu.state
    assert (state.eip, state.cpl, state.gpr[4], state.segments[Seg.SS].selector) == (CODE + 7, 3, STACK + 8, USER_DATA)


def test_gate_to_an_unusable_inner_stack() -> None:
    for value, error in ((0, 0), (USER_DATA, USER_DATA & ~3)):
        cpu = machine(f"9a 00000000 {selector(FREE | 3)}")
        set_descriptor(cpu, FREE, gate(0x7000, KERNEL_CODE, SystemType.CALL_GATE32, dpl=3))
        to_user(cpu)
        cpu.memory.write32(TSS + Tss32.SS0, value)
        # a conforming handler needs no other stack
        set_descriptor(cpu, FREE + 8, descriptor(0, 0xFFFFF, ACCESS_CODE | 4, FLAGS_FLAT32))
        set_gate(cpu, Vector.TS, gate(HANDLERS, FREE + 8, SystemType.TRAP_GATE32))
        assert fault(cpu) == (Vector.TS, error) and cpu.state.cpl == 3


def test_iret_to_ring3_nulls_kernel_segments() -> None:
    cpu = machine("cf")
    esp = STACK - 20
    for k, value in enumerate((0x7000, USER_CODE, 0x3202, 0x8800, USER_DATA)):
        cpu.memory.write32(esp + 4 * k, value)
    cpu.state.gpr[4] = esp
    for number in (Seg.FS, Seg.GS):
        cpu.state.segments[number].selector, cpu.state.segments[number].attributes = USER_DATA, 0xCF3
    cpu.step()
    state = cpu.state
    assert (state.cpl, state.eip, state.gpr[4], state.eflags) == (3, 0x7000, 0x8800, 0x3202)
    assert state.segments[Seg.DS].selector == 0 and not state.segments[Seg.DS].present
    assert state.segments[Seg.FS].selector == USER_DATA and state.segments[Seg.FS].present


def test_ring3_cannot_change_iopl_or_if() -> None:
    cpu = machine("9d")
    to_user(cpu)
    cpu.memory.write32(STACK, 0x3AD7)
    cpu.step()
    assert cpu.state.eflags == 0x8D7
    cpu = machine("fa")
    to_user(cpu)
    assert fault(cpu) == (Vector.GP, 0)


# Tasks

def with_task(code: str, kind: SystemType = SystemType.TSS32_AVAILABLE) -> Interpreter:
    cpu = machine(code)
    limit = 0x67 if kind is SystemType.TSS32_AVAILABLE else 0x2B
    set_descriptor(cpu, FREE, descriptor(NEW_TSS, limit, ATTR_P | kind.value, 0))
    if kind is SystemType.TSS32_AVAILABLE:
        values = {Tss32.EIP: NEW_CODE, Tss32.EFLAGS: 0x2, Tss32.ESP: NEW_STACK, Tss32.EDI: 0x77, Tss32.CS: KERNEL_CODE,
                  Tss32.SS: KERNEL_DATA, Tss32.DS: KERNEL_DATA, Tss32.ES: 0, Tss32.FS: KERNEL_DATA, Tss32.GS: 0}
        for field, value in values.items():
            cpu.memory.write32(NEW_TSS + field, value)
    else:
        small = {Tss16.IP: NEW_CODE, Tss16.FLAGS: 0x2, Tss16.SP: NEW_STACK, Tss16.CS: KERNEL_CODE,
                 Tss16.SS: KERNEL_DATA, Tss16.DS: KERNEL_DATA, Tss16.ES: KERNEL_DATA}
        for place, value in small.items():
            cpu.memory.write(NEW_TSS + place, 2, value)
    cpu.memory.load_blob(NEW_CODE, b"\x90\xcf")
    return cpu


def test_call_to_a_task_and_back() -> None:
    cpu = with_task(f"9a 00000000 {selector(FREE)}")
    cpu.state.gpr[7] = 0x1234
    cpu.step()
    state = cpu.state
    assert (state.eip, state.gpr[4], state.gpr[7], state.segments[Seg.TR].selector) == (
        NEW_CODE, NEW_STACK, 0x77, FREE)
    assert state.eflags == 2 | NT and state.cr0 & Cr0.TS and cpu.memory.read(NEW_TSS, 2) == TASK
    assert cpu.memory.read32(TSS + Tss32.EIP) == CODE + 7 and cpu.memory.read32(TSS + Tss32.EDI) == 0x1234
    assert [cpu.memory.read(GDT + s + 5, 1) for s in (TASK, FREE)] == [0x8B, 0x8B]
    steps(cpu, 2)
    assert (state.eip, state.gpr[7], state.segments[Seg.TR].selector, state.eflags) == (CODE + 7, 0x1234, TASK, 2)
    assert [cpu.memory.read(GDT + s + 5, 1) for s in (TASK, FREE)] == [0x8B, 0x89]
    assert not cpu.memory.read32(NEW_TSS + Tss32.EFLAGS) & NT


def test_jump_to_a_task_leaves_the_old_one_available() -> None:
    cpu = with_task(f"ea 00000000 {selector(FREE)}")
    cpu.step()
    assert cpu.state.eip == NEW_CODE and not cpu.state.eflags & NT
    assert [cpu.memory.read(GDT + s + 5, 1) for s in (TASK, FREE)] == [0x89, 0x8B]


@pytest.mark.parametrize("code", [f"ea 00000000 {selector(FREE)}", f"9a 00000000 {selector(FREE)}"])
def test_an_instruction_that_switches_tasks_has_cleared_rf(code: str) -> None:
    """SDM vol. 3B, 18.3.1.1: at its start."""
    cpu = with_task(code)
    cpu.state.system_flags |= int(Eflags.RF)
    cpu.step()
    assert cpu.state.segments[Seg.TR].selector == FREE and cpu.memory.read32(TSS + Tss32.EFLAGS) == 2


def test_task_of_the_16_bit_kind() -> None:
    cpu = with_task(f"9a 00000000 {selector(FREE)}", SystemType.TSS16_AVAILABLE)
    cpu.state.gpr[0] = 0xFFFF_FFFF
    cpu.step()
    state = cpu.state
    assert (state.eip, state.gpr[0], state.gpr[4], state.segments[Seg.FS].selector) == (NEW_CODE, 0, NEW_STACK, 0)


def test_t_bit_traps_before_the_first_instruction() -> None:
    cpu = with_task(f"ea 00000000 {selector(FREE)}")
    cpu.memory.write(NEW_TSS + Tss32.T, 2, 1)
    assert [r.cause for r in steps(cpu, 2)] == [RetireCause.INSTRUCTION, RetireCause.EXCEPTION]
    assert cpu.state.dr[6] & Dr6.BT and stack(cpu, 1) == [NEW_CODE]


def test_fault_after_the_commit_point_belongs_to_the_new_task() -> None:
    cpu = with_task(f"9a 00000000 {selector(FREE)}")
    cpu.memory.write32(NEW_TSS + Tss32.DS, 0x100)
    retired = cpu.step()
    assert (retired.vector, retired.error) == (Vector.TS, 0x100)
    assert stack(cpu, 3) == [0x100, NEW_CODE, KERNEL_CODE] and cpu.state.segments[Seg.TR].selector == FREE


def test_fault_through_a_task_gate_pushes_its_error_code_there() -> None:
    cpu = with_task("8e d8")
    cpu.state.gpr[0] = 0x100
    set_gate(cpu, Vector.GP, gate(0, FREE, SystemType.TASK_GATE))
    assert fault(cpu) == (Vector.GP, 0x100)
    assert stack(cpu, 1) == [0x100] and cpu.state.gpr[4] == NEW_STACK - 4
    assert cpu.memory.read32(TSS + Tss32.EFLAGS) & RF and cpu.memory.read32(TSS + Tss32.EIP) == CODE


@pytest.mark.parametrize(("high", "vector"), [(0x89, None), (0x8B, Vector.GP), (0x09, Vector.NP)])
def test_state_of_the_descriptor(high: int, vector: int | None) -> None:
    cpu = with_task(f"ea 00000000 {selector(FREE)}")
    cpu.memory.write(GDT + FREE + 5, 1, high)
    assert cpu.step().vector == vector


def test_short_tss() -> None:
    cpu = with_task(f"ea 00000000 {selector(FREE)}")
    set_descriptor(cpu, FREE, descriptor(NEW_TSS, 0x66, ATTR_P | SystemType.TSS32_AVAILABLE.value, 0))
    assert fault(cpu) == (Vector.TS, FREE)


@pytest.mark.parametrize("opcode", ["ea", "9a"])
def test_transfer_straight_to_a_tss_in_the_ldt(opcode: str) -> None:
    """SDM vol. 2A, JMP, CALL: #GP(selector). Only a task gate may be in the LDT; the model used to switch."""
    cpu = with_task(f"{opcode} 00000000 {selector(LOCAL_TSS)}")
    cpu.memory.write(LDT_PLACE + (LOCAL_TSS & ~7), 4, cpu.memory.read32(GDT + FREE))
    cpu.memory.write(LDT_PLACE + (LOCAL_TSS & ~7) + 4, 4, cpu.memory.read32(GDT + FREE + 4))
    cpu.state.segments[Seg.LDTR].copy_from(SegmentCache(0x38, LDT_PLACE, 0xFF, ATTR_P | SystemType.LDT.value))
    assert fault(cpu) == (Vector.GP, LOCAL_TSS)


def test_task_that_returns_to_itself_finds_what_it_saved() -> None:
    """SDM vol. 3A, 7.3: the old task is saved, then the new one loaded. The model used to read before it saved."""
    cpu = machine("cf 90")
    cpu.memory.write(TSS, 2, TASK)
    cpu.state.eflags |= NT
    cpu.state.gpr[7] = 0x1234
    for segment, value in zip(range(6), (KERNEL_DATA, KERNEL_CODE, *[KERNEL_DATA] * 4), strict=True):
        cpu.state.segments[segment].selector = value
    cpu.step()
    assert (cpu.state.eip, cpu.state.gpr[7], cpu.state.eflags & NT) == (CODE + 1, 0x1234, 0)


# Deliveries

def test_ext_is_set_for_faults_met_in_deliveries_nobody_asked_for() -> None:
    cpu = machine("cd 21")
    set_gate(cpu, 0x21, gate(HANDLERS, 0x100, SystemType.TRAP_GATE32))
    assert fault(cpu) == (Vector.GP, 0x100)
    cpu = machine("90")
    set_gate(cpu, 0x21, gate(HANDLERS, 0x100, SystemType.TRAP_GATE32))
    retired = cpu.deliver_interrupt(0x21)
    assert (retired.cause, retired.vector, retired.error) == (RetireCause.EXCEPTION, Vector.GP, 0x101)


def test_icebp_ignores_gate_privilege() -> None:
    cpu = machine("f1")
    to_user(cpu)
    cpu.step()
    assert cpu.state.cpl == 0 and cpu.state.gpr[4] == INNER_STACK - 20 and not cpu.state.dr[6] & 0xE00F


def test_16_bit_gate_pushes_words() -> None:
    cpu = machine("cd 21")
    set_gate(cpu, 0x21, gate(0x7000, KERNEL_CODE, SystemType.INTERRUPT_GATE16))
    cpu.step()
    assert cpu.state.gpr[4] == STACK - 6 and cpu.memory.read(STACK - 6, 2) == CODE + 2


# Control registers, identification, time

@pytest.mark.parametrize(("register", "value"), [(0, 0x8000_0010), (0, 0x2000_0011), (4, 1), (4, 0x20)])
def test_illegal_control_register_values(register: int, value: int) -> None:
    cpu = machine(f"0f 22 {0xC0 | register << 3:02x}", eax=value)
    assert fault(cpu) == (Vector.GP, 0)
    assert (cpu.state.cr0, cpu.state.cr4) == (0x11, 0)


def test_ring3_may_not() -> None:
    for code in ("0f 20 c0", "0f 22 c0", "f4", "0f 01 10", "0f 30", "0f 06", "0f 01 38", "0f 35", "0f 00 d0",
                 "0f 23 c0"):
        cpu = machine(code, eax=0x8000, ecx=int(Msr.SYSENTER_CS))
        to_user(cpu)
        assert fault(cpu) == (Vector.GP, 0), code


def test_debug_register_aliases() -> None:
    cpu = machine("0f 21 e0")
    cpu.step()
    assert cpu.state.gpr[0] == cpu.state.dr[6]
    cpu = machine("0f 21 e0")
    cpu.state.cr4 = int(Cr4.DE)
    assert fault(cpu) == (Vector.UD, None)


def test_time_and_counters_come_from_the_owner() -> None:
    cpu = machine("0f 31 0f 30 0f 31 0f 33", ecx=int(Msr.TSC))
    cpu.clock = lambda: 1000
    cpu.counter = lambda event: 42 if event is PerfEvent.INSTRUCTIONS else 0
    cpu.step()
    assert cpu.state.gpr[0] == 1000
    cpu.state.gpr[0], cpu.state.gpr[2] = 5, 1
    steps(cpu, 2)
    assert (cpu.state.gpr[0], cpu.state.gpr[2]) == (5, 1)
    cpu.state.gpr[1] = PerfEvent.INSTRUCTIONS.value
    cpu.step()
    assert cpu.state.gpr[0] == 42


@pytest.mark.parametrize("number", [int(Msr.PAT), 0xC000_0081, 0x9999, int(Msr.PERF_BASE) + len(PerfEvent)])
def test_absent_msrs(number: int) -> None:
    for code in ("0f 30", "0f 32"):
        assert fault(machine(code, ecx=number)) == (Vector.GP, 0)


def test_sysenter_and_sysexit() -> None:
    cpu = machine("0f 34")
    cpu.state.msrs |= {Msr.SYSENTER_CS: KERNEL_CODE, Msr.SYSENTER_ESP: 0x8000, Msr.SYSENTER_EIP: 0x7000}
    cpu.memory.load_blob(0x7000, bytes.fromhex("0f 35"))
    to_user(cpu)
    cpu.state.eflags = 2 | IF
    cpu.step()
    state = cpu.state
    assert (state.cpl, state.eip, state.gpr[4], state.eflags) == (0, 0x7000, 0x8000, 2)
    assert [state.segments[s].selector for s in (Seg.CS, Seg.SS)] == [KERNEL_CODE, KERNEL_DATA]
    state.gpr[1], state.gpr[2] = 0x8800, 0x7100
    cpu.step()
    assert (state.cpl, state.eip, state.gpr[4]) == (3, 0x7100, 0x8800)
    assert [state.segments[s].selector for s in (Seg.CS, Seg.SS)] == [KERNEL_CODE + 16 | 3, KERNEL_CODE + 24 | 3]
    cpu = machine("0f 34")
    assert fault(cpu) == (Vector.GP, 0)


@pytest.mark.parametrize(("bits", "vector"), [(0, Vector.UD), (Cr0.EM, Vector.NM), (Cr0.TS, Vector.NM)])
def test_x87_escape(bits: int, vector: int) -> None:
    cpu = machine("d9 c0")
    cpu.state.cr0 |= int(bits)
    assert fault(cpu) == (vector, None)


# Ports

class Ports:
    def __init__(self) -> None:
        self.log: list[tuple[int, ...]] = []

    def read(self, port: int, size: int) -> int:
        self.log.append((port, size))
        return 0xA5A5A5A5 & (1 << 8 * size) - 1

    def write(self, port: int, size: int, value: int) -> None:
        self.log.append((port, size, value))


@pytest.mark.parametrize(("bitmap", "allowed"), [(0, True), (1 << 3, False), (1 << 2, True), (1 << 6, False)])
def test_io_permission_bitmap(bitmap: int, allowed: bool) -> None:
    """IN EAX from port 3 asks for bits 3 to 6."""
    cpu = machine("e5 03")
    cpu.io = ports = Ports()
    cpu.memory.write(TSS + Tss32.IO_BASE, 2, 0x68)
    cpu.memory.write(TSS + 0x68, 2, bitmap)
    to_user(cpu)
    retired = cpu.step()
    assert (retired.vector is None, ports.log) == (allowed, [(3, 4)] if allowed else [])


@pytest.mark.parametrize("kind", [3, 8, 10, 11])
def test_the_bitmap_is_that_of_a_tss_with_bit_3_of_its_type(kind: int) -> None:
    """VMLOAD may have loaded TR with anything; LTR gives 9 and Bh."""
    cpu = machine("e5 03")
    cpu.io = ports = Ports()
    cpu.memory.write(TSS + Tss32.IO_BASE, 2, 0x68)
    cpu.state.segments[Seg.TR].attributes = 0x80 | kind
    to_user(cpu)
    cpu.step()
    assert bool(ports.log) == (kind >= 8)


def test_ins_checks_its_destination_before_the_port() -> None:
    cpu = machine("6d", edi=0xFFFF_FFFE, edx=0x3F8)
    cpu.io = ports = Ports()
    assert fault(cpu) == (Vector.GP, 0) and not ports.log


def test_page_fault_sets_cr2_and_changes_nothing() -> None:
    cpu = machine(f"ff 05 {word(0x40_0000)}")
    directory = 0xC000
    cpu.memory.write32(directory, 0x83)
    cpu.state.cr3, cpu.state.cr4, cpu.state.cr0 = directory, int(Cr4.PSE), int(Cr0.PE | Cr0.PG | Cr0.ET)
    cpu.state_changed()
    assert fault(cpu) == (Vector.PF, 2) and cpu.state.cr2 == 0x40_0000 and cpu.state.instructions == 0


def test_deliveries_that_fault_for_ever_end_in_shutdown() -> None:
    """#AC with a misaligned stack and its handler at CPL 3: the delivery raises #AC, and so on; the host hung."""
    cpu = machine("a101900000")
    to_user(cpu)
    set_gate(cpu, Vector.AC, gate(CODE, 0x1B, SystemType.INTERRUPT_GATE32, 3))
    state = cpu.state
    state.cr0 |= int(Cr0.AM)
    state.system_flags |= int(Eflags.AC)
    state.gpr[4] = STACK + 2
    cpu.state_changed()
    cpu.run(10)
    assert state.shutdown
