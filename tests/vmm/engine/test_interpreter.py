"""What a step is: causes, counts, REP, faults, shadows, single step, self-modifying code, recorded writes."""

import pytest

from rtl.isa.exceptions import Vector
from rtl.isa.paging import PTE_A, PTE_P
from rtl.isa.registers import Cr0, Dr6, Eflags, Seg
from rtl.isa.retire import RetireCause
from rtl.isa.segments import SystemType
from tests.vmm.engine.machine import (
    CODE,
    FREE,
    GDT,
    HANDLERS,
    INNER_STACK,
    KERNEL_CODE,
    KERNEL_DATA,
    STACK,
    USER_CODE,
    USER_DATA,
    gate,
    machine,
    set_gate,
    stack,
    steps,
    to_user,
)
from vmm.engine.interpreter import Stop

pytestmark = pytest.mark.usefixtures("engine")

INSTRUCTION, ITERATION, EXCEPTION = RetireCause.INSTRUCTION, RetireCause.ITERATION, RetireCause.EXCEPTION
HALT, SHUTDOWN, INTERRUPT = RetireCause.HALT, RetireCause.SHUTDOWN, RetireCause.INTERRUPT
TF, IF, RF = int(Eflags.TF), int(Eflags.IF), int(Eflags.RF)


def causes(cpu, count: int) -> list[RetireCause]:  # type: ignore[no-untyped-def]
    return [retired.cause for retired in steps(cpu, count)]


def test_halt_retires_once_with_its_length() -> None:
    cpu = machine("90 f4")
    assert [(r.cause, r.eip, r.length) for r in steps(cpu, 3)] == [
        (INSTRUCTION, CODE, 1), (HALT, CODE + 1, 1), (HALT, CODE + 2, 0)]
    assert cpu.state.instructions == 2


def test_rep_is_one_instruction_and_one_step_each() -> None:
    cpu = machine("f3 a4 f3 a4", ecx=3, esi=0x8000, edi=0x8100)
    cpu.memory.load_blob(0x8000, b"abcd")
    assert causes(cpu, 4) == [ITERATION, ITERATION, INSTRUCTION, INSTRUCTION]
    assert cpu.memory.blob(0x8100, 4) == b"abc\0" and cpu.state.instructions == 2 and cpu.state.gpr[1] == 0


def test_burst_and_steps_agree_on_rep() -> None:
    for limit in (1, 2, 100):
        cpu = machine("f3 ab f4", ecx=7, edi=0x8000, eax=0x1234)
        cpu.burst(limit)
        while not cpu.state.halted:
            cpu.burst(limit)
        assert (cpu.state.instructions, cpu.steps, cpu.state.gpr[7]) == (2, 8, 0x801C)


def test_rep_resumes_after_a_fault() -> None:
    """The source limit is hit in the middle: registers stand at the iteration that faulted."""
    cpu = machine("f3 a4", ecx=5, esi=0x8FFE, edi=0x7000)
    cpu.state.segments[Seg.DS].limit = 0x8FFF
    cpu.state_changed()
    retired = steps(cpu, 3)
    assert [r.cause for r in retired] == [ITERATION, ITERATION, EXCEPTION]
    assert retired[2].vector == Vector.GP and retired[2].eip == CODE
    assert (cpu.state.gpr[1], cpu.state.gpr[6], cpu.state.gpr[7]) == (3, 0x9000, 0x7002)


def test_interrupt_between_iterations_pushes_rf() -> None:
    cpu = machine("f3 a4", ecx=5, esi=0x8000, edi=0x7000)
    cpu.state.eflags = 2 | IF
    assert cpu.step().cause is ITERATION and cpu.can_interrupt
    retired = cpu.deliver_interrupt(0x20)
    assert retired.cause is INTERRUPT and retired.vector == 0x20
    assert stack(cpu, 3) == [CODE, KERNEL_CODE, 2 | IF | RF] and not cpu.can_interrupt


def test_fault_changes_nothing_and_pushes_rf() -> None:
    cpu = machine("f7 f1", eax=5, edx=1)
    retired = cpu.step()
    assert (retired.cause, retired.vector, retired.error, retired.eip) == (EXCEPTION, Vector.DE, None, CODE)
    assert cpu.state.eip == HANDLERS and cpu.state.instructions == 0 and cpu.state.gpr[0] == 5
    assert stack(cpu, 3) == [CODE, KERNEL_CODE, 2 | RF]


