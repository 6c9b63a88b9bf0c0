"""Figures of guests of the hardware."""

import numpy as np
import pytest

from sim.bench import svm
from sim.rtlmachine import RtlMachine
from vmm.cli.monitored import Monitored
from vmm.monitor.area import AREA_BYTES


@pytest.fixture(scope="module")
def guest() -> Monitored:
    ram = 2 << 20
    host = RtlMachine(ram=np.zeros((ram + AREA_BYTES) // 4, dtype=np.uint32))
    return Monitored(host=host)


def test_a_round_trip_is_fast_enough_and_the_same_each_time(guest: Monitored) -> None:
    first, second = svm.round_trip(guest), svm.round_trip(guest)
    assert first == second and first[0].met is True
    values = {figure.name: figure.value or 0 for figure in first}
    total, *parts = values.values()
    assert total == sum(parts) > 100
    assert values["VMRUN: words moved"] > 60 and values["#VMEXIT: words moved"] > 60
    assert all(0 <= part < total / 2 for part in parts)


def test_exit_rate(guest: Monitored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svm, "EXITS", 20)
    rate, cycles, simulation, monitor = (figure.value or 0 for figure in svm.exit_rate(guest))
    assert rate > 10 and 200 < cycles < 300
    assert simulation + monitor == pytest.approx(1e6 / rate)
    assert guest.exits.by_reason() == {"VMMCALL": 30}
