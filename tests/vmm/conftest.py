"""What the tests of virtual machines share."""

from __future__ import annotations

import pytest

from tests.vmm.engine.dbt.lockstep import CachingCompiler
from tests.vmm.guest import ENGINES, TECHNIQUES
from vmm.engine.dbt import translator


@pytest.fixture(params=TECHNIQUES)
def technique(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of each technique of `Guest` in turn."""
    monkeypatch.setattr(translator, "Compiler", CachingCompiler)
    name: str = request.param
    return name


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of each engine in turn."""
    monkeypatch.setattr(translator, "Compiler", CachingCompiler)
    name: str = request.param
    return name
