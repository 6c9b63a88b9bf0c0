"""The block table when it is full: a guest with more blocks than it has room for runs all the same."""

from __future__ import annotations

import pytest

from tests.vmm.engine.dbt.campaign import random_pair
from tests.vmm.engine.dbt.lockstep import Difference
from vmm.engine.dbt import codestore


@pytest.mark.parametrize("variant", ["blocks", "regions"])
def test_a_table_of_few_entries(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead entries were never taken out: the look-up in a full table, native or not, went round for ever."""
    monkeypatch.setattr(codestore, "_CROWDED", 24)
    pair = random_pair(3, variant)
    outcome = pair.run(3000)
    assert not isinstance(outcome, Difference), outcome
    cpu = pair.tested.cpu
    used = sum(bool(entry.key) for entry in cpu.context.blocks)  # type: ignore[attr-defined]
    assert 0 < used <= 24 < cpu.tiers.warm  # type: ignore[attr-defined]
