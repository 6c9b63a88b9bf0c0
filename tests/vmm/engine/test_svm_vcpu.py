"""A monitor that runs a guest, itself on a virtual CPU."""

from __future__ import annotations

import pytest

from rtl.isa.exitcodes import ExitCode
from rtl.isa.registers import Eflags
from rtl.isa.svm import VintrLayout, Vmcb
from tests.vmm.engine.machine import HANDLERS
from tests.vmm.engine.svmguest import VMCB, world, write
from tests.vmm.guest import Guest
from vmm.engine.interpreter import Interpreter
from vmm.exits import HltExit, IoExit, LimitExit

IF = int(Eflags.IF)


def on_vcpu(engine: str, cpu: Interpreter) -> Guest:
    """The machine of `world` on a virtual CPU."""
    guest = Guest(engine)
    guest.vm.write(0, cpu.memory.blob(0, cpu.memory.size))
    guest.cpu.load(cpu.state.to_dict() | {"interrupt": None})
    guest.cpu.cpu.svm = True
    return guest


@pytest.mark.parametrize("name", ["emulate", "dbt"])
def test_an_interrupt_leaves_the_guest_first(name: str) -> None:
    """The guest loops with INTR intercepted; the monitor behind its VMRUN opens the gates and takes the interrupt."""
    cpu = world("ebfe", (ExitCode.INTR,), host="0f01d8 0f01dc fb 90 f4")
    write(cpu, Vmcb.RFLAGS, 2 | IF)
    cpu.memory.load_blob(HANDLERS + 0x20, bytes.fromhex("e680 f4"))
    guest = on_vcpu(name, cpu)
    assert guest.run(50) == LimitExit() and guest.cpu.can_interrupt
    guest.cpu.interrupt(0x20)
    left = guest.run()
    assert isinstance(left, IoExit) and left.port == 0x80
    assert int.from_bytes(guest.vm.read(VMCB + Vmcb.EXITCODE, 8), "little") == ExitCode.INTR


@pytest.mark.parametrize("name", ["emulate", "dbt"])
def test_a_guests_ports_are_the_monitors(name: str) -> None:
    cpu = world("e6e9 e460 0f01d9", host="0f01d8 f4")
    guest = on_vcpu(name, cpu)
    assert isinstance(guest.run(), IoExit)
    question = guest.run()
    assert isinstance(question, IoExit) and not question.is_answered
    question.answer(0x77)
    assert guest.run() == HltExit()
    assert guest.vm.read(VMCB + Vmcb.RAX, 1) == b"\x77"


@pytest.mark.parametrize("name", ["emulate", "dbt"])
def test_a_virtual_interrupt_ends_the_guests_hlt(name: str) -> None:
    """The virtual CPU does not report a HLT that ends by itself."""
    cpu = world("fb f4", host="0f01d8 f4")
    write(cpu, Vmcb.VINTR, VintrLayout.build(irq=1, priority=1, vector=0x25))
    cpu.memory.load_blob(HANDLERS + 0x25, bytes.fromhex("e680 0f01d9"))
    guest = on_vcpu(name, cpu)
    assert isinstance(guest.run(), IoExit) and guest.run() == HltExit()
    assert int.from_bytes(guest.vm.read(VMCB + Vmcb.EXITCODE, 8), "little") == ExitCode.VMMCALL
