"""The SVM suite on the RTL computer, in lockstep with the golden model."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sim.image import Image
from sim.lockstep import Lockstep
from sim.rtlmachine import RtlMachine
from sim.stop import Reason
from tests.firmware.svm_suite import PROGRAMS, judge
from vmm.cli.reference import GoldenReference

QUICK = {"basic", "interrupts", "nested_walk", "rings"}

@pytest.fixture(scope="module")
def machine(computers: Callable[[int], RtlMachine]) -> RtlMachine:
    return computers(16 << 20)


@pytest.mark.parametrize("program", [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PROGRAMS])
def test_program_in_lockstep(program: str, built: dict[str, Path], machine: RtlMachine) -> None:
    machine.reset()
    heard = bytearray()
    machine.console = heard.extend
    machine.load(Image.load(built[f"svm/{program}"]), "")
    outcome = Lockstep(machine, GoldenReference).run(8_000_000)
    assert outcome.divergence is None, outcome.divergence.describe()
    assert outcome.stop is not None and outcome.stop.reason is Reason.GUEST_EXIT
    assert judge(program, heard.decode("latin-1").replace("\r", ""), outcome.stop.value, "rtl") == []
