"""NMI, INIT and IA32_APIC_BASE of the emulated computer, as the local APIC and the program ask for them."""

import pytest

from rtl.isa.apic import APIC_BASE_ENABLE, ApicReg, IoApicIndex, IoApicReg, io_apic_input
from rtl.isa.exceptions import Vector
from rtl.isa.msrs import MSRS, Msr
from rtl.isa.platform import REGION, Irq
from rtl.isa.retire import RetireCause
from tests.vmm.engine.machine import CODE, HANDLERS, RAM
from tests.vmm.engine.test_emulate import computer
from vmm.engine.emulate import EmulatedMachine, StopReason
from vmm.state import CpuState

pytestmark = pytest.mark.usefixtures("engine")

_COMMAND = REGION["LOCAL_APIC"].base + ApicReg.ICR_LOW
_RESET = MSRS[Msr.APIC_BASE].reset


def send(message: int) -> str:
    """MOV dword [command], message."""
    return f"c705{_COMMAND.to_bytes(4, 'little').hex()}{message.to_bytes(4, 'little').hex()}"


NMI, INIT = send(0x4400), send(0x4500)
#: MOV ECX, 1Bh; MOV EAX, value; XOR EDX, EDX; WRMSR
WRMSR = "b91b000000 b8{} 31d2 0f30"


def wrmsr(value: int) -> str:
    return WRMSR.format(value.to_bytes(4, "little").hex())


def with_handler(code: str, handler: str) -> EmulatedMachine:
    machine = computer(code)
    machine.memory.load_blob(HANDLERS + Vector.NMI, bytes.fromhex(handler))
    return machine


def test_nmi_comes_whatever_the_interrupt_flag() -> None:
    machine = with_handler(f"fa {NMI} ebfe", "45 cf")
    machine.run(2000)
    assert machine.cpu.state.gpr[5] == 1 and not machine.cpu.state.nmi_blocked


def test_nmi_is_taken_behind_the_instruction_that_sends_it() -> None:
    machine = with_handler(f"{NMI} 90 f4", "45 cf")
    machine.step()
    retired = machine.step()
    assert (retired.cause, retired.vector, retired.eip) == (RetireCause.INTERRUPT, Vector.NMI, CODE + 10)


def test_a_second_nmi_waits_for_iret() -> None:
    """Two more come in the handler, and are one; it counts how deep it is in EBX, at most 1 in EDX."""
    # INC EBP; INC EBX; CMP EBX, EDX; JBE +2; MOV EDX, EBX; CMP EBP, 1; JNE +20; send twice; DEC EBX; IRET
    handler = f"45 43 39d3 7602 89da 83fd01 7514 {NMI} {NMI} 4b cf"
    machine = with_handler(f"31ed 31db 31d2 {NMI} ebfe", handler)
    machine.run(2000)
    gpr = machine.cpu.state.gpr
    assert (gpr[5], gpr[3], gpr[2]) == (2, 0, 1)


def test_iret_lets_nmis_in_even_if_it_faults() -> None:
    """SDM vol. 3A, 6.7.1. The null selector on the stack is #GP(0); in its handler an NMI is taken that has waited."""
    machine = with_handler("6a00 6a00 6a00 cf", "45 f4")
    machine.memory.load_blob(HANDLERS + Vector.GP, b"\x90\xf4")
    machine.cpu.state.nmi_pending = machine.cpu.state.nmi_blocked = True
    assert machine.run(100).reason is StopReason.HALT_FOREVER
    state = machine.cpu.state
    assert state.gpr[5] == 1 and state.nmi_blocked and not state.nmi_pending and state.eip == HANDLERS + Vector.NMI + 2


def io_apic(index: int, value: int) -> str:
    base = REGION["IO_APIC"].base
    return "".join(f"c705{(base + register).to_bytes(4, 'little').hex()}{word.to_bytes(4, 'little').hex()}"
                   for register, word in ((IoApicReg.SELECT, index), (IoApicReg.WINDOW, value)))


