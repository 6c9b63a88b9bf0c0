"""The virtual CPU: every exit, that an instruction goes on with the answer it waited for, interrupts, debugging."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from rtl.isa.registers import CR4_WRITABLE
from tests.test_imports import ROOT
from tests.vmm.conftest import CachingCompiler
from tests.vmm.engine.machine import IDT, machine
from tests.vmm.guest import CODE, DEVICE, HOLE, STACK, Guest
from vmm.engine.dbt import translator
from vmm.exits import (
    AnswerError,
    DebugCause,
    DebugExit,
    FailEntryExit,
    HltExit,
    HypercallExit,
    InterruptWindowExit,
    IoExit,
    LimitExit,
    MmioExit,
    ShutdownExit,
)
from vmm.slots import MemorySlot
from vmm.vcpu import GuestDebug, VcpuError
from vmm.vm import Vm


def port_write(port: int, size: int, value: int) -> IoExit:
    return IoExit(port=port, size=size, is_write=True, value=value)


def port_read(port: int, size: int, value: int | None = None) -> IoExit:
    return IoExit(port=port, size=size, is_write=False, value=value)


def write(address: int, size: int, value: int) -> MmioExit:
    return MmioExit(address=address, size=size, is_write=True, value=value)


def read(address: int, size: int, value: int | None = None) -> MmioExit:
    return MmioExit(address=address, size=size, is_write=False, value=value)


def test_out_is_done_when_it_is_reported(engine: str) -> None:
    guest = Guest(engine, "e6e9 66ef f4", eax=0x1234_5678, edx=0x1F0)
    assert guest.run() == port_write(0xE9, 1, 0x78) and guest.eip == 2
    assert guest.run() == port_write(0x1F0, 2, 0x5678) and guest.eip == 4
    assert guest.run() == HltExit() and guest.cpu.instructions == 3


def test_in_waits_for_its_answer(engine: str) -> None:
    guest = Guest(engine, "43 e560 f4", eax=5)
    question = guest.run()
    assert question == port_read(0x60, 4) and (guest.eip, guest.cpu.instructions) == (1, 1)
    assert isinstance(question, IoExit)
    question.answer(0xCAFE_F00D)
    assert guest.run() == HltExit()
    assert (guest.cpu.registers.eax, guest.eip, guest.cpu.instructions) == (0xCAFE_F00D, 4, 3)


def test_what_is_no_answer(engine: str) -> None:
    guest = Guest(engine, "e460 e6e9 f4")
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


def test_memory_without_a_slot(engine: str) -> None:
    """Loads, stores, a read-modify-write, at each size; inside of the window and beyond it."""
    guest = Guest(engine, "8b01 66890a 000d00000400 f4", ecx=DEVICE, edx=HOLE + 6)
    assert guest.exits(4, 0x80) == [read(DEVICE, 4, 0x80), write(HOLE + 6, 2, DEVICE & 0xFFFF), read(HOLE, 1, 0x80),
                                    write(HOLE, 1, 0x80 + (DEVICE & 0xFF))]
    assert guest.run() == HltExit() and guest.cpu.registers.eax == 0x80


def test_a_read_modify_write_from_ram_into_a_device_happens_once(engine: str) -> None:
    """ADD to four bytes of which two are RAM: what was written to RAM is not read again when it is done anew."""
    guest = Guest(engine, "8103 01000100 f4", ebx=HOLE - 2)
    guest.vm.write(HOLE - 2, b"\xff\xff")
    assert guest.exits(3, 7) == [read(HOLE, 2, 7), write(HOLE, 2, 9), HltExit()]
    assert guest.vm.read(HOLE - 2, 2) == b"\0\0"


def test_a_string_between_devices_in_order(engine: str) -> None:
    guest = Guest(engine, "f3a5 f4", ecx=2, esi=DEVICE, edi=HOLE)
    assert guest.exits(5, 3) == [read(DEVICE, 4, 3), write(HOLE, 4, 3), read(DEVICE + 4, 4, 3), write(HOLE + 4, 4, 3),
                                 HltExit()]
    assert guest.cpu.instructions == 2 and guest.cpu.registers.ecx == 0


def test_rep_in_and_out(engine: str) -> None:
    guest = Guest(engine, "f36c 89fe 4e b102 fd f36e f4", ecx=3, edx=0x40, edi=STACK)
    assert guest.exits(6, 0x55) == 3 * [port_read(0x40, 1, 0x55)] + 2 * [port_write(0x40, 1, 0x55)] + [HltExit()]
    assert guest.vm.read(STACK, 4) == b"UUU\0"


def test_several_writes_of_one_instruction(engine: str) -> None:
    """PUSHA onto a device: eight exits, and only then is anything else done."""
    guest = Guest(engine, "60 40 f4", esp=DEVICE + 32, eax=1, edi=8)
    exits = guest.exits(8)
    assert exits[0] == write(DEVICE + 28, 4, 1) and exits[7] == write(DEVICE, 4, 8)
    assert guest.cpu.registers.eax == 1 and guest.eip == 1
    assert guest.run() == HltExit()


def test_code_that_is_no_ram(engine: str) -> None:
    """Every byte of the fetch is a question, each time."""
    guest = Guest(engine, eip=DEVICE)
    for _ in range(2):
        for offset in range(15):
            question = guest.run(max_instructions=1)
            assert question == read(DEVICE + offset, 1)
            question.answer(0x90 if offset else 0x40)  # type: ignore[union-attr]
        assert guest.run(max_instructions=1).__class__ in (LimitExit, MmioExit)
        guest.set(eip=DEVICE)
    assert guest.cpu.registers.eax == 2


def test_setting_registers_gives_an_instruction_up(engine: str) -> None:
    guest = Guest(engine, "e460 f4", eax=0x77)
    guest.run()
    guest.set(eip=CODE + 2)
    assert guest.run() == HltExit() and (guest.cpu.registers.eax, guest.cpu.instructions) == (0x77, 1)


def test_hypercall(engine: str) -> None:
    guest = Guest(engine, "0f01d9 f4", eax=0x10, ebx=1, ecx=2, edx=3, esi=4, edi=5)
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


def test_limits_are_exact(engine: str) -> None:
    guest = Guest(engine, "eb00 ebfc")
    for count in (0, 1, 2, 7, 1000):
        before = guest.cpu.instructions
        assert guest.run(max_instructions=count) == LimitExit()
        assert guest.cpu.instructions == before + count
    assert guest.run(until=guest.cpu.time + 33) == LimitExit() and guest.cpu.time == 1010 + 33
    assert guest.run(until=0) == LimitExit()


def test_a_limit_does_not_end_in_a_question(engine: str) -> None:
    """With the last allowed instruction behind it, a run does not begin the next one."""
    guest = Guest(engine, "43 e460 f4")
    assert guest.run(max_instructions=1) == LimitExit() and guest.eip == 1


def with_handlers(engine: str, code: str, handler: str = "45 cf") -> Guest:
    """A guest with the tables of `machine`, and one handler of vector 20h."""
    template = machine("90")
    guest = Guest(engine, code)
    guest.vm.write(0x1000, template.memory.blob(0x1000, 0x5000))
    guest.vm.write(0x4000 + 0x20, bytes.fromhex(handler))
    guest.vm.write(0x6000, bytes.fromhex(code))
    system = guest.cpu.system_registers
    system.gdtr.base, system.gdtr.limit = 0x1000, 0xFF
    system.idtr.base, system.idtr.limit = IDT, 48 * 8 - 1
    guest.cpu.system_registers = system
    guest.set(eip=0x6000)
    return guest


def test_an_injected_interrupt_wakes_a_halt(engine: str) -> None:
    guest = with_handlers(engine, "fb f4 fa f4")
    assert guest.exits(2) == [HltExit(), HltExit()]
    assert guest.cpu.can_interrupt
    guest.cpu.interrupt(0x20)
    assert guest.run() == HltExit()
    assert guest.cpu.registers.ebp == 1 and guest.cpu.registers.eip == 0x6004


def test_an_injected_interrupt_waits_until_it_can_be_taken(engine: str) -> None:
    guest = with_handlers(engine, "43 43 fb 43 43 f4")
    guest.cpu.interrupt(0x20)
    with pytest.raises(VcpuError, match="^interrupt 0x21 cannot be injected while 0x20 waits$"):
        guest.cpu.interrupt(0x21)
    assert guest.run(max_instructions=4) == LimitExit() and guest.cpu.registers.ebp == 0
    assert guest.run(max_instructions=1) == LimitExit()
    assert guest.cpu.registers.ebp == 1 and guest.vm.read(guest.cpu.registers.esp, 4) == b"\4\x60\0\0"
    with pytest.raises(VcpuError, match="^interrupt vectors are 0 to 255, not 256$"):
        guest.cpu.interrupt(256)


def test_interrupt_window(engine: str) -> None:
    guest = with_handlers(engine, "43 43 fb 43 43 f4")
    guest.cpu.request_interrupt_window()
    assert guest.run() == InterruptWindowExit()
    assert guest.cpu.registers.eip == 0x6004 and guest.cpu.can_interrupt
    assert guest.run() == HltExit()


def test_no_interrupt_in_the_middle_of_an_instruction(engine: str) -> None:
    guest = with_handlers(engine, "fb 43 e460 f4")
    question = guest.run()
    assert question == port_read(0x60, 1) and not guest.cpu.can_interrupt
    question.answer(9)  # type: ignore[union-attr]
    guest.cpu.interrupt(0x20)
    assert guest.run() == HltExit()
    assert guest.cpu.registers.eax == 9 and guest.cpu.registers.ebp == 1


def test_a_handler_behind_descriptors_in_a_device(engine: str) -> None:
    """The processor's own reads are questions as well; the delivery goes on where it waited."""
    guest = with_handlers(engine, "fb 43 f4 f4")
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
    assert guest.cpu.time == steps + 4


