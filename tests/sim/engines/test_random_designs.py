"""Every engine gives the same value for every name in every cycle of random designs."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from sim.engines import Engine, Kind, SimDesign, build
from tests.sim.compiler import needs_compiler

from .random_design import random_design

CYCLES = 16


def stimulate(engine: Engine, rng: random.Random) -> None:
    for name, width in (("x", 32), ("y", 9), ("z", 1)):
        engine.poke(name, rng.getrandbits(width) if rng.random() < 0.7 else rng.choice((0, 1, (1 << width) - 1)))


def snapshot(engine: Engine) -> dict[str, object]:
    values: dict[str, object] = {}
    for info in engine.signals():
        if info.kind is Kind.MEMORY:
            values[info.name] = [engine.peek(f"{info.name}[{row}]") for row in range(info.depth)]
        else:
            values[info.name] = engine.peek(info.name)
    return values


def trace(design: SimDesign, name: str, cache: Path, seed: int) -> list[object]:
    engine = build(design, name, cache)
    engine.set_tap("t", True)
    rng, steps = random.Random(seed), []
    for _ in range(CYCLES):
        stimulate(engine, rng)
        values = snapshot(engine)
        steps.append((values, engine.run(1), engine.drain_tap("t").tolist()))
    return steps


def compare(seed: int, name: str, cache: Path) -> None:
    reference = trace(random_design(seed), "pysim", cache, seed)
    for cycle, (expected, got) in enumerate(zip(reference, trace(random_design(seed), name, cache, seed), strict=True)):
        if expected == got:
            continue
        wrong = {key: (value, got[0][key]) for key, value in expected[0].items() if got[0][key] != value}
        raise AssertionError(f"seed {seed}, cycle {cycle}: pysim and {name} differ: {wrong or (expected[1:], got[1:])}")


@pytest.mark.parametrize("seed", (0, 2, 3))
def test_native_equals_pysim(seed: int, tmp_path: Path) -> None:
    compare(seed, "native", tmp_path)


@needs_compiler
@pytest.mark.parametrize("seed", (4,))
def test_cxxrtl_equals_pysim(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIGOGNE_CXXFLAGS", "-O0")
    compare(seed, "cxxrtl", tmp_path)


@pytest.mark.parametrize("pair", [
    ("pysim", "native"),
    pytest.param(("cxxrtl", "native"), marks=needs_compiler), ("native", "pysim")])
def test_state_moves_between_engines(pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIGOGNE_CXXFLAGS", "-O0")
    first, second = (build(random_design(4), name, tmp_path) for name in pair)
    rng = random.Random(7)
    for _ in range(10):
        stimulate(first, rng)
        first.run(1)
    second.load(first.save())
    for _ in range(10):
        assert snapshot(second) == snapshot(first)
        stimulate(first, random.Random(first.cycle))
        stimulate(second, random.Random(second.cycle))
        assert second.run(1) == first.run(1)
    one, two = first.save(), second.save()
    assert one["signals"] == two["signals"] and one["cycle"] == two["cycle"]
    assert all(np.array_equal(one["memories"][name], two["memories"][name]) for name in one["memories"])
