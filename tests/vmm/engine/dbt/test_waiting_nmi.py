"""An NMI that waits while another one is handled: code is translated meanwhile, and it comes where IRET lets it."""

from __future__ import annotations

import random

import pytest

from sim.randprog import asm
from tests.vmm.engine.dbt.lockstep import BLOCKS, REGIONS, memory_differs, states_differ
from tests.vmm.engine.dbt.scenes import loop, on
from tests.vmm.engine.machine import KERNEL_CODE, machine
from vmm.engine.dbt.translator import Thresholds, Translator
from vmm.engine.interpreter import Interpreter


def _back(here: int) -> bytes:
    """A few additions, and an IRET to what follows."""
    begin = b"\x01\xC3" * 5 + b"\x9C" + asm.push(KERNEL_CODE)
    return begin + asm.push(here + len(begin) + len(asm.push(0)) + 1) + b"\xCF" + b"\x01\xCB" * 5


def _advance(cpu: Interpreter, steps: int) -> list[int]:
    """Up to that many steps; those at which an NMI was taken."""
    taken = []
    while cpu.steps < steps and not cpu.state.halted:
        if cpu.state.nmi_pending and cpu.nmi_allowed:
            taken.append(cpu.steps)
            cpu.accept_nmi()
        else:
            cpu.burst(steps - cpu.steps)
    return taken


@pytest.mark.parametrize("thresholds", [BLOCKS, REGIONS], ids=["blocks", "regions"])
def test_a_waiting_nmi(thresholds: Thresholds) -> None:
    golden = machine(loop(_back, 60))
    tested = machine(loop(_back, 60), lambda memory: Translator(memory, thresholds=thresholds))
    assert isinstance(tested, Translator)
    for cpu in (golden, tested):
        on(cpu, 2, b"\x45\xCF")
    rng, steps, taken = random.Random(1), 0, 0
    while not golden.state.halted:
        if rng.random() < 0.3:
            for cpu in (golden, tested):
                cpu.state.nmi_pending = cpu.state.nmi_blocked = True
        steps += rng.randrange(1, 60)
        one, two = _advance(golden, steps), _advance(tested, steps)
        assert one == two and not states_differ(golden, tested) + memory_differs(golden, tested)
        taken += len(one)
    assert taken > 5


def test_code_is_translated_while_an_nmi_waits() -> None:
    cpu = machine(loop(b"\x01\xC3" * 9, 100), lambda memory: Translator(memory, thresholds=REGIONS))
    assert isinstance(cpu, Translator)
    cpu.state.nmi_pending = cpu.state.nmi_blocked = True
    _advance(cpu, 5000)
    assert cpu.state.halted and cpu.statistics().native_steps > 1000