def test_software_interrupt_is_one_instruction() -> None:
    cpu = machine("cd 21")
    retired = cpu.step()
    assert (retired.cause, retired.length, cpu.state.eip) == (INSTRUCTION, 2, HANDLERS + 0x21)
    assert stack(cpu, 3) == [CODE + 2, KERNEL_CODE, 2] and cpu.state.instructions == 1


def test_interrupt_from_ring3_switches_stacks() -> None:
    cpu = machine("cd 21")
    set_gate(cpu, 0x21, gate(HANDLERS, KERNEL_CODE, SystemType.TRAP_GATE32, dpl=3))
    to_user(cpu)
    cpu.state.eflags = 2 | IF
    cpu.step()
    assert stack(cpu, 5) == [CODE + 2, USER_CODE, 2 | IF, STACK, USER_DATA]
    assert (cpu.state.cpl, cpu.state.gpr[4], cpu.state.segments[Seg.SS].selector) == (0, INNER_STACK - 20, KERNEL_DATA)
    assert cpu.state.eflags == 2 | IF


def test_gate_of_inner_level_refuses_ring3() -> None:
    cpu = machine("cd 21")
    to_user(cpu)
    retired = cpu.step()
    assert (retired.cause, retired.vector, retired.error) == (EXCEPTION, Vector.GP, 0x21 << 3 | 2)


def test_contributory_twice_is_a_double_fault_then_shutdown() -> None:
    cpu = machine("f7 f1")
    set_gate(cpu, Vector.DE, 0)
    set_gate(cpu, Vector.GP, 0)
    retired = cpu.step()
    assert (retired.cause, retired.vector, retired.error) == (EXCEPTION, Vector.DF, 0)
    assert stack(cpu, 2) == [0, CODE]
    cpu = machine("f7 f1")
    cpu.state.idtr_limit = 0
    assert causes(cpu, 2) == [SHUTDOWN, SHUTDOWN]
    assert cpu.run(10) is Stop.SHUTDOWN


def test_sti_holds_interrupts_for_one_instruction() -> None:
    cpu = machine("fb 90 90 fb 90")
    allowed = []
    for _ in range(5):
        cpu.step()
        allowed.append(cpu.can_interrupt)
    assert allowed == [False, True, True, True, True]


def test_mov_ss_holds_interrupts_and_debug_traps() -> None:
    cpu = machine("8e d0 90 90", eax=KERNEL_DATA)
    cpu.state.eflags = 2 | TF | IF
    assert cpu.step().cause is INSTRUCTION
    assert not cpu.can_interrupt and not cpu.state.pending_debug
    assert cpu.step().cause is INSTRUCTION
    retired = cpu.step()
    assert (retired.cause, retired.vector, cpu.state.dr[6] & Dr6.BS) == (EXCEPTION, Vector.DB, Dr6.BS)
    assert stack(cpu, 1) == [CODE + 3]


def test_single_step_traps_after_each_instruction() -> None:
    cpu = machine("90 90")
    cpu.state.eflags = 2 | TF
    assert causes(cpu, 2) == [INSTRUCTION, EXCEPTION]
    assert stack(cpu, 3) == [CODE + 1, KERNEL_CODE, 2 | TF] and not cpu.state.eflags & TF


def test_popf_that_sets_tf_traps_one_instruction_later() -> None:
    cpu = machine("68 02010000 9d 90 90")
    assert causes(cpu, 4) == [INSTRUCTION] * 3 + [EXCEPTION]
    assert stack(cpu, 1) == [CODE + 7]


def test_software_interrupt_under_tf_does_not_trap() -> None:
    cpu = machine("cd 21")
    cpu.state.eflags = 2 | TF
    assert causes(cpu, 2) == [INSTRUCTION, INSTRUCTION]
    assert cpu.state.eip == HANDLERS + 0x22


def test_code_breakpoint_is_a_fault_masked_by_rf() -> None:
    cpu = machine("90 90")
    cpu.state.dr[0], cpu.state.dr[7] = CODE, 0x401
    cpu.state_changed()
    assert cpu.step().cause is EXCEPTION
    assert stack(cpu, 3) == [CODE, KERNEL_CODE, 2] and cpu.state.dr[6] & 0xF == 1
    cpu.state.eip, cpu.state.eflags = CODE, 2 | RF
    assert causes(cpu, 2) == [INSTRUCTION, INSTRUCTION] and not cpu.state.eflags & RF


