"""Random guests under the monitor and under the interpreter: the same exits, with the same registers at each."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from rtl.isa.registers import Cr0, Cr4, Eflags
from tests.vmm.guest import CODE, ENGINES, HOLE, SVM, Guest
from vmm.exits import (
    DebugExit,
    Exit,
    FailEntryExit,
    HltExit,
    HypercallExit,
    IoExit,
    LimitExit,
    MmioExit,
    ShutdownExit,
    is_question,
)
from vmm.monitor.emulation import GuestInterpreter
from vmm.vcpu import Vcpu

GDT, IDT, DIRECTORY = 0x2000, 0x3000, 0x5000
#: What goes to devices, prefixes, flags, HLT, CPUID and VMMCALL come often among random bytes.
OFTEN = bytes.fromhex("0F E6 EC 6C 6E F3 FB FA F4 A1 8B 01 D9 A2 E4 90 ED EF 66 9D 9C CF CC")
FLAGS = (2, int(Eflags.IF) | 2, int(Eflags.DF) | 2, int(Eflags.TF) | 2, int(Eflags.RF | Eflags.IF) | 2, 0x8D7)
DESCRIPTORS = bytes.fromhex("0000000000000000 FFFF0000009BCF00 FFFF00000093CF00 FFFF000000FBCF00 FFFF000000F3CF00")
EXITS, INSTRUCTIONS = 40, 300


def started(technique: str, rng: random.Random) -> Guest:
    code = bytes(rng.choice((rng.randrange(256), rng.choice(OFTEN))) for _ in range(0x1000))
    gates = (CODE + rng.randrange(0x1000) | 8 << 16 | rng.choice((0x8E, 0xEE, 0x8F)) << 40 for _ in range(256))
    guest = Guest(technique)
    # RDTSC counts cycles under the one and instructions under the other
    guest.vm.write(CODE, code.replace(b"\x0F\x31", b"\x0F\x30"))
    guest.vm.write(IDT, b"".join(gate.to_bytes(8, "little") for gate in gates))
    guest.vm.write(GDT, DESCRIPTORS)
    # memory and the local APIC at their own addresses
    guest.vm.write(DIRECTORY, (0xE7).to_bytes(4, "little"))
    guest.vm.write(DIRECTORY + 4 * 0x3FB, (0xFEC0_00E7).to_bytes(4, "little"))
    cpu = guest.cpu
    cpu.tsc = lambda: 0
    system = cpu.system_registers
    system.gdtr.base, system.gdtr.limit, system.idtr.base, system.idtr.limit = GDT, 0x27, IDT, 0x7FF
    if rng.random() < 0.4:
        system.cr0 = int(Cr0.PG | Cr0.ET | Cr0.PE) | rng.choice((0, int(Cr0.WP)))
        system.cr3, system.cr4 = DIRECTORY, int(Cr4.PSE)
    if rng.random() < 0.1:
        system.idtr.base = 0x8000_0000
    cpu.system_registers = system

    def value() -> int:
        return rng.choice((rng.getrandbits(32), rng.getrandbits(12), 0, 0xFEE0_0000 + rng.getrandbits(10),
                           HOLE - 0x800 + rng.getrandbits(12), 0x8000 + rng.getrandbits(12)))

    if rng.random() < 0.2:
        cpu.debug_registers = (*(CODE + rng.randrange(0x1000) for _ in range(3)), value(), 0xFFFF_0FF0,
                               0x4FF | rng.choice((0, 3)) << 28)
    cpu.registers = replace(
        cpu.registers, eip=CODE + rng.randrange(0xF00), esp=rng.choice((0x8000, 0x8000, HOLE + 6, 0x8000_0000)),
        eflags=rng.choice(FLAGS), **{name: value() for name in ("eax", "ebx", "edx", "esi", "edi", "ebp")},
        ecx=rng.choice((value(), rng.randrange(16))) & 0xFFFF)
    return guest


def history(technique: str, seed: int) -> list[Any]:
    """What is seen from outside, exit by exit."""
    rng = random.Random(seed)
    guest = started(technique, rng)
    cpu, found = guest.cpu, []
    for _ in range(EXITS):
        left = cpu.run(max_instructions=INSTRUCTIONS)
        found.append((left, cpu.instructions, cpu.can_interrupt, *_registers(cpu, left)))
        match left:
            case IoExit() | MmioExit() if not left.is_answered:
                left.answer(rng.getrandbits(8 * left.size))
                found[-1] = replace(left), *found[-1][1:]
            case HypercallExit():
                left.answer(-38)
            case LimitExit() | ShutdownExit() | FailEntryExit() | DebugExit():
                break
            case HltExit() if not cpu.can_interrupt:
                break
        if cpu.can_interrupt and (isinstance(left, HltExit) or rng.random() < 0.2):
            cpu.interrupt(rng.randrange(256))
        elif rng.random() < 0.1:
            cpu.request_interrupt_window()
        elif rng.random() < 0.05:
            cpu.nmi()
    found.append(guest.vm.read(0, HOLE))
    return found


def _registers(cpu: Vcpu, left: Exit) -> tuple[Any, ...]:
    registers, debug = cpu.registers, cpu.debug_registers
    if isinstance(left, ShutdownExit):
        # whether an instruction that never ended has cleared RF is nowhere written
        registers = replace(registers, eflags=registers.eflags & ~int(Eflags.RF))
    # what a delivery in progress has written of DR6 is not, either
    return (registers,) if is_question(left) else (registers, debug)


@pytest.mark.parametrize("seed", range(20))
def test_the_same_exits(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "emulate", GuestInterpreter)
    expected, found = history("emulate", seed), history(SVM, seed)
    for place, (mine, theirs) in enumerate(zip(expected, found, strict=False)):
        assert mine == theirs, f"exit {place}"
    assert len(expected) == len(found)
