"""A guest of the RTL processor through the face of all virtual CPUs: every exit, interrupts, limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rtl.isa.cpuid import HYPERVISOR_LEAF, cpuid
from rtl.isa.registers import Cr0, Eflags
from sim.rtlhost import RtlHost
from sim.rtlmachine import RtlMachine
from vmm.exits import (
    AnswerError,
    FailEntryExit,
    HltExit,
    HypercallExit,
    InterruptWindowExit,
    IoExit,
    LimitExit,
    MmioExit,
    ShutdownExit,
)
from vmm.monitor.area import AREA_BYTES
from vmm.monitor.vcpu import SvmVcpu
from vmm.monitor.world import Paused
from vmm.vcpu import GuestDebug, VcpuError

SIZE, CODE, STACK, IDT, HANDLER = 2 << 20, 0x1000, 0x8000, 0x3000, 0x4000
FOREVER = "EBFE"
Begin = Callable[..., SvmVcpu]


@pytest.fixture(scope="module")
def machine() -> RtlMachine:
    return RtlMachine(ram=np.zeros((SIZE + AREA_BYTES) // 4, dtype=np.uint32))


@pytest.fixture
def begin(machine: RtlMachine) -> Begin:
    def started(code: str, handler: str = "", **registers: int) -> SvmVcpu:
        """A guest with its code, and a handler of all interrupts."""
        machine.reset()
        machine.engine.poke("kick", 0)
        view = machine.ram.data.cast("B")
        for address, text in ((CODE, code), (HANDLER, handler)):
            data = bytes.fromhex(text)
            view[address:address + len(data)] = data
        for vector in range(64):
            view[IDT + 8 * vector:IDT + 8 * vector + 8] = (HANDLER | 8 << 16 | 0x8E00 << 32).to_bytes(8, "little")
        # Null, flat code, flat data.
        view[0x2008:0x2018] = bytes.fromhex("FFFF0000009BCF00" "FFFF00000093CF00")
        cpu = SvmVcpu(RtlHost(machine), SIZE)
        system = cpu.system_registers
        system.gdtr.base, system.gdtr.limit, system.idtr.base, system.idtr.limit = 0x2000, 0x17, IDT, 0x1FF
        cpu.system_registers = system
        cpu.registers = replace(cpu.registers, eip=CODE, esp=STACK, **registers)
        return cpu
    return started


def test_ports(begin: Begin) -> None:
    cpu = begin("B8DDCCBBAA" "E680" "66E782" "EF" "EC" "66ED" "F4", edx=0x3F8)
    assert cpu.run() == IoExit(port=0x80, size=1, is_write=True, value=0xDD)
    assert cpu.registers.eip == CODE + 7
    assert cpu.run() == IoExit(port=0x82, size=2, is_write=True, value=0xCCDD)
    assert cpu.run() == IoExit(port=0x3F8, size=4, is_write=True, value=0xAABB_CCDD)
    for size, answer in ((1, 0x11), (2, 0x3322)):
        asked = cpu.run()
        assert asked == IoExit(port=0x3F8, size=size, is_write=False, value=None)
        assert isinstance(asked, IoExit)
        with pytest.raises(AnswerError, match=r"the read from port 0x3f8 has to be answered before the next run"):
            cpu.run()
        asked.answer(answer)
    assert cpu.run() == HltExit()
    assert cpu.registers.eax == 0xAABB_3322
    assert cpu.instructions == 7


def test_device_memory_is_done_by_the_interpreter(begin: Begin) -> None:
    """MOV ECX, [FEE00020h]; ADD [FEE00080h], CX; MOV [5000h], ECX; HLT."""
    cpu = begin("8B0D2000E0FE" "66010D8000E0FE" "890D00500000" "F4")
    for address, size, answer in ((0xFEE0_0020, 4, 0x1234_5678), (0xFEE0_0080, 2, 0x1111)):
        asked = cpu.run()
        assert asked == MmioExit(address=address, size=size, is_write=False, value=None)
        assert isinstance(asked, MmioExit)
        asked.answer(answer)
    assert cpu.run() == MmioExit(address=0xFEE0_0080, size=2, is_write=True, value=0x6789)
    assert cpu.run() == HltExit()
    assert cpu.registers.ecx == 0x1234_5678
    cpu.host.spill()
    assert cpu.memory.read(0x5000, 4) == 0x1234_5678


def test_strings_of_ports_reach_memory_and_code(begin: Begin) -> None:
    """REP INSB over the instruction behind it, which the processor has in its caches: INC EAX becomes HLT."""
    cpu = begin("B900000000" "EB05" "F36C" "40" "40" "F4"
                "BF09100000" "B901000000" "BA80000000" "EBEA")
    asked = cpu.run()
    assert asked == IoExit(port=0x80, size=1, is_write=False, value=None)
    assert isinstance(asked, IoExit)
    asked.answer(0xF4)
    assert cpu.run() == HltExit()
    assert (cpu.registers.eip, cpu.registers.eax, cpu.registers.ecx) == (CODE + 10, 0, 0)


def test_hypercall(begin: Begin) -> None:
    cpu = begin("0F01D9" "F4", eax=1, ebx=2, ecx=3, edx=4, esi=5, edi=6)
    asked = cpu.run()
    assert asked == HypercallExit(1, (2, 3, 4, 5, 6), 0)
    assert isinstance(asked, HypercallExit)
    asked.answer(-38)
    assert cpu.run() == HltExit()
    assert cpu.registers.eax == 2**32 - 38


@pytest.mark.parametrize("leaf", (0, 1, 0x8000_0000, 0x8000_0001, 0x8000_000A))
def test_cpuid_is_that_of_a_processor_without_svm(begin: Begin, leaf: int) -> None:
    cpu = begin("0FA2" "F4", eax=leaf)
    assert cpu.run() == HltExit()
    told, wanted = cpu.registers, cpuid(leaf, svm=False)
    hypervisor = 1 << 31 if leaf == 1 else 0
    assert (told.eax, told.ebx, told.ecx, told.edx) == (
        wanted.eax, wanted.ebx, wanted.ecx | hypervisor, wanted.edx)


def test_cpuid_names_the_monitor(begin: Begin) -> None:
    cpu = begin("0FA2" "F4", eax=HYPERVISOR_LEAF)
    assert cpu.run() == HltExit()
    told = cpu.registers
    assert b"".join(word.to_bytes(4, "little") for word in (told.ebx, told.ecx, told.edx)) == b"GigogneVMM  "


@pytest.mark.parametrize("code", (
    "0F01D8", "0F01DA", "0F01DB", "0F01DC", "0F01DD", "0F01DE", "0F01DF"))
def test_a_guest_has_no_svm(begin: Begin, code: str) -> None:
    """Each of its instructions is #UD: the handler reads its EIP from the stack."""
    cpu = begin(code + "F4", handler="5B" "F4", eax=0x9000)
    assert cpu.run() == HltExit()
    assert (cpu.registers.eip, cpu.registers.ebx) == (HANDLER + 2, CODE)


