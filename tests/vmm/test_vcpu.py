"""The virtual CPU: every exit, that an instruction goes on with the answer it waited for, interrupts, debugging."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from rtl.isa.apic import APIC_BASE_ENABLE
from rtl.isa.msrs import MSRS, Msr
from rtl.isa.registers import CR4_WRITABLE
from tests.test_imports import ROOT
from tests.vmm.engine.dbt.lockstep import CachingCompiler
from tests.vmm.engine.machine import IDT, machine
from tests.vmm.guest import CODE, DEVICE, ENGINES, HOLE, STACK, SVM, Guest
from vmm.engine.dbt import translator
from vmm.exits import (
    AnswerError,
    ApicBaseExit,
    DebugCause,
    DebugExit,
    FailEntryExit,
    HltExit,
    HypercallExit,
    InitExit,
    InterruptWindowExit,
    IoExit,
    KickExit,
    LimitExit,
    MmioExit,
    ShutdownExit,
)
from vmm.registers import TableRegister
from vmm.slots import MemorySlot
from vmm.vcpu import GuestDebug, VcpuError
from vmm.vm import Vm

SOFTWARE = pytest.mark.parametrize("technique", tuple(ENGINES), indirect=True)


def port_write(port: int, size: int, value: int) -> IoExit:
    return IoExit(port=port, size=size, is_write=True, value=value)


def port_read(port: int, size: int, value: int | None = None) -> IoExit:
    return IoExit(port=port, size=size, is_write=False, value=value)


def write(address: int, size: int, value: int) -> MmioExit:
    return MmioExit(address=address, size=size, is_write=True, value=value)


def read(address: int, size: int, value: int | None = None) -> MmioExit:
    return MmioExit(address=address, size=size, is_write=False, value=value)


def test_out_is_done_when_it_is_reported(technique: str) -> None:
    guest = Guest(technique, "e6e9 66ef f4", eax=0x1234_5678, edx=0x1F0)
    assert guest.run() == port_write(0xE9, 1, 0x78) and guest.eip == 2
    assert guest.run() == port_write(0x1F0, 2, 0x5678) and guest.eip == 4
    assert guest.run() == HltExit() and guest.cpu.instructions == 3


def test_in_waits_for_its_answer(technique: str) -> None:
    guest = Guest(technique, "43 e560 f4", eax=5)
    question = guest.run()
    assert question == port_read(0x60, 4) and (guest.eip, guest.cpu.instructions) == (1, 1)
    assert isinstance(question, IoExit)
    question.answer(0xCAFE_F00D)
    assert guest.run() == HltExit()
    assert (guest.cpu.registers.eax, guest.eip, guest.cpu.instructions) == (0xCAFE_F00D, 4, 3)


def test_what_is_no_answer(technique: str) -> None:
    guest = Guest(technique, "e460 e6e9 f4")
    question = guest.run()
    with pytest.raises(AnswerError, match=r"^the read from port 0x60 has to be answered before the next run$"):
        guest.run()
    assert isinstance(question, IoExit)
    with pytest.raises(AnswerError, match="^0x100 is no answer to the read from port 0x60: it does not fit in 1 bytes"):
        question.answer(0x100)
    question.answer(1)
    done = guest.run()
    assert isinstance(done, IoExit)
    with pytest.raises(AnswerError, match="^the write to port 0xe9 is a write and takes no answer$"):
        done.answer(1)


def test_memory_without_a_slot(technique: str) -> None:
    """Loads, stores, a read-modify-write, at each size; inside of the window and beyond it."""
    guest = Guest(technique, "8b01 66890a 000d00000400 f4", ecx=DEVICE, edx=HOLE + 6)
    assert guest.exits(4, 0x80) == [read(DEVICE, 4, 0x80), write(HOLE + 6, 2, DEVICE & 0xFFFF), read(HOLE, 1, 0x80),
                                    write(HOLE, 1, 0x80 + (DEVICE & 0xFF))]
    assert guest.run() == HltExit() and guest.cpu.registers.eax == 0x80


def test_a_read_modify_write_from_ram_into_a_device_happens_once(technique: str) -> None:
    """ADD to four bytes of which two are RAM: what was written to RAM is not read again when it is done anew."""
    guest = Guest(technique, "8103 01000100 f4", ebx=HOLE - 2)
    guest.vm.write(HOLE - 2, b"\xff\xff")
    assert guest.exits(3, 7) == [read(HOLE, 2, 7), write(HOLE, 2, 9), HltExit()]
    assert guest.vm.read(HOLE - 2, 2) == b"\0\0"


def test_a_string_between_devices_in_order(technique: str) -> None:
    guest = Guest(technique, "f3a5 f4", ecx=2, esi=DEVICE, edi=HOLE)
    assert guest.exits(5, 3) == [read(DEVICE, 4, 3), write(HOLE, 4, 3), read(DEVICE + 4, 4, 3), write(HOLE + 4, 4, 3),
                                 HltExit()]
    assert guest.cpu.instructions == 2 and guest.cpu.registers.ecx == 0


def test_rep_in_and_out(technique: str) -> None:
    guest = Guest(technique, "f36c 89fe 4e b102 fd f36e f4", ecx=3, edx=0x40, edi=STACK)
    assert guest.exits(6, 0x55) == 3 * [port_read(0x40, 1, 0x55)] + 2 * [port_write(0x40, 1, 0x55)] + [HltExit()]
    assert guest.vm.read(STACK, 4) == b"UUU\0"


def test_several_writes_of_one_instruction(technique: str) -> None:
    """PUSHA onto a device: eight exits, and only then is anything else done."""
    guest = Guest(technique, "60 40 f4", esp=DEVICE + 32, eax=1, edi=8)
    exits = guest.exits(8)
    assert exits[0] == write(DEVICE + 28, 4, 1) and exits[7] == write(DEVICE, 4, 8)
    assert guest.cpu.registers.eax == 1 and guest.eip == 1
    assert guest.run() == HltExit()


def test_code_that_is_no_ram(technique: str) -> None:
    """Every byte of the fetch is a question, each time."""
    guest = Guest(technique, eip=DEVICE)
    for _ in range(2):
        for offset in range(15):
            question = guest.run(max_instructions=1)
            assert question == read(DEVICE + offset, 1)
            question.answer(0x90 if offset else 0x40)  # type: ignore[union-attr]
        assert guest.run(max_instructions=1).__class__ in (LimitExit, MmioExit)
        guest.set(eip=DEVICE)
    assert guest.cpu.registers.eax == 2


def test_setting_registers_gives_an_instruction_up(technique: str) -> None:
    guest = Guest(technique, "e460 f4", eax=0x77)
    guest.run()
    guest.set(eip=CODE + 2)
    assert guest.run() == HltExit() and (guest.cpu.registers.eax, guest.cpu.instructions) == (0x77, 1)


def test_hypercall(technique: str) -> None:
    guest = Guest(technique, "0f01d9 f4", eax=0x10, ebx=1, ecx=2, edx=3, esi=4, edi=5)
    call = guest.run()
    assert call == HypercallExit(0x10, (1, 2, 3, 4, 5), 0) and guest.eip == 0
    assert isinstance(call, HypercallExit)
    with pytest.raises(AnswerError, match="^0x100000000 is no answer to hypercall 0x10: it does not fit in 32 bits$"):
        call.answer(1 << 32)
    call.answer(-22)
    assert guest.run() == HltExit() and guest.cpu.registers.eax == 0xFFFF_FFEA


def test_vmmcall_without_a_monitor_is_an_invalid_opcode() -> None:
    cpu = machine("0f01d9")
    assert cpu.step().vector == 6


def test_limits_are_exact(technique: str) -> None:
    guest = Guest(technique, "eb00 ebfc")
    for count in (0, 1, 2, 7, 1000):
        before = guest.cpu.instructions
        assert guest.run(max_instructions=count) == LimitExit()
        assert guest.cpu.instructions == before + count
    end = guest.cpu.time + 33
    assert guest.run(until=end) == LimitExit()
    assert end <= guest.cpu.time < end + 400 if technique == SVM else guest.cpu.time == end == 1010 + 33
    assert guest.run(until=0) == LimitExit()


def test_a_limit_does_not_end_in_a_question(technique: str) -> None:
    """With the last allowed instruction behind it, a run does not begin the next one."""
    guest = Guest(technique, "43 e460 f4")
    assert guest.run(max_instructions=1) == LimitExit() and guest.eip == 1


@pytest.mark.parametrize("code", ("e460", "0f01d9"))
def test_an_instruction_that_waited_counts_in_the_limit(technique: str, code: str) -> None:
    guest = Guest(technique, code + "43 f4")
    question = guest.run()
    assert isinstance(question, (IoExit, HypercallExit)) and guest.cpu.instructions == 0
    question.answer(0x5A)
    assert guest.run(max_instructions=1) == LimitExit()
    assert (guest.eip, guest.cpu.instructions, guest.cpu.registers.eax) == (len(code) // 2, 1, 0x5A)


def test_an_instruction_with_several_writes_is_done_at_the_first(technique: str) -> None:
    """PUSHAD onto a device; under svm the registers used to be those before it until its last exit."""
    guest = Guest(technique, "60 f4", esp=DEVICE + 32)
    assert guest.run() == write(DEVICE + 28, 4, 0)
    assert (guest.eip, guest.cpu.instructions, guest.cpu.registers.esp) == (1, 1, DEVICE)
    assert not guest.cpu.can_save
    assert guest.exits(8)[-1] == HltExit()


def test_an_nmi_that_comes_while_an_answer_is_awaited(technique: str) -> None:
    guest = with_handlers(technique, "e460 43 f4", vector=2)
    question = guest.run()
    guest.cpu.nmi()
    assert isinstance(question, IoExit)
    question.answer(0)
    assert guest.run() == HltExit()
    assert (guest.cpu.registers.ebp, guest.cpu.registers.ebx) == (1, 1)


def with_handlers(technique: str, code: str, handler: str = "45 cf", vector: int = 0x20) -> Guest:
    """A guest with the tables of `machine`, and one handler of a vector."""
    template = machine("90")
    guest = Guest(technique, code)
    guest.vm.write(0x1000, template.memory.blob(0x1000, 0x5000))
    guest.vm.write(0x4000 + vector, bytes.fromhex(handler))
    guest.vm.write(0x6000, bytes.fromhex(code))
    system = guest.cpu.system_registers
    system.gdtr.base, system.gdtr.limit = 0x1000, 0xFF
    system.idtr.base, system.idtr.limit = IDT, 48 * 8 - 1
    guest.cpu.system_registers = system
    guest.set(eip=0x6000)
    return guest


def test_an_injected_interrupt_wakes_a_halt(technique: str) -> None:
    guest = with_handlers(technique, "fb f4 fa f4")
    assert guest.exits(2) == [HltExit(), HltExit()]
    assert guest.cpu.can_interrupt
    guest.cpu.interrupt(0x20)
    assert guest.run() == HltExit()
    assert guest.cpu.registers.ebp == 1 and guest.cpu.registers.eip == 0x6004


def test_an_injected_interrupt_waits_until_it_can_be_taken(technique: str) -> None:
    guest = with_handlers(technique, "43 43 fb 43 43 f4")
    guest.cpu.interrupt(0x20)
    with pytest.raises(VcpuError, match="^interrupt 0x21 cannot be injected while 0x20 waits$"):
        guest.cpu.interrupt(0x21)
    assert guest.run(max_instructions=4) == LimitExit() and guest.cpu.registers.ebp == 0
    assert guest.run(max_instructions=1) == LimitExit()
    assert guest.cpu.registers.ebp == 1 and guest.vm.read(guest.cpu.registers.esp, 4) == b"\4\x60\0\0"
    with pytest.raises(VcpuError, match="^interrupt vectors are 0 to 255, not 256$"):
        guest.cpu.interrupt(256)


def test_interrupt_window(technique: str) -> None:
    guest = with_handlers(technique, "43 43 fb 43 43 f4")
    guest.cpu.request_interrupt_window()
    assert guest.run() == InterruptWindowExit()
    assert guest.cpu.registers.eip == 0x6004 and guest.cpu.can_interrupt
    assert guest.run() == HltExit()


def test_an_interrupt_that_waits_goes_before_the_window(technique: str) -> None:
    """INC EBP; IRET is its handler: the window opens behind that."""
    guest = with_handlers(technique, "43 fb 43 90 f4")
    guest.cpu.interrupt(0x20)
    guest.cpu.request_interrupt_window()
    assert guest.run() == InterruptWindowExit()
    assert (guest.cpu.registers.ebp, guest.cpu.registers.eip) == (1, 0x6003)
    assert guest.run() == HltExit()


def test_an_nmi_comes_whatever_the_interrupt_flag(technique: str) -> None:
    guest = with_handlers(technique, "43 f4 43 f4", vector=2)
    guest.cpu.nmi()
    assert guest.run() == HltExit() and (guest.cpu.registers.ebp, guest.cpu.registers.ebx) == (1, 1)
    guest.cpu.nmi()
    assert guest.run() == HltExit() and (guest.cpu.registers.ebp, guest.cpu.registers.ebx) == (2, 2), "it wakes HLT"


def test_a_second_nmi_waits_for_iret(technique: str) -> None:
    """It is taken when IRET has been executed: the handler's stack is as deep as before."""
    guest = with_handlers(technique, "f4", "45 e680 89e1 cf", 2)
    guest.cpu.nmi()
    depths = []
    for _ in range(3):
        assert guest.run() == port_write(0x80, 1, 0)
        guest.cpu.nmi()
        assert guest.run(max_instructions=1) == LimitExit()
        depths.append(guest.cpu.registers.ecx)
    assert guest.run() == port_write(0x80, 1, 0) and guest.run() == HltExit()
    assert guest.cpu.registers.ebp == 4 and len(set(depths)) == 1


