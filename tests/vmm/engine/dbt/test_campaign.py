"""Random programs and instructions on both engines, a few of them; `campaign` runs more."""

from __future__ import annotations

import pytest

from tests.vmm.engine.dbt.campaign import random_program
from tests.vmm.engine.dbt.instructions import campaign
from tests.vmm.engine.dbt.lockstep import Difference
from vmm.engine.dbt.llvmops import LlvmOps
from vmm.engine.dbt.values import Node, known


@pytest.mark.parametrize(("variant", "seed"), [
    # An interrupt came when the budget ended at a jump whose target was not known yet: the jump was linked to the
    # handler. A chain slot now counts only while nothing has come between.
    ("blocks", 1),
    # MOV GS made another mode natively and the next block was hot: its region was compiled for the segments that Python
    # still had in mind, and used GS as flat.
    ("regions", 1),
    # REPE SCASD by the page went over misaligned elements with AC set.
    ("regions", 103),
    ("background", 2),
])
def test_random_program(variant: str, seed: int) -> None:
    count, outcome = random_program(seed, variant, 4000)
    assert not isinstance(outcome, Difference), outcome
    assert count >= 2000


def test_random_instructions() -> None:
    assert [difference for difference in campaign(250, 1) if difference is not None] == []


def test_a_broken_translator_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """AF of every instruction is one bit off."""
    right = LlvmOps.set_adjust

    def wrong(self: LlvmOps, value: Node) -> None:
        right(self, self.xor(value, known(0x10, value.bits)))

    monkeypatch.setattr(LlvmOps, "set_adjust", wrong)
    found = [difference for difference in campaign(12, 1) if difference is not None]
    assert found and all("eflags" in difference for difference in found)


def test_code_that_is_refused_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays with the interpreter, and so would be right."""
    def wrong(self: LlvmOps, value: Node) -> None:
        self.b.emit("no such thing")

    monkeypatch.setattr(LlvmOps, "set_adjust", wrong)
    _count, outcome = random_program(1, "blocks", 200)
    assert isinstance(outcome, Difference) and "refused" in outcome.what
