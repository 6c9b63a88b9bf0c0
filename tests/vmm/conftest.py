"""What the tests of virtual machines share."""

from __future__ import annotations

import pytest

from tests.vmm.guest import ENGINES, TECHNIQUES
from vmm.engine.dbt import translator
from vmm.engine.dbt.compiler import Compiled, Compiler, Effort


class CachingCompiler(Compiler):
    """Compiles a text once per process."""

    _objects: dict[tuple[str, Effort], bytes] = {}

    def compile(self, text: str, effort: Effort, names: list[str]) -> Compiled:
        found = self._objects.get((text, effort))
        if found is not None:
            return self.load(found, names)
        compiled = super().compile(text, effort, names)
        self._objects[text, effort] = compiled.object_code
        return compiled


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