def test_nmis_are_part_of_the_state(technique: str) -> None:
    """Saved in the handler of one, with another waiting."""
    first = with_handlers(technique, "f4", "45 e680 cf", 2)
    first.cpu.nmi()
    first.run()
    first.cpu.nmi()
    image, memory = first.cpu.save(), first.vm.read(0, HOLE)
    assert image["nmi_pending"] and image["nmi_blocked"]
    second = Guest(technique)
    second.vm.write(0, memory)
    second.cpu.load(image)
    assert second.exits(2) == [port_write(0x80, 1, 0), HltExit()] and second.cpu.registers.ebp == 2


def test_init(technique: str) -> None:
    guest = Guest(technique, "43 f4")
    guest.cpu.init()
    assert guest.exits(2) == [InitExit(), HltExit()] and guest.cpu.registers.ebx == 1


def test_the_base_of_the_apic(technique: str) -> None:
    """Whoever changes it, an exit says so once: WRMSR, INC EBX, HLT."""
    reset = MSRS[Msr.APIC_BASE].reset
    guest = Guest(technique, "0f30 43 f4", ecx=Msr.APIC_BASE, eax=reset ^ APIC_BASE_ENABLE)
    assert guest.cpu.msr(Msr.APIC_BASE) == reset
    assert guest.run() == ApicBaseExit(reset ^ APIC_BASE_ENABLE) and guest.cpu.registers.ebx == 0
    assert guest.run() == HltExit()
    image = guest.cpu.save()
    guest.cpu.set_msr(Msr.APIC_BASE, reset)
    assert guest.exits(2) == [ApicBaseExit(reset), HltExit()]
    other = Guest(technique)
    other.cpu.load(image)
    assert other.exits(2) == [ApicBaseExit(reset ^ APIC_BASE_ENABLE), HltExit()]