@pytest.mark.parametrize(("code", "msr"), (("0F32", 0xC000_0080), ("0F30", 0xC000_0080), ("0F32", 0xC001_0117),
                                           ("0F30", 0x7777), ("0F32", 0x4000_0000)))
def test_msrs_that_a_guest_has_not(begin: Begin, code: str, msr: int) -> None:
    """#GP(0): error code and EIP."""
    cpu = begin(code + "F4", handler="5E5B" "F4", ecx=msr, esi=7)
    assert cpu.run() == HltExit()
    assert (cpu.registers.eip, cpu.registers.esi, cpu.registers.ebx) == (HANDLER + 3, 0, CODE)


def test_the_guest_sets_its_time_stamp_counter(begin: Begin) -> None:
    """WRMSR of 5:00000000h, then RDTSC."""
    cpu = begin("0F30" "0F31" "F4", ecx=0x10, edx=5)
    assert cpu.run() == HltExit()
    assert cpu.registers.edx == 5 and 0 < cpu.registers.eax < 2000


def test_halt_sleeps_until_an_interrupt(begin: Begin) -> None:
    cpu = begin("FB" "F4" "F4", handler="43" "CF")
    assert cpu.run() == HltExit() and cpu.run() == HltExit()
    assert cpu.can_interrupt
    cpu.interrupt(0x20)
    with pytest.raises(VcpuError, match="interrupt 0x21 cannot be injected while 0x20 waits"):
        cpu.interrupt(0x21)
    assert cpu.run() == HltExit()
    assert (cpu.registers.ebx, cpu.registers.eip) == (1, CODE + 3)


def test_interrupt_window(begin: Begin) -> None:
    """NOP; STI; NOP; JMP $: the window opens behind the instruction behind STI."""
    cpu = begin("90" "FB" "90" + FOREVER, handler="F4")
    assert not cpu.can_interrupt
    cpu.request_interrupt_window()
    assert cpu.run() == InterruptWindowExit()
    assert cpu.can_interrupt and cpu.registers.eip == CODE + 3
    cpu.interrupt(0x20)
    assert cpu.run() == HltExit()
    assert cpu.registers.eip == HANDLER + 1


