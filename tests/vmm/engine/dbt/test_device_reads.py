"""Native code reads devices that answer at any time without coming back; the others are read at their time."""

from __future__ import annotations

import pytest

from rtl.isa.apic import APIC_ID, ApicReg
from rtl.isa.platform import REGION
from tests.vmm.engine.dbt.lockstep import BLOCKS, REGIONS, translator
from vmm.engine.dbt.translator import Thresholds
from vmm.engine.emulate import EmulatedMachine, StopReason
from vmm.engine.interpreter import Interpreter

CODE, LOOPS = 0x1000, 3000


def _word(value: int) -> str:
    return value.to_bytes(4, "little").hex()


def run(register: ApicReg, thresholds: Thresholds | None) -> EmulatedMachine:
    """Start the timer, then LOOPS times: MOV EAX, [register]; ADD EBX, EAX; DEC ECX; JNZ. CLI; HLT."""
    base = REGION["LOCAL_APIC"].base
    initial, address, count = base + ApicReg.TIMER_INITIAL, base + register, LOOPS
    code = f"c705{_word(initial)}00000100 b9{_word(count)} a1{_word(address)} 01c3 49 75f6 fa f4"
    machine = EmulatedMachine(
        1 << 16, processor=Interpreter if thresholds is None else translator(thresholds))
    machine.memory.load_blob(CODE, bytes.fromhex(code))
    machine.cpu.state.eip = CODE
    machine.cpu.state_changed()
    assert machine.run(10 * LOOPS).reason is StopReason.HALT_FOREVER
    return machine


@pytest.mark.parametrize("thresholds", [BLOCKS, REGIONS], ids=["blocks", "regions"])
@pytest.mark.parametrize("register", [ApicReg.ID, ApicReg.TPR, ApicReg.TIMER_CURRENT])
def test_what_is_read_is_what_the_interpreter_reads(register: ApicReg, thresholds: Thresholds) -> None:
    golden, tested = run(register, None), run(register, thresholds)
    assert tested.cpu.state.to_dict() == golden.cpu.state.to_dict()
    assert tested.platform.cycles == golden.platform.cycles


def test_the_identity_of_the_apic_is_read_in_native_code() -> None:
    """Kernels read it all the time; each used to be an exit to the interpreter."""
    machine = run(ApicReg.ID, BLOCKS)
    assert machine.cpu.state.gpr[3] == LOOPS * (APIC_ID << 24) & 0xFFFF_FFFF
    assert machine.cpu.statistics().native_exits.get("interpret", 0) < LOOPS // 10