def test_triple_fault_until_registers_are_set(engine: str) -> None:
    guest = Guest(engine, "0f0b")
    assert guest.exits(2) == [ShutdownExit(), ShutdownExit()]
    guest.vm.write(CODE, b"\xf4")
    guest.set(eip=CODE)
    assert guest.run() == HltExit()


def test_states_that_cannot_be_run(engine: str) -> None:
    guest = Guest(engine, "f4")
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


def test_a_guest_that_leaves_protected_mode(engine: str) -> None:
    guest = Guest(engine, "0f20c0 24fe 0f22c0")
    left = guest.run()
    assert isinstance(left, FailEntryExit) and "real mode is not supported" in left.reason
    assert guest.eip == 5 and guest.cpu.instructions == 2


def test_breakpoints(engine: str) -> None:
    guest = Guest(engine, "90 01c8 49 75fb f4", ecx=3)
    guest.cpu.debug(GuestDebug(breakpoints={CODE, CODE + 3}))
    stop = DebugExit(DebugCause.BREAKPOINT, CODE + 3)
    assert guest.exits(5) == [DebugExit(DebugCause.BREAKPOINT, CODE), stop, stop, stop, HltExit()]
    assert guest.cpu.instructions == 11


def test_single_step_through_exits(engine: str) -> None:
    """The step of an instruction with an exit is reported behind the exit."""
    guest = Guest(engine, "43 e6e9 e460 f4")
    guest.cpu.debug(GuestDebug(single_step=True))
    step = [DebugExit(DebugCause.STEP, CODE + offset) for offset in (1, 3, 5, 6)]
    assert guest.exits(7, 1) == [step[0], port_write(0xE9, 1, 0), step[1], port_read(0x60, 1, 1), step[2], step[3],
                                 HltExit()]
    assert not guest.cpu.registers.eflags & 0x100


