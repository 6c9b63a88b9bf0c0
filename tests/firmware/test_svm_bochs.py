"""The SVM suite under Bochs, which walks nested tables: what fails there is known, and nothing else does."""

from pathlib import Path

import pytest

from firmware.expectation import expectation
from tests.firmware import bochs
from tests.firmware.svm_suite import PROGRAMS, excuse, judge


@bochs.needs_bochs
@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str, built: dict[str, Path]) -> None:
    reason = excuse("bochs", program)
    if reason is not None:
        pytest.skip(reason)
    output = bochs.run(built[f"svm/{program}"], expectation(f"svm/{program}").output.strip())
    failed = any(line.startswith("FAIL ") for line in output.splitlines())
    # Bochs has no exit port, so that no exit value is known.
    assert judge(program, output, int(failed), "bochs", skips=True) == []