def test_nmi_of_a_device_comes_in_time_while_an_interrupt_waits_for_if() -> None:
    """It used to be late: with INTR high, nobody looked for the next change of a line.

    The timer sends NMIs through the I/O APIC; its first finds the processor in INC EAX; JMP, with an interrupt of its
    own waiting.
    """
    pit, self_ipi = IoApicIndex.ENTRY + 2 * io_apic_input(Irq.PIT), 0x4_4040
    code = (f"fa c705{(REGION['LOCAL_APIC'].base + ApicReg.SVR).to_bytes(4, 'little').hex()}ff010000 {send(self_ipi)}"
            f"{io_apic(pit, 0x400)} b034 e643 b011 e640 b000 e640 40 ebfd")
    whole, stepped = (with_handler(code, "f4") for _ in range(2))
    assert whole.run(5000).reason is StopReason.HALT_FOREVER
    while not stepped.cpu.state.halted:
        stepped.step()
    assert whole.platform.intr and whole.cpu.state.gpr[0] > 0
    assert (whole.cpu.state.gpr[0], whole.cpu.steps) == (stepped.cpu.state.gpr[0], stepped.cpu.steps)


def test_nmi_wakes_hlt() -> None:
    machine = with_handler(f"fa {send(0x4400)} f4 f4", "45 cf")
    machine.cpu.state.nmi_blocked = True
    assert machine.run(100).reason is StopReason.HALT_FOREVER and machine.cpu.state.gpr[5] == 0
    machine.cpu.state.nmi_blocked = False
    assert machine.run(100).reason is StopReason.HALT_FOREVER and machine.cpu.state.gpr[5] == 1


def test_nmi_waits_for_the_shadow_of_mov_ss() -> None:
    machine = with_handler("8cd0 8ed0 90 f4", "45 cf")
    machine.step()
    machine.step()
    machine.cpu.state.nmi_pending = True
    assert machine.step().cause is RetireCause.INSTRUCTION
    assert machine.step().vector == Vector.NMI


def test_state_of_nmi_is_kept() -> None:
    machine = with_handler(f"{NMI} ebfe", f"{NMI} 90 cf")
    for _ in range(3):
        machine.step()
    image = machine.save()
    assert image["cpu"]["nmi_blocked"] and image["cpu"]["nmi_pending"]
    other = with_handler(f"{NMI} ebfe", f"{NMI} 90 cf")
    other.memory.load_blob(0, machine.memory.blob(0, RAM))
    other.load(image)
    assert [other.step().cause for _ in range(3)] == [
        RetireCause.INSTRUCTION, RetireCause.INSTRUCTION, RetireCause.INTERRUPT]
    assert "nmi_blocked" not in CpuState().to_dict()


def test_init_resets() -> None:
    machine = computer(f"{INIT} ebfe")
    assert machine.run(100).reason is StopReason.RESET and machine.cpu.state.instructions == 1
    assert machine.run(100).reason is StopReason.LIMIT


def test_init_waits_for_gif() -> None:
    machine = computer(f"{INIT} 90 0f01dc ebfe")
    machine.cpu.state.msrs[Msr.EFER] = 1 << 12
    machine.cpu.state.svm.gif = False
    machine.cpu.state_changed()
    assert machine.run(100).reason is StopReason.RESET and machine.cpu.state.instructions == 3


@pytest.mark.parametrize(("value", "faults"), [
    (_RESET, False), (_RESET ^ APIC_BASE_ENABLE, False), (_RESET ^ 0x100, True), (_RESET ^ 0x1000, True), (0, True)])
def test_apic_base_changes_in_its_enable_bit_alone(value: int, faults: bool) -> None:
    # RDMSR behind it
    machine = computer(f"{wrmsr(value)} 0f32 f4")
    machine.memory.load_blob(HANDLERS + Vector.GP, b"\x0f\x32\xf4")
    machine.run(20)
    state = machine.cpu.state
    assert state.gpr[0] == (_RESET if faults else value) and state.gpr[2] == 0
    assert (state.eip < CODE) is faults


def test_without_the_local_apic_its_registers_read_as_ones() -> None:
    read = "a1" + (REGION["LOCAL_APIC"].base + ApicReg.VERSION).to_bytes(4, "little").hex()
    code = f"{wrmsr(_RESET ^ APIC_BASE_ENABLE)} {read} 89c5 {wrmsr(_RESET)} {read} f4"
    machine = computer(code)
    machine.run(20)
    assert machine.cpu.state.gpr[5] == 0xFFFF_FFFF != machine.cpu.state.gpr[0]
    assert Msr.APIC_BASE not in machine.cpu.state.msrs


def test_a_loaded_state_says_whether_there_is_a_local_apic() -> None:
    machine = computer(f"{wrmsr(_RESET ^ APIC_BASE_ENABLE)} ebfe")
    machine.run(5)
    other = computer("ebfe")
    other.load(machine.save())
    assert other.platform.read_memory(REGION["LOCAL_APIC"].base + ApicReg.VERSION, 4) == 0xFFFF_FFFF