def test_no_interrupt_in_the_middle_of_an_instruction(technique: str) -> None:
    guest = with_handlers(technique, "fb 43 e460 f4")
    question = guest.run()
    assert question == port_read(0x60, 1) and not guest.cpu.can_interrupt
    question.answer(9)  # type: ignore[union-attr]
    guest.cpu.interrupt(0x20)
    assert guest.run() == HltExit()
    assert guest.cpu.registers.eax == 9 and guest.cpu.registers.ebp == 1


def test_a_handler_behind_descriptors_in_a_device(technique: str) -> None:
    """The processor's own reads are questions as well; the delivery goes on where it waited."""
    guest = with_handlers(technique, "fb 43 f4 f4")
    system = guest.cpu.system_registers
    system.idtr.base = DEVICE
    guest.cpu.system_registers = system
    assert guest.run() == HltExit()
    guest.cpu.interrupt(0x20)
    gate, given = int.from_bytes(guest.vm.read(IDT + 0x100, 8), "little"), 0
    steps = guest.cpu.time
    while isinstance(question := guest.run(), MmioExit):
        assert DEVICE + 0x100 <= question.address < DEVICE + 0x108
        question.answer(gate >> 8 * (question.address & 7) & (1 << 8 * question.size) - 1)
        given += question.size
    assert given == 8 and question == HltExit() and guest.cpu.registers.ebp == 1
    assert guest.cpu.time == steps + 4 or technique == SVM


