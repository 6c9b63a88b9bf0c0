"""The SVM suite on the golden model: every check passes, as the manual wants it."""

from pathlib import Path

import pytest

from tests.firmware.svm_suite import PROGRAMS, judge
from tests.vmm.engine.boot import boot

_LIMIT = 8_000_000


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str, built: dict[str, Path]) -> None:
    machine = boot(built[f"svm/{program}"])
    stop = machine.run(_LIMIT)
    # The golden model counts instructions alone.
    assert judge(program, machine.platform.console_out.decode(), stop.value, "golden", program == "counters") == []