def test_registers_are_values(engine: str) -> None:
    guest = Guest(engine, "f4")
    values = replace(guest.cpu.registers, eax=1, edi=8, eflags=0x8D7)
    guest.cpu.registers = values
    assert guest.cpu.registers == values
    values.eax = 2
    assert guest.cpu.registers.eax == 1
    system = guest.cpu.system_registers
    system.ss.attributes |= 3 << 5
    system.cr3, system.tr.base = 0x5000, 0x3000
    guest.cpu.system_registers = system
    assert guest.cpu.system_registers == system and guest.cpu.cpu.state.cpl == 3
    guest.cpu.debug_registers = (1, 2, 3, 4, 0xFFFF_0FF0, 0x400)
    assert guest.cpu.debug_registers == (1, 2, 3, 4, 0xFFFF_0FF0, 0x400)


def test_msrs(engine: str) -> None:
    guest = Guest(engine, "f4")
    guest.cpu.set_msr(0x175, 0x1234)
    assert guest.cpu.msr(0x175) == 0x1234
    with pytest.raises(VcpuError, match="^there is no MSR 0x123 to read$"):
        guest.cpu.msr(0x123)
    with pytest.raises(VcpuError, match="^there is no MSR 0x123 to write$"):
        guest.cpu.set_msr(0x123, 0)
    with pytest.raises(VcpuError, match="^MSR 0x175 does not take 0x100000000, only bits of 0xffffffff$"):
        guest.cpu.set_msr(0x175, 1 << 32)


def test_state_goes_from_one_machine_to_another(engine: str) -> None:
    first, second = Guest(engine, "43 e6e9 43 f4"), Guest("emulate")
    first.run()
    first.cpu.interrupt(3)
    second.vm.write(0, first.vm.read(0, HOLE))
    second.cpu.load(first.cpu.save())
    with pytest.raises(VcpuError, match="while 0x3 waits"):
        second.cpu.interrupt(4)
    assert second.run() == HltExit() and second.cpu.registers.ebx == 2


def test_no_state_in_the_middle_of_an_instruction(engine: str) -> None:
    guest = Guest(engine, "e460")
    guest.run()
    with pytest.raises(VcpuError, match="^the state cannot be saved in the middle of an instruction"):
        guest.cpu.save()


def test_statistics_count_exits(engine: str) -> None:
    guest = Guest(engine, "e6e9 e6e9 a100001000 f4")
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