@pytest.mark.parametrize("entry", [0xD003, 0xD002])
def test_code_at_a_breakpoint_has_been_fetched(entry: int) -> None:
    """Its page is marked accessed; but the breakpoint goes before what is wrong with the page."""
    cpu = machine("e9" + (0xD000 - CODE - 5).to_bytes(4, "little").hex())
    directory, table = 0x1_8000, 0x1_9000
    cpu.memory.write32(directory, table | 3)
    for page in range(32):
        cpu.memory.write32(table + 4 * page, page << 12 | 3)
    cpu.memory.write32(table + 4 * 0xD, entry)
    cpu.state.cr3, cpu.state.cr0 = directory, int(Cr0.PG | Cr0.PE | Cr0.ET)
    cpu.state.dr[0], cpu.state.dr[7] = 0xD000, 0x401
    cpu.state_changed()
    assert [retired.vector for retired in steps(cpu, 2)] == [None, Vector.DB]
    assert cpu.memory.read32(table + 4 * 0xD) == entry | (PTE_A if entry & PTE_P else 0)


def test_fault_after_a_code_breakpoint_was_seen_still_pushes_rf() -> None:
    """DR6 keeps the bit of an old breakpoint; the next #DB fault of another kind must not look like it."""
    cpu = machine("0f 23 c0")
    cpu.state.dr[6] |= 1
    cpu.state.dr[7] = 0x400 | 1 << 13
    cpu.state_changed()
    retired = cpu.step()
    assert retired.vector == Vector.DB and stack(cpu, 3)[2] & RF and cpu.state.dr[6] & Dr6.BD
    assert not cpu.state.dr[7] & 1 << 13


def test_data_breakpoint_is_a_trap() -> None:
    cpu = machine("a3 02800000 90")
    cpu.state.dr[1], cpu.state.dr[7] = 0x8004, 0x400 | 4 | 1 << 20 | 3 << 22
    cpu.state_changed()
    assert causes(cpu, 2) == [INSTRUCTION, EXCEPTION] and cpu.state.dr[6] & 0xF == 2
    assert stack(cpu, 1) == [CODE + 5]


def test_no_code_breakpoint_behind_a_load_of_ss() -> None:
    """SDM vol. 3A, 6.8.3: as if RF were set. The model used to stop there, between the two halves of a stack switch."""
    cpu = machine("8e d0 90 90", eax=KERNEL_DATA)
    cpu.state.dr[0], cpu.state.dr[1], cpu.state.dr[7] = CODE + 2, CODE + 3, 0x405
    cpu.state_changed()
    assert causes(cpu, 3) == [INSTRUCTION, INSTRUCTION, EXCEPTION] and cpu.state.dr[6] & 0xF == 2


def test_data_breakpoint_of_a_load_of_ss_waits_for_the_handler_of_a_software_interrupt() -> None:
    """SDM vol. 3A, 6.8.3: the trap is held over INT n and delivered before the first instruction of its handler."""
    cpu = machine("8e 15 00800000 cd 21")
    cpu.memory.write(0x8000, 2, KERNEL_DATA)
    cpu.state.dr[0], cpu.state.dr[7] = 0x8000, 0x400 | 1 | 3 << 16 | 1 << 18
    cpu.state_changed()
    assert causes(cpu, 3) == [INSTRUCTION, INSTRUCTION, EXCEPTION]
    assert stack(cpu, 1) == [HANDLERS + 0x21] and cpu.state.dr[6] & 0xF == 1


def test_delivery_that_fails_touches_no_breakpoint() -> None:
    """The delivery of #UD reads the descriptor that its gate names and refuses it. The hit used to stay, though the
    delivery of #GP, which took its place, touched nothing."""
    cpu = machine("0f 0b")
    set_gate(cpu, Vector.UD, gate(HANDLERS, FREE, SystemType.INTERRUPT_GATE32))
    cpu.state.dr[0], cpu.state.dr[7] = GDT + FREE, 0x400 | 1 | 3 << 16 | 3 << 18
    cpu.state_changed()
    assert cpu.step().vector == Vector.GP and not cpu.state.pending_debug


@pytest.mark.parametrize("fast", [False, True])
def test_self_modifying_code_takes_effect_at_once(fast: bool) -> None:
    """MOV [next+1], imm8 then MOV EAX, imm: the immediate is the new one. Twice, to run cached code the second time."""
    for value in (0x11, 0x22):
        cpu = machine(f"c605 {(CODE + 8).to_bytes(4, 'little').hex()} {value:02x} b8 00000000 f4")
        for _ in range(2):
            cpu.state.eip, cpu.state.halted = CODE, False
            cpu.memory.write(CODE + 8, 1, 0xEE)
            if fast:
                cpu.run(3)
            else:
                steps(cpu, 3)
            assert cpu.state.gpr[0] == value


