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
    assert first == second and first.met is True and first.value is not None and first.value > 100


def test_exit_rate(guest: Monitored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svm, "EXITS", 20)
    assert svm.exit_rate(guest).value > 10  # type: ignore[operator]
    assert guest.exits.by_reason() == {"VMMCALL": 30}
