"""Scenes on the interpreter and on the translator, cut everywhere: the same state, memory, steps and instructions."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.vmm.engine.dbt.corners import CORNERS
from tests.vmm.engine.dbt.lockstep import BLOCKS, REGIONS, memory_differs, states_differ
from tests.vmm.engine.dbt.scenes import SCENES, calls, loop
from tests.vmm.engine.machine import machine
from vmm.engine.dbt import frontend
from vmm.engine.dbt.translator import Thresholds, Translator
from vmm.engine.interpreter import Interpreter

_SCENES = SCENES | CORNERS
_VARIANTS = {"blocks": BLOCKS, "single": BLOCKS, "regions": REGIONS,
             "mixed": Thresholds(warm=3, entered=4, hot=5, background=False)}


def advance(cpu: Interpreter, steps: int) -> None:
    """Up to exactly that many steps, or to where it stands still."""
    while cpu.steps < steps and not (cpu.state.halted or cpu.state.shutdown):
        cpu.burst(steps - cpu.steps)


def alike(golden: Interpreter, tested: Interpreter, seed: int, longest: int, limit: int = 4000) -> None:
    """Run both to the end, compared at random places.

    Raises
    ------
    AssertionError
        They differ; the message says how.
    """
    rng, steps = random.Random(seed), 0
    while steps < limit and not (golden.state.halted or golden.state.shutdown):
        since, steps = golden.state.eip, steps + rng.randrange(1, longest)
        advance(golden, steps)
        advance(tested, steps)
        found = states_differ(golden, tested) + memory_differs(golden, tested)
        assert not found, f"at step {golden.steps}, from {since:#x}: {'; '.join(found)}"
    assert golden.state.halted
    assert not isinstance(tested, Translator) or not tested.tiers.failures, tested.tiers.failure


@pytest.mark.parametrize(
    "variant", ["regions", "mixed", *(pytest.param(name, marks=pytest.mark.slow) for name in ("blocks", "single"))])
@pytest.mark.parametrize("name", _SCENES)
def test_scene(name: str, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if variant == "single":
        monkeypatch.setattr(frontend, "LIMIT", 1)
    make: Callable[..., Interpreter] = lambda memory: Translator(memory, thresholds=_VARIANTS[variant])  # noqa: E731
    for seed, longest in ((1, 400), (2, 7)):
        alike(_SCENES[name](Interpreter), _SCENES[name](make), seed, longest)


@pytest.mark.parametrize("variant", ["regions", "mixed"])
def test_code_written_from_outside(variant: str) -> None:
    """A device or a loader changes an immediate between two steps of a loop that is translated."""
    make: Callable[..., Interpreter] = lambda memory: Translator(memory, thresholds=_VARIANTS[variant])  # noqa: E731
    engines = [machine(loop(calls(0x7100), 60), one) for one in (Interpreter, make)]
    for cpu in engines:
        cpu.memory.load_blob(0x7100, b"\xB8\x01\x00\x00\x00\x01\xC3\xC3")
    rng, steps = random.Random(1), 0
    while not engines[0].state.halted:
        steps += rng.randrange(1, 60)
        value = rng.getrandbits(16)
        for cpu in engines:
            advance(cpu, steps)
            cpu.memory.write(0x7101, 2, value)
        assert not states_differ(*engines) + memory_differs(*engines)