def test_recorded_writes() -> None:
    cpu = machine("a3 fe8f0000 50", eax=0x11223344)
    cpu.record = True
    assert cpu.step().writes == [(0x8FFE, 2, 0x3344), (0x9000, 2, 0x1122)]
    assert cpu.step().writes == [(STACK - 4, 4, 0x11223344)]


def test_recording_does_not_change_results() -> None:
    program = "b9 20000000 ba 00800000 8902 83c204 41 0fafc1 49 e2f3 f4"
    images = []
    for record in (False, True):
        cpu = machine(program)
        cpu.record = record
        cpu.run(10_000)
        images.append((cpu.state.to_dict(), cpu.memory.blob(0, 0x10000)))
    assert images[0] == images[1]


def test_state_moves_to_another_interpreter() -> None:
    program = "b9 40000000 bf 00800000 f3 ab b9 1e000000 01c8 40 e2fb 9c f4"
    whole = machine(program)
    whole.run(1000)
    first = machine(program)
    first.run(20)
    second = machine(program)
    second.memory.load_blob(0, first.memory.blob(0, first.memory.size))
    second.state.load_dict(first.state.to_dict())
    second.state_changed()
    second.run(1000)
    assert second.state.to_dict() == whole.state.to_dict()
    assert second.memory.blob(0, 0x10000) == whole.memory.blob(0, 0x10000)


def test_alignment_check_at_ring3_only() -> None:
    for user in (False, True):
        cpu = machine("a1 01800000")
        cpu.state.cr0 |= int(Cr0.AM)
        if user:
            to_user(cpu)
        cpu.state.eflags = 2 | int(Eflags.AC)
        retired = cpu.step()
        assert retired.vector == (Vector.AC if user else None)


def test_fetch_beyond_the_limit_of_cs() -> None:
    cpu = machine("90 b8 00000000")
    cpu.state.segments[Seg.CS].limit = CODE + 3
    cpu.state_changed()
    retired = steps(cpu, 2)
    assert [r.vector for r in retired] == [None, Vector.GP]


def test_there_is_no_way_to_real_mode() -> None:
    cpu = machine("0f 22 c0", eax=0)
    retired = cpu.step()
    assert (retired.vector, retired.error) == (Vector.GP, 0) and cpu.state.cr0 & Cr0.PE


def test_run_stops_at_its_limit_and_at_halt() -> None:
    cpu = machine("ebfe")
    assert cpu.run(1000) is Stop.LIMIT and cpu.state.instructions == 1000
    cpu = machine("f4")
    assert cpu.run(1000) is Stop.HALT


def test_code_under_a_write_is_forgotten_and_its_neighbours_are_not(engine: str) -> None:
    """Overlapping instructions, an instruction that crosses into the written page, and a page that becomes data."""
    program = bytes.fromhex("b8 01000000 bb 02000000 f4")
    cpu = machine(program)
    cpu.run(3)
    cpu.memory.write(CODE + 6, 1, 0x77)
    cpu.state.eip, cpu.state.halted = CODE, False
    cpu.run(3)
    assert (cpu.state.gpr[0], cpu.state.gpr[3]) == (1, 0x77)
    cpu.memory.load_blob(0x7FFE, bytes.fromhex("b8 05000000 f4"))
    for value in (5, 0x99):
        cpu.memory.write(0x8000, 1, value)
        cpu.state.eip, cpu.state.halted = 0x7FFE, False
        cpu.run(2)
        assert cpu.state.gpr[0] == 5 | value << 8
    assert {6, 7, 8} <= cpu.memory.watched
    if engine != "interpreter":
        # a translator goes on watching
        return
    for page in (6, 7, 8):
        cpu.memory.write(page << 12, 4, 0)
        cpu.memory.load_blob(page << 12, bytes(0x1000))
    assert not cpu.memory.watched


@pytest.mark.parametrize("length", [1, 3, 1000])
def test_rep_instruction_that_overwrites_itself_is_fetched_again(length: int) -> None:
    """However the run is cut, what follows the write of its prefix is the instruction that is there then."""
    cpu = machine("f3aa90 f4", ecx=11, edi=CODE - 2, eax=0x90)
    while not cpu.state.halted and cpu.steps < 100:
        cpu.burst(length)
    # the third iteration makes f3 aa 90 aa: one more STOSB, without prefix, which overwrites its own aa
    assert (cpu.state.gpr[1], cpu.state.gpr[7] - CODE, cpu.state.instructions) == (8, 2, 4)
