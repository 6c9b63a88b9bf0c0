"""Every engine gives the computer the same value for every name in every cycle, and the same waveform.

CXXRTL is compiled without optimisation: that takes less time than these runs would gain from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sim.engines import Engine, Kind
from sim.image import Image
from sim.rtlmachine import RtlMachine
from sim.stop import Reason
from sim.tracing import write_waveform
from tests.sim.compiler import needs_compiler

PROGRAM, LONG_PROGRAM = "tests/bare", "kernel"
RAM_BYTES = 2 << 20
WINDOW = 300
CHUNK, LONG_WINDOW, REST = 500, 3_000, 30_000

Columns = dict[str, np.ndarray]

pytestmark = needs_compiler


@pytest.fixture(scope="module")
def images(built: dict[str, Path]) -> dict[str, Image]:
    return {name: Image.load(built[name]) for name in (PROGRAM, LONG_PROGRAM)}


@pytest.fixture(scope="module")
def computers() -> Iterator[dict[str, RtlMachine]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIGOGNE_CXXFLAGS", "-O0")
        yield {name: RtlMachine(engine=name, ram_bytes=RAM_BYTES) for name in ("pysim", "native", "cxxrtl")}


def names_of(engine: Engine) -> list[str]:
    return [info.name for info in engine.signals() if info.kind is not Kind.MEMORY]


def first_difference(reference: Columns, other: Columns) -> str | None:
    """The earliest cycle, and the names that differ in it."""
    wrong: dict[int, list[str]] = {}
    for name, expected in reference.items():
        got = other[name]
        if len(expected) != len(got):
            return f"one run has {len(expected)} cycles, the other {len(got)}"
        rows = np.flatnonzero(expected != got)
        if len(rows):
            cycle = int(rows[0])
            wrong.setdefault(cycle, []).append(f"{name} is {int(expected[cycle]):#x}, not {int(got[cycle]):#x}")
    return f"cycle {min(wrong)}: {'; '.join(wrong[min(wrong)])}" if wrong else None


def assert_same_rest(one: Engine, other: Engine) -> None:
    """Rows of memories and RAM are equal too."""
    first, second = one.save(), other.save()
    for name, rows in first["memories"].items():
        assert np.array_equal(rows, second["memories"][name]), name
    assert first["signals"] == second["signals"]
    assert np.array_equal(first["ram"], second["ram"])


def test_whole_program(computers: dict[str, RtlMachine], images: dict[str, Image]) -> None:
    runs: dict[str, Columns] = {}
    for engine, machine in computers.items():
        machine.reset()
        machine.load(images[PROGRAM])
        runs[engine] = machine.engine.record(names_of(machine.engine), 10_000)
        assert runs[engine]["stop"][-1] and machine.cycle < 10_000
    assert len(runs["pysim"]) > 1000
    for engine in ("native", "cxxrtl"):
        assert first_difference(runs["pysim"], runs[engine]) is None
        assert_same_rest(computers["pysim"].engine, computers[engine].engine)


def test_a_difference_is_named() -> None:
    one = {"a": np.array([1, 2, 3]), "b": np.array([5, 6, 7])}
    other = {"a": np.array([1, 2, 9]), "b": np.array([5, 4, 9])}
    assert first_difference(one, one) is None
    assert first_difference(one, other) == "cycle 1: b is 0x6, not 0x4"
    assert first_difference(one, {name: column[:2] for name, column in one.items()}) is not None


def test_same_waveform(computers: dict[str, RtlMachine], images: dict[str, Image], tmp_path: Path) -> None:
    written: dict[str, bytes] = {}
    for engine, machine in computers.items():
        machine.reset()
        machine.load(images[LONG_PROGRAM])
        folder = tmp_path / engine
        folder.mkdir()
        write_waveform(machine, folder / "w.vcd", WINDOW)
        written[engine] = (folder / "w.vcd").read_bytes() + (folder / "w.gtkw").read_bytes()
    assert written["native"] == written["pysim"]
    assert written["cxxrtl"] == written["pysim"]


@pytest.mark.slow
def test_long_program(computers: dict[str, RtlMachine], images: dict[str, Image]) -> None:
    machines = [computers["native"], computers["cxxrtl"]]
    for machine in machines:
        machine.reset()
        machine.load(images[LONG_PROGRAM])
    names = names_of(machines[0].engine)
    while machines[0].cycle < LONG_WINDOW:
        one, other = (machine.engine.record(names, CHUNK) for machine in machines)
        found = first_difference(one, other)
        assert found is None, f"after {machines[0].cycle} cycles: {found}"
    stops = [machine.run(REST) for machine in machines]
    assert [stop.reason for stop in stops] == [Reason.CYCLE_LIMIT] * 2 and stops[0].state == stops[1].state
    assert_same_rest(*(machine.engine for machine in machines))