def test_triple_fault_until_registers_are_set(technique: str) -> None:
    guest = Guest(technique, "0f0b")
    assert guest.exits(2) == [ShutdownExit(), ShutdownExit()]
    guest.vm.write(CODE, b"\xf4")
    guest.set(eip=CODE)
    assert guest.run() == HltExit()


def test_states_that_cannot_be_run(technique: str) -> None:
    guest = Guest(technique, "f4")
    good = guest.cpu.system_registers
    data = replace(good.cs, attributes=0xC93)
    for wrong, reason in (
            (replace(good, cr0=0x10), "real mode is not supported (CR0 is 0x00000010)"),
            (replace(good, cr4=0x4010), f"CR4 is 0x00004010, and only bits of {int(CR4_WRITABLE):#x} exist"),
            (replace(good, cs=data), "CS holds a segment of type 0x3, which is not code")):
        guest.cpu.system_registers = wrong
        assert guest.run() == FailEntryExit(reason)
    guest.cpu.system_registers = good
    assert guest.run() == HltExit()


def test_a_guest_that_leaves_protected_mode(technique: str) -> None:
    """It cannot: MOV CR0 is #GP, for which this one has no handler."""
    guest = Guest(technique, "0f20c0 24fe 0f22c0")
    assert guest.run() == ShutdownExit()


