"""References of page walks as a guest counts them, on a processor without walk caches: the textbook's numbers."""

from pathlib import Path

import pytest

from sim.bench.svm import NO_CACHES
from sim.image import Image
from sim.rtlmachine import RtlMachine
from sim.stop import Reason
from tests.firmware.svm_suite import judge


@pytest.mark.slow
def test_walks_are_of_8_5_5_and_3_references(built: dict[str, Path]) -> None:
    machine = RtlMachine(ram_bytes=16 << 20, config=NO_CACHES)
    heard = bytearray()
    machine.console = heard.extend
    machine.load(Image.load(built["svm/counters"]), "walks=exact")
    stop = machine.run(8_000_000)
    assert stop.reason is Reason.GUEST_EXIT
    assert judge("counters", heard.decode("latin-1").replace("\r", ""), stop.value, "rtl") == []