def test_time_limit_is_kept(begin: Begin) -> None:
    cpu = begin("40" "EBFD")
    end = cpu.time + 5000
    assert cpu.run(until=end) == LimitExit()
    assert end <= cpu.time < end + 400
    assert cpu.registers.eax > 1000
    assert cpu.run(until=end) == LimitExit(), "the time is over"


def test_a_long_instruction_is_left_in_its_middle(begin: Begin) -> None:
    """REP STOSB, to a limit of time; to one of instructions the interpreter does the rest of it.

    The handler of an NMI that comes there finds RF in the flags.
    """
    cpu = begin("F3AA" "90" "F4", handler="8B5C2408" "F4", ecx=0x4000, edi=0x1_0000, eax=0x11)
    end = cpu.time + 2000
    assert cpu.run(until=end) == LimitExit() and end <= cpu.time < end + 400
    assert (cpu.registers.eip, cpu.instructions) == (CODE, 0) and 0 < cpu.registers.ecx < 0x4000
    cpu.nmi()
    assert cpu.run() == HltExit() and cpu.registers.ebx == 2 | int(Eflags.RF)
    cpu = begin("F3AA" "90" "F4", ecx=0x4000, edi=0x1_0000, eax=0x11)
    assert cpu.run(max_instructions=20) == HltExit()
    assert (cpu.registers.ecx, cpu.instructions) == (0, 3) and cpu.time < 20_000
    cpu.spill()
    assert bytes(cpu.memory.host_bytes(0x1_0000, 0x4000)) == b"\x11" * 0x4000


def test_a_run_cut_in_pieces_is_the_same_run(begin: Begin) -> None:
    def run(pieces: int | None) -> tuple[int, int, int]:
        cpu = begin("40" "EBFD")
        end = cpu.time + 5000
        if pieces is not None:
            while True:
                stop = cpu.time + pieces
                cpu.world.pause = lambda stop=stop: stop - cpu.time  # type: ignore[misc]
                try:
                    cpu.run(until=end)
                    break
                except Paused:
                    pass
        else:
            cpu.run(until=end)
        return cpu.time, cpu.instructions, cpu.registers.eax

    assert run(None) == run(7) == run(1000)


def test_a_report_shows_the_guest_wherever_the_processor_is(begin: Begin) -> None:
    """OUT 80h, AL; JMP back, cut at many cycles. In the middle of a switch the report used to show the monitor."""
    places = set()
    for pieces in range(1, 250, 17):
        cpu = begin("E680" "EBFC", esi=0x1234_5678)
        assert isinstance(cpu.run(), IoExit)
        end = cpu.time + pieces
        cpu.world.pause = lambda cpu=cpu, end=end: end - cpu.time  # type: ignore[misc]
        try:
            while True:
                cpu.run()
        except Paused:
            pass
        state = cpu.report()
        assert state["eip"] - CODE in (0, 2) and state["gpr"] == [0, 0, 0, 0, STACK, 0, 0x1234_5678, 0]
        assert state["segments"]["cs"]["selector"] == 8 and state["eflags"] == 2
        places.add(state["eip"])
        cpu.world.pause = lambda: None
        assert cpu.run() == IoExit(port=0x80, size=1, is_write=True, value=0)
        assert cpu.registers.eip == CODE + 2 and cpu.instructions % 2 == 1
    assert len(places) == 2


def test_ctrl_c_anywhere_is_the_same_run(begin: Begin) -> None:
    """MOV EAX, [FEE00020h]; IN EAX, 80h; INC EBX; VMMCALL; REP MOVSD to a device; HLT.

    It used to be an error while the stub was asked for registers.
    """
    code = "A12000E0FE" "E580" "43" "0F01D9" "F3A5" "F4"

    def run(after: int) -> tuple[object, ...]:
        cpu, asked, exits = begin(code, ecx=2, edi=0xFED0_0000, edx=5), iter(range(after)), []
        cpu.interrupted = lambda: next(asked, None) is None
        while not exits or exits[-1] != HltExit():
            try:
                exits.append(cpu.run())
            except KeyboardInterrupt:
                cpu.interrupted = lambda: False
                assert cpu.registers.edx == 5
                continue
            if isinstance(exits[-1], (IoExit, MmioExit, HypercallExit)) and not exits[-1].is_answered:
                exits[-1].answer(7)
        return exits, cpu.registers, cpu.instructions

    whole = run(1000)
    assert all(run(after) == whole for after in range(0, 40))


