"""The SVM suite under QEMU's interpreter: what fails there is known, and nothing else does."""

from pathlib import Path

import pytest

from tests.firmware import qemu
from tests.firmware.svm_suite import PROGRAMS, excuse, judge

#: With instructions counted for time, QEMU itself dies of a VMCB where there is no memory.
UNCOUNTED = {"beyond"}


@qemu.needs_qemu
@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str, built: dict[str, Path]) -> None:
    reason = excuse("qemu", program)
    if reason is not None:
        pytest.skip(reason)
    options = ["-cpu", "qemu32,+svm,+npt,+vgif", *([] if program in UNCOUNTED else ["-icount", "shift=3,sleep=off"])]
    outcome = qemu.run(built[f"svm/{program}"], serial=True, options=options)
    assert judge(program, outcome.output, outcome.value, "qemu", skips=True) == []


@qemu.needs_qemu
def test_without_svm_it_says_so(built: dict[str, Path]) -> None:
    outcome = qemu.run(built["svm/basic"], serial=True)
    assert (outcome.output, outcome.value) == ("SKIP no SVM\n", 0)
