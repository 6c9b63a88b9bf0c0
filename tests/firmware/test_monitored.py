"""Every guest image under the hosted monitor does what its header says, as it does without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from firmware.build import images
from firmware.expectation import expectation
from sim.image import Image
from sim.rtlmachine import RtlMachine
from sim.stop import Reason
from vmm.cli.monitored import Monitored
from vmm.monitor.area import AREA_BYTES

QUICK = {"timer", "selfmod", "syscalls", "tests/paging", "tests/tasks", "tests/gates", "tests/apic", "tests/debug"}
NAMES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(images())]


@pytest.fixture(scope="module")
def machines() -> dict[int, RtlMachine]:
    return {}


@pytest.mark.parametrize("name", NAMES)
def test_image_under_the_monitor(name: str, built: dict[str, Path], machines: dict[int, RtlMachine]) -> None:
    expected = expectation(name)
    if expected.memory not in machines:
        machines[expected.memory] = RtlMachine(
            ram=np.zeros(((expected.memory << 20) + AREA_BYTES) // 4, dtype=np.uint32))
    heard = bytearray()
    guest = Monitored(host=machines[expected.memory], console=heard.extend)
    guest.load(Image.load(built[name]), expected.append)
    stop = guest.run(20_000_000)
    assert heard.decode("latin-1").replace("\r", "") == expected.output
    assert (stop.reason, stop.value) == (Reason.GUEST_EXIT, expected.status)