@SOFTWARE
def test_breakpoints(technique: str) -> None:
    guest = Guest(technique, "90 01c8 49 75fb f4", ecx=3)
    guest.cpu.debug(GuestDebug(breakpoints={CODE, CODE + 3}))
    stop = DebugExit(DebugCause.BREAKPOINT, CODE + 3)
    assert guest.exits(5) == [DebugExit(DebugCause.BREAKPOINT, CODE), stop, stop, stop, HltExit()]
    assert guest.cpu.instructions == 11


def test_single_step_through_exits(technique: str) -> None:
    """The step of an instruction with an exit is reported behind the exit."""
    guest = Guest(technique, "43 e6e9 e460 f4")
    guest.cpu.debug(GuestDebug(single_step=True))
    step = [DebugExit(DebugCause.STEP, CODE + offset) for offset in (1, 3, 5, 6)]
    assert guest.exits(7, 1) == [step[0], port_write(0xE9, 1, 0), step[1], port_read(0x60, 1, 1), step[2], step[3],
                                 HltExit()]
    assert not guest.cpu.registers.eflags & 0x100


@pytest.mark.parametrize("code", ["0fa2", "e680", "e480", "0f32", "0f30", "0f08", "0f01d9", "f4", "90"])
def test_the_guests_own_single_step(technique: str, code: str) -> None:
    """TF set by POPF: a trap behind NOP and behind each instruction that is left to the monitor, HLT included.

    It used to be lost over what the monitor of a guest of the hardware had done.
    """
    guest = with_handlers(technique, f"6802010000 9d 90 {code} 90 f4", "45 8b1c24 f4", vector=1)
    guest.set(ecx=Msr.SYSENTER_ESP)
    stops = []
    for _ in range(2):
        while not isinstance(left := guest.run(), HltExit):
            if not getattr(left, "is_answered", True):
                left.answer(0)  # type: ignore[union-attr]
        stops.append(guest.cpu.registers.ebx - 0x6000)
        guest.set(eip=0x6000 + stops[-1], eflags=0x102, esp=STACK)
    assert stops == [7, 7 + len(code) // 2]
    assert guest.cpu.registers.ebp == 2 and guest.cpu.debug_registers[4] & 0xF00F == 0x4000


def test_rf_covers_one_instruction(technique: str) -> None:
    """CPUID with RF set, then one at a breakpoint of the guest."""
    guest = with_handlers(technique, "0fa2 90 f4", "45 f4", vector=1)
    guest.cpu.debug_registers = (0x6002, 0, 0, 0, 0xFFFF_0FF0, 0x401)
    guest.set(eflags=0x1_0002)
    assert guest.run() == HltExit() and guest.cpu.registers.ebp == 1


def test_a_kick_ends_a_run(technique: str) -> None:
    guest = Guest(technique, "43 f4")
    guest.cpu.kick()
    assert guest.exits(2) == [KickExit(), HltExit()] and guest.cpu.registers.ebx == 1


def assert_between_two_instructions(guest: Guest) -> None:
    """Of INC EBX; JMP back."""
    registers = guest.cpu.registers
    assert registers.ebx > 0
    assert (2 * registers.ebx - (guest.eip == 1)) == guest.cpu.instructions
    before = guest.cpu.instructions
    assert guest.run(max_instructions=101) == LimitExit() and guest.cpu.instructions == before + 101


def test_a_kick_by_another_thread(technique: str) -> None:
    guest = Guest(technique, "43 ebfd")
    timer = threading.Timer(0.05, guest.cpu.kick)
    timer.start()
    assert guest.cpu.run() == KickExit()
    timer.join()
    assert_between_two_instructions(guest)


def test_ctrl_c_leaves_the_guest_between_two_instructions(technique: str) -> None:
    """It used to lose what was done since the burst began, and not to be seen by translated code."""
    guest = Guest(technique, "43 ebfd")
    timer = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        guest.cpu.run()
    timer.join()
    assert_between_two_instructions(guest)


@pytest.mark.parametrize(("name", "value", "message"), [
    ("eax", -1, "EAX has 32 bits and does not hold -0x1"), ("eip", 1 << 32, "EIP has 32 bits and does not hold "
                                                                           "0x100000000")])
def test_values_that_registers_do_not_hold(technique: str, name: str, value: int, message: str) -> None:
    guest = Guest(technique, "43 f4")
    with pytest.raises(VcpuError, match=f"^{message}$"):
        guest.set(**{name: value})
    system = guest.cpu.system_registers
    for wrong, text in ((replace(system, cr3=1 << 32), "CR3 has 32 bits and does not hold 0x100000000"),
                        (replace(system, gdtr=TableRegister(0, 0x1_0000)), "GDTR.limit has 16 bits and does not hold"),
                        (replace(system, ds=replace(system.ds, selector=-1)), "DS.selector has 16 bits")):
        with pytest.raises(VcpuError, match=f"^{text}"):
            guest.cpu.system_registers = wrong
    with pytest.raises(VcpuError, match="^DR7 has 32 bits and does not hold 0x100000000$"):
        guest.cpu.debug_registers = (0, 0, 0, 0, 0, 1 << 32)
    assert guest.run() == HltExit() and guest.cpu.registers.ebx == 1


def test_registers_are_values(technique: str) -> None:
    guest = Guest(technique, "f4")
    values = replace(guest.cpu.registers, eax=1, edi=8, eflags=0x8D7)
    guest.cpu.registers = values
    assert guest.cpu.registers == values
    values.eax = 2
    assert guest.cpu.registers.eax == 1
    system = guest.cpu.system_registers
    system.ss.attributes |= 3 << 5
    system.cr3, system.tr.base = 0x5000, 0x3000
    guest.cpu.system_registers = system
    assert guest.cpu.system_registers == system
    guest.cpu.debug_registers = (1, 2, 3, 4, 0xFFFF_0FF0, 0x400)
    assert guest.cpu.debug_registers == (1, 2, 3, 4, 0xFFFF_0FF0, 0x400)


def test_msrs(technique: str) -> None:
    guest = Guest(technique, "f4")
    guest.cpu.set_msr(0x175, 0x1234)
    assert guest.cpu.msr(0x175) == 0x1234
    with pytest.raises(VcpuError, match="^there is no MSR 0x123 to read$"):
        guest.cpu.msr(0x123)
    with pytest.raises(VcpuError, match="^there is no MSR 0x123 to write$"):
        guest.cpu.set_msr(0x123, 0)
    with pytest.raises(VcpuError, match="^MSR 0x175 does not take 0x100000000, only bits of 0xffffffff$"):
        guest.cpu.set_msr(0x175, 1 << 32)


def test_state_goes_from_one_machine_to_another(technique: str) -> None:
    first, second = Guest(technique, "43 e6e9 43 f4"), Guest("emulate")
    first.run()
    first.cpu.interrupt(3)
    second.vm.write(0, first.vm.read(0, HOLE))
    second.cpu.load(first.cpu.save())
    with pytest.raises(VcpuError, match="while 0x3 waits"):
        second.cpu.interrupt(4)
    assert second.run() == HltExit() and second.cpu.registers.ebx == 2


def test_no_state_in_the_middle_of_an_instruction(technique: str) -> None:
    guest = Guest(technique, "e460")
    guest.run()
    with pytest.raises(VcpuError, match="^the state cannot be saved in the middle of an instruction"):
        guest.cpu.save()


@SOFTWARE
def test_statistics_count_exits(technique: str) -> None:
    guest = Guest(technique, "e6e9 e6e9 a100001000 f4")
    guest.exits(5, 0)
    found = guest.cpu.statistics()
    assert found.exits == {"Io": 2, "Mmio": 1, "Hlt": 2} and found.steps == 4 and found.slow_accesses >= 1
    assert found.counters()["exit_Io"] == 2


def test_statistics_of_the_translator(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop: its blocks are met, compiled, chained; code written to is dropped."""
    monkeypatch.setattr(translator, "Compiler", CachingCompiler)
    guest = Guest("dbt", "49 7402 ebfb f4", ecx=1000)
    assert guest.run() == HltExit()
    guest.vm.write(CODE, b"\x4a")
    found = guest.cpu.statistics()
    assert found.blocks >= 3 and found.warm >= 2 and found.chains >= 1 and found.invalidations >= 1
    assert 2900 < found.native_steps <= found.steps == guest.cpu.instructions
    assert found.compile_seconds > 0 and found.native_exits["missing"] >= 2
    assert found.counters()["compile_microseconds"] > 0


def test_a_process_may_end_while_its_translator_compiles() -> None:
    """Symptom: a crash after the last line. Cause: a thread in LLVM when the process took LLVM down."""
    code = "from vmm.vm import MemorySlot, Vm; Vm(4096, MemorySlot(0, 4096)).create_vcpu('dbt')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_machine_compiles_no_more() -> None:
    others = set(threading.enumerate())
    vm = Vm(4096, MemorySlot(0, 4096))
    cpu = vm.create_vcpu("dbt")
    assert isinstance(cpu.cpu, translator.Translator)
    assert set(threading.enumerate()) - others
    vm.close()
    assert not set(threading.enumerate()) - others
