"""What is compiled while the guest runs, and in what order."""

from __future__ import annotations

import threading
import time
from typing import Any

from tests.vmm.engine.dbt.lockstep import BACKGROUND
from tests.vmm.engine.machine import machine
from vmm.engine.dbt.compiler import Effort
from vmm.engine.dbt.tiers import TextBuilder
from vmm.engine.dbt.translator import Translator

#: Several blocks, for ever.
_CODE = b"\x43\xEB\x00\x0F\xCB\xEB\x00\x01\xDA\xEB\xF5"


class _Hesitant(Translator):
    """Waits before its routines are compiled."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.efforts: list[Effort] = []
        self.go_on = threading.Event()
        super().__init__(*args, **options)

    def _compile_routines(self, build: TextBuilder, effort: Effort) -> None:
        self.go_on.wait(60)
        super()._compile_routines(build, effort)
        self.efforts.append(effort)


def test_regions_do_not_wait_for_the_routines() -> None:
    tested = machine(_CODE, lambda memory: _Hesitant(memory, thresholds=BACKGROUND))
    assert isinstance(tested, _Hesitant)
    try:
        for _ in range(600):
            tested.burst(100)
            if tested.tiers.regions:
                break
            time.sleep(0.05)
        assert tested.tiers.regions and not tested.efforts
        tested.go_on.set()
        tested.tiers.settle()
        assert tested.efforts == [Effort.WARM, Effort.HOT] and not tested.tiers.failures
    finally:
        tested.go_on.set()
        tested.close()
