"""Whole guests on a virtual CPU with devices behind its exits print what they print on the emulated machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from firmware.expectation import expectation
from rtl.isa.apic import APIC_BASE_ENABLE, ApicReg
from rtl.isa.msrs import MSRS, Msr
from rtl.isa.platform import REGION
from tests.vmm.engine.boot import boot
from tests.vmm.engine.test_nmi import send, wrmsr
from tests.vmm.guest import ENGINES, Guest
from vmm.computer import Computer
from vmm.engine.emulate import StopInfo, StopReason
from vmm.engine.vcpu import SoftwareVcpu
from vmm.exits import Exit
from vmm.faults import Unsupported
from vmm.slots import MemorySlot
from vmm.vcpu import GuestDebug
from vmm.vm import Vm

_NAMES = ("kernel", "timer", "selfmod", "tests/devices", "tests/debug", "tests/shadow", "tests/rep", "tests/system",
          "tests/apic")
_SUITE = "svm/nmi"
_RAM = 16 << 20


def booted(engine: str, image: Path, command_line: str) -> Computer:
    vm = Vm(_RAM, MemorySlot(0, _RAM))
    cpu = SoftwareVcpu(vm.memory, ENGINES[engine])
    boot(image, command_line, machine=SimpleNamespace(memory=vm.memory, cpu=cpu.cpu))  # type: ignore[arg-type]
    return Computer(cpu)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name == "kernel" else name
                                  for name in _NAMES])
def test_guest(name: str, engine: str, built: dict[str, Path]) -> None:
    expected = expectation(name)
    computer = booted(engine, built[name], expected.append)
    stop = computer.run(8_000_000)
    assert computer.platform.console_out.decode() == expected.output
    assert stop == StopInfo(StopReason.GUEST_EXIT, expected.status)


def test_nmis_reach_a_guest_and_its_guests(engine: str, built: dict[str, Path]) -> None:
    computer = booted(engine, built[_SUITE], "")
    assert computer.run(8_000_000) == StopInfo(StopReason.GUEST_EXIT, 0)
    said = computer.platform.console_out.decode().splitlines()
    assert said[-1] == expectation(_SUITE).output.strip() and len(said) == 1 + sum(
        line.startswith("PASS ") for line in said)


def test_both_engines_live_through_the_same_time(built: dict[str, Path]) -> None:
    """An interrupt-driven guest, cut into pieces on one of them: the same instructions at the same times."""
    ends = []
    for engine, piece in (("emulate", 1 << 30), ("dbt", 7919)):
        computer = booted(engine, built["timer"], expectation("timer").append)
        while computer.run(piece).reason is StopReason.LIMIT:
            pass
        ends.append((computer.cpu.instructions, computer.platform.cycles, computer.asleep, computer.cpu.save()))
    assert ends[0] == ends[1]


def guest(code: str) -> Computer:
    return Computer(Guest("emulate", code).cpu)


@pytest.mark.parametrize(("code", "stop"), [
    ("b02a e6f4 f4", StopInfo(StopReason.GUEST_EXIT, 0x2A)),
    ("b0fe e664 ebfe", StopInfo(StopReason.RESET)),
    ("fa f4", StopInfo(StopReason.HALT_FOREVER)),
    ("fb f4", StopInfo(StopReason.HALT_FOREVER)),
    (f"{send(0x4500)} ebfe", StopInfo(StopReason.RESET)),
    ("0f0b", StopInfo(StopReason.SHUTDOWN)),
    ("ebfe", StopInfo(StopReason.LIMIT)),
])
def test_how_a_run_ends(code: str, stop: StopInfo) -> None:
    assert guest(code).run(1000) == stop


def test_the_guest_takes_its_local_apic_away() -> None:
    """WRMSR, MOV EAX, [version], HLT: it reads as ones, also where the state is taken to."""
    read = f"a1{(REGION['LOCAL_APIC'].base + ApicReg.VERSION).to_bytes(4, 'little').hex()}"
    off = MSRS[Msr.APIC_BASE].reset ^ APIC_BASE_ENABLE
    computer = guest(f"{wrmsr(off)} {read} f4 {read} f4")
    assert computer.run(1000).reason is StopReason.HALT_FOREVER
    assert computer.cpu.registers.eax == 0xFFFF_FFFF and computer.cpu.msr(Msr.APIC_BASE) == off
    assert computer.cpu.statistics().exits["ApicBase"] == 1
    other = Computer(Guest("emulate").cpu)
    other.load(computer.save())
    assert other.platform.read_memory(REGION["LOCAL_APIC"].base + ApicReg.VERSION, 4) == 0xFFFF_FFFF


def test_a_kick() -> None:
    computer = guest("ebfe")
    computer.cpu.kick()
    assert computer.run() == StopInfo(StopReason.LIMIT)


def test_a_breakpoint() -> None:
    computer = guest("90 90 f4")
    computer.cpu.debug(GuestDebug(breakpoints={0x1001}))
    assert computer.run(1000) == StopInfo(StopReason.BREAKPOINT)


def test_what_nobody_answers_for() -> None:
    """Memory without a slot, a port without a device, an unknown hypercall."""
    computer = guest("8b0d 00001000 890d 00001000 66ba3412 66ed 89c3 0f01d9 f4")
    assert computer.run(1000).reason is StopReason.HALT_FOREVER
    registers = computer.cpu.registers
    assert (registers.ecx, registers.ebx & 0xFFFF, registers.eax) == (0xFFFF_FFFF, 0xFFFF, 0xFFFF_FFDA)


def test_a_mode_that_there_is_not() -> None:
    computer = guest("f4")
    computer.cpu.system_registers = replace(computer.cpu.system_registers, cr0=0x10)
    with pytest.raises(Unsupported, match="^real mode is not supported"):
        computer.run(1000)


def test_an_unknown_exit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Surprise:
        def __repr__(self) -> str:
            return "Surprise()"

    computer = guest("f4")

    def run(*limits: object) -> Exit:
        return Surprise()  # type: ignore[return-value]

    monkeypatch.setattr(computer.cpu, "run", run)
    with pytest.raises(TypeError, match=r"^unknown exit Surprise\(\)$"):
        computer.run(1)
