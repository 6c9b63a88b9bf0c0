"""Breakpoints of the software engine: where it stops, that the guest sees nothing of them, and that runs go on."""

from __future__ import annotations

import pytest

from tests.vmm.engine.machine import CODE, HANDLERS, IDT, RAM, STACK, computer, machine, to_user
from vmm.engine.emulate import StopReason
from vmm.engine.interpreter import Interpreter, Stop

pytestmark = pytest.mark.usefixtures("engine")

#: 01: ADD EAX, ECX; 03: DEC ECX; 04: JNZ 01; 06: HLT
LOOP = "90 01c8 49 75fb f4"


def counting(iterations: int = 3) -> Interpreter:
    return machine(LOOP, ecx=iterations)


def test_run_stops_before_the_instruction_each_time() -> None:
    cpu = counting()
    cpu.breakpoints = {CODE + 3}
    seen = []
    while cpu.run(1000) is Stop.BREAKPOINT:
        assert cpu.at_breakpoint
        seen.append((cpu.state.eip - CODE, cpu.state.gpr[1], cpu.state.instructions))
    assert seen == [(3, 3, 2), (3, 2, 5), (3, 1, 8)]
    assert cpu.state.halted and not cpu.at_breakpoint


def test_a_run_goes_on_from_the_breakpoint_it_begins_at() -> None:
    cpu = machine("ebfe")
    cpu.breakpoints = {CODE}
    assert cpu.run(1000) is Stop.BREAKPOINT
    assert cpu.state.instructions == 1


def test_assigning_takes_effect_on_code_that_has_run() -> None:
    cpu = counting(1000)
    cpu.run(50)
    cpu.breakpoints = {CODE + 1}
    assert cpu.run(1000) is Stop.BREAKPOINT and cpu.state.eip == CODE + 1
    cpu.breakpoints = set()
    assert cpu.run(10_000) is Stop.HALT
    assert cpu.state.instructions == 1 + 3 * 1000 + 1


def test_without_breakpoints_the_guest_does_the_same() -> None:
    plain, watched = counting(50), counting(50)
    plain.run(1000)
    watched.breakpoints = {CODE + 1, CODE + 4}
    while watched.run(1000) is Stop.BREAKPOINT:
        pass
    assert watched.state.to_dict() == plain.state.to_dict() and watched.steps == plain.steps


def test_the_address_is_linear() -> None:
    """A code segment with a base: EIP is 100h less than the linear address."""
    cpu = counting()
    cpu.state.segments[1].base, cpu.state.eip = 0x100, CODE - 0x100
    cpu.state_changed()
    cpu.breakpoints = {CODE + 3}
    assert cpu.run(1000) is Stop.BREAKPOINT and cpu.state.eip == CODE + 3 - 0x100


def test_user_code_and_the_handler_of_its_fault() -> None:
    cpu = machine("90 0f0b")
    to_user(cpu)
    cpu.breakpoints = {HANDLERS + 6}
    assert cpu.run(1000) is Stop.BREAKPOINT
    assert (cpu.state.eip, cpu.state.cpl, cpu.state.instructions) == (HANDLERS + 6, 0, 1)


def test_a_system_instruction_and_one_that_faults() -> None:
    cpu = machine("90 0f01d8 0f0b")  # VMRUN is #UD here
    cpu.breakpoints = {CODE + 1}
    assert cpu.run(1000) is Stop.BREAKPOINT and (cpu.state.eip, cpu.state.instructions) == (CODE + 1, 1)


def test_a_rep_instruction_is_met_once() -> None:
    cpu = machine("90 f3aa f4", ecx=100, edi=STACK)
    cpu.breakpoints = {CODE + 1}
    assert cpu.run(1000) is Stop.BREAKPOINT and cpu.state.gpr[1] == 100
    while cpu.state.gpr[1]:
        cpu.burst(7)
        assert not cpu.at_breakpoint
    assert cpu.run(1000) is Stop.HALT


def test_code_written_at_a_breakpoint_stops_too() -> None:
    cpu = machine("90 c6050860000043 90 f4", ebx=0)  # MOV BYTE [CODE + 8], 43h: NOP becomes INC EBX
    cpu.breakpoints = {CODE + 8}
    assert cpu.run(1000) is Stop.BREAKPOINT and cpu.state.eip == CODE + 8
    assert cpu.run(1000) is Stop.HALT and cpu.state.gpr[3] == 1


@pytest.mark.parametrize("offset", [0, 4])
def test_the_handler_of_a_device_interrupt(offset: int) -> None:
    """The machine stops when the interrupt has been delivered, and before it writes to a port."""
    template = machine("b011 e620 b020 e621 b004 e621 b001 e621 b0fe e621 b034 e643 b0c8 e640 b000 e640 fb ebfe")
    whole = computer(RAM)
    whole.memory.load_blob(0, template.memory.blob(0, RAM))
    whole.memory.load_blob(HANDLERS + 0x20, bytes.fromhex("45 50 b020 e620 58 cf"))
    whole.cpu.state.load_dict(template.state.to_dict())
    whole.cpu.state_changed()
    assert whole.memory.words_at(IDT + 0x100, 1)[0] & 0xFFFF == HANDLERS + 0x20
    whole.cpu.breakpoints = {HANDLERS + 0x20 + offset}
    for count in range(1, 4):
        stop = whole.run(100_000)
        assert stop.reason is StopReason.BREAKPOINT
        assert whole.cpu.state.eip == HANDLERS + 0x20 + offset
        assert whole.cpu.state.gpr[5] == count - (offset == 0)
