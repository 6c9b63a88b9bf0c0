"""Flags that a block has only in the context, where an instruction that leaves for a routine has to save them."""

from __future__ import annotations

import random

import pytest

from tests.vmm.engine.dbt.lockstep import VARIANTS, Difference, Pair, translator
from tests.vmm.engine.dbt.rewriting import BODY, HANDLERS, RAM, STACK, surround
from vmm.engine.emulate import EmulatedMachine

_NULL_DS, _BACK_DS = b"\x31\xC0\x8E\xD8", b"\xB8\x10\x00\x00\x00\x8E\xD8\x31\xC0"


def _jump(start: int, target: int) -> bytes:
    return b"\xE9" + (target - start - 5 & 0xFFFF_FFFF).to_bytes(4, "little")


@pytest.mark.parametrize("variant", ["blocks", "regions"])
@pytest.mark.parametrize("before", [b"\xF5", b"\x11\xC0", b"\x19\xC0"], ids=["cmc", "adc", "sbb"])
def test_carry_that_a_fault_saves(before: bytes, variant: str) -> None:
    """CMC and a ROL that faults: what was saved had CF complemented twice."""
    machines = EmulatedMachine(RAM), EmulatedMachine(RAM, processor=translator(VARIANTS[variant]))
    body, handler = _NULL_DS + before + b"\xD0\x00", b"\xBC" + STACK.to_bytes(4, "little") + _BACK_DS
    for machine in machines:
        surround(machine, False)
        machine.memory.load_blob(BODY, body + _jump(BODY + len(body), BODY))
        machine.memory.load_blob(HANDLERS, handler + _jump(HANDLERS + len(handler), BODY))
        machine.cpu.state.eip = BODY
        machine.cpu.state_changed()
    outcome = Pair(*machines, random.Random(1)).run(600, memory_every=1)
    machines[1].cpu.close()  # type: ignore[attr-defined]
    assert not isinstance(outcome, Difference), outcome
