"""Engines by fixture."""

from __future__ import annotations

import pytest

from tests.vmm.engine import engines
from tests.vmm.engine import machine as parts
from tests.vmm.engine.dbt.lockstep import CachingCompiler
from vmm.engine.dbt import frontend, translator


@pytest.fixture(scope="session", autouse=True)
def _compile_routines_once() -> None:
    """The machine's routines are the same for every translator of a test run."""
    translator.Compiler = CachingCompiler  # type: ignore[misc]


@pytest.fixture(params=engines.ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Tests that use it run on every engine: `machine` and `computer` make processors of that kind."""
    name: str = request.param
    monkeypatch.setattr(parts, "processor", engines.processor(name))
    if name == "single":
        monkeypatch.setattr(frontend, "LIMIT", 1)
    return name
