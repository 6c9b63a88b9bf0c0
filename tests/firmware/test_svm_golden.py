"""The SVM suite on the golden model: every check passes, as the manual wants it."""

from pathlib import Path

import pytest

from firmware.build import svm_images
from rtl.isa.cpuid import FEATURES, Feature
from tests.firmware.svm_suite import judge
from tests.vmm.engine.boot import boot
from vmm.engine.emulate import EmulatedMachine

PROGRAMS = sorted(name.removeprefix("svm/") for name in svm_images())
_LIMIT = 8_000_000


def machine_with_svm() -> EmulatedMachine:
    machine = EmulatedMachine(16 << 20)
    machine.cpu.svm = True
    return machine


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str, built: dict[str, Path]) -> None:
    machine = boot(built[f"svm/{program}"], machine=machine_with_svm())
    stop = machine.run(_LIMIT)
    # NMIs come from the local APIC alone.
    skips = program == "nmi" and Feature.APIC not in FEATURES
    assert judge(program, machine.platform.serial_out.decode(), stop.value, "golden", skips) == []