def test_triple_fault(begin: Begin) -> None:
    cpu = begin("0F011D00600000" "0F0B")
    assert cpu.run() == ShutdownExit() and cpu.run() == ShutdownExit()
    assert cpu.registers.eip == CODE + 7


def test_a_state_that_the_processor_refuses(begin: Begin) -> None:
    cpu = begin("F4")
    system = cpu.system_registers
    system.cr0 = int(Cr0.PE | Cr0.NW)
    cpu.system_registers = system
    assert cpu.run() == FailEntryExit("the processor refuses the guest's state (VMEXIT_INVALID)")


def test_delivery_to_where_no_memory_is(begin: Begin) -> None:
    """The stack of the handler lies beyond RAM: the frame of #UD is three writes to a device, or more."""
    cpu = begin("BC0000F0FE" "0F0B", handler="F4")
    frame = {}
    while isinstance(left := cpu.run(), MmioExit):
        assert left.is_write and left.value is not None
        frame[left.address] = left.value
    assert left == HltExit() and frame[0xFEEF_FFF4] == CODE + 5 and sorted(frame) == [
        0xFEEF_FFF4, 0xFEEF_FFF8, 0xFEEF_FFFC]


def test_an_access_of_a_device_that_changes(begin: Begin) -> None:
    """The second time it is another instruction, of which the interpreter is not told: MOV EAX becomes MOV ECX."""
    cpu = begin("8B050000F0FE" "C605011000000D" "EBF1")
    for _ in range(2):
        asked = cpu.run()
        assert isinstance(asked, MmioExit)
        asked.answer(7)
    cpu.run(until=cpu.time)
    assert cpu.registers.ecx == 7


def test_the_monitor_is_out_of_the_guests_sight(begin: Begin) -> None:
    """MOV EAX, [the stub]: an access to no memory."""
    cpu = begin("A1" + SIZE.to_bytes(4, "little").hex() + "F4")
    assert cpu.run() == MmioExit(address=SIZE, size=4, is_write=False, value=None)


def test_registers_are_what_was_set(begin: Begin) -> None:
    cpu = begin(FOREVER)
    values = replace(cpu.registers, eax=1, ecx=2, edx=3, ebx=4, esp=0x7000, ebp=6, esi=7, edi=8,
                     eflags=2 | int(Eflags.CF))
    cpu.registers = values
    cpu.debug_registers = (1, 2, 3, 4, 0xFFFF_0FF0, 0x400)
    cpu.set_msr(0x174, 0x18)
    system = cpu.system_registers
    cpu.run(until=cpu.time + 1000)
    assert cpu.registers == values and cpu.system_registers == system
    assert cpu.debug_registers == (1, 2, 3, 4, 0xFFFF_0FF0, 0x400) and cpu.msr(0x174) == 0x18


def test_a_saved_state_goes_on(begin: Begin) -> None:
    cpu = begin("40" "E680" "40" "F4")
    cpu.run()
    image = cpu.save()
    other = begin("40" "E680" "40" "F4")
    other.load(image)
    assert other.run() == HltExit() and other.registers.eax == 2


@pytest.mark.parametrize(("call", "message"), [
    (lambda cpu: cpu.interrupt(256), "interrupt vectors are 0 to 255, not 256"),
    (lambda cpu: cpu.debug(GuestDebug(breakpoints={CODE})), "a guest of the hardware does not stop at breakpoints"),
    (lambda cpu: cpu.msr(0x7777), "there is no MSR 0x7777 to read"),
    (lambda cpu: cpu.set_msr(0x7777, 1), "there is no MSR 0x7777 to write")])
def test_refused(begin: Begin, call: Callable[[SvmVcpu], object], message: str) -> None:
    with pytest.raises(VcpuError) as caught:
        call(begin(FOREVER))
    assert str(caught.value) == message


def test_a_world_switch_costs_what_it_should(begin: Begin) -> None:
    """Ten hypercalls; the first finds nothing in the caches."""
    cpu = begin("0F01D9" * 10 + "F4")
    for _ in range(10):
        asked = cpu.run()
        assert isinstance(asked, HypercallExit)
        asked.answer(0)
    lines = cpu.world.costs.table()
    assert lines[1].split()[0] == "VMMCALL" and int(lines[1].split()[4]) < 300
