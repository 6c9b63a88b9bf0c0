# amaranth: UnusedElaboratable=no
"""What the protocol promises, on every engine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim.engines import (
    DesignError,
    Engine,
    EngineError,
    Kind,
    RunResult,
    SignalInfo,
    SimDesign,
    Tap,
    UnknownSignal,
    Why,
    build,
)
from sim.engines.cache import Cache
from tests.sim.compiler import needs_compiler

from .small_design import Small, small_design

Make = Callable[[], Engine]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(params=["native", "pysim", pytest.param("cxxrtl", marks=needs_compiler)])
def make(request: pytest.FixtureRequest, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("GIGOGNE_CXXFLAGS", "-O0")
    return lambda: build(small_design(), request.param, cache)


def test_counts_and_stops(make: Make) -> None:
    engine = make()
    assert engine.run(10) == RunResult(10, 0, Why.LIMIT)
    assert engine.peek("unit.count") == 3
    engine.poke("go", 1)
    assert engine.run(7).why is Why.LIMIT
    assert (engine.cycle, engine.peek("unit.count"), engine.peek("unit.twice"), engine.peek("stop")) == (17, 6, 12, 0)
    result = engine.run(10_000)
    assert (result.why, result.stop, engine.peek("unit.count")) == (Why.STOP, 5, 200)
    assert engine.run(0) == RunResult(0, 0, Why.LIMIT)



def test_rows_of_a_memory(make: Make) -> None:
    engine = make()
    engine.poke("unit.scratch[2]", 7)
    rows = engine.rows("unit.scratch")
    assert rows.tolist() == [engine.peek(f"unit.scratch[{row}]") for row in range(len(rows))] and rows[2] == 7
    rows[2] = 1
    assert engine.peek("unit.scratch[2]") == 7
    with pytest.raises(UnknownSignal, match=r"^No memory is named 'unit.count'$"):
        engine.rows("unit.count")


def test_bursts_and_marks(make: Make) -> None:
    engine = make()
    engine.poke("go", 1)
    assert (engine.burst(7), engine.stop) == (7, 0)
    mark = engine.mark()
    assert engine.burst(10_000) < 10_000 and engine.peek("unit.count") == 200
    assert engine.stop == 5
    for _ in range(2):
        engine.rewind(mark)
        assert (engine.cycle, engine.peek("unit.count"), engine.peek("unit.scratch[3]")) == (7, 6, 3)
        engine.set_tap("seen", True)
        engine.burst(4)
        engine.set_tap("seen", False)
    assert len(engine.drain_tap("seen")) == 4, "records stay when time goes back"
    assert engine.run(2).why is Why.LIMIT


def test_a_register_takes_what_the_ram_gave_before_the_edge(make: Make) -> None:
    engine = make()
    engine.ram[:] = np.arange(100, 164, dtype=np.uint32)
    engine.poke("go", 1)
    engine.run(3)
    assert (engine.peek("ram.rdata"), engine.peek("before")) == (104, 103)


def test_ram_port(make: Make) -> None:
    engine = make()
    engine.ram[:] = np.arange(64, dtype=np.uint32)
    engine.poke("go", 1)
    engine.poke("mask", 0b0101)
    engine.run(2 * 60 + 1)
    assert int(engine.ram[3]) == 3 ^ 0x00FF00FF and int(engine.ram[4]) == 4
    assert engine.peek("ram.rdata") == 63
    engine.run(4)
    assert engine.peek("ram.rdata") == 0xFFFFFFFF
    other = np.zeros(4096, dtype=np.uint32)
    engine.ram = other
    engine.run(1)
    assert engine.ram is other and engine.peek("ram.rdata") == 0
    with pytest.raises(EngineError, match="must be a writeable, contiguous, one-dimensional uint32 array"):
        engine.ram = np.zeros(4, dtype=np.uint8)


def test_tap_records_and_fills(make: Make) -> None:
    engine = make()
    engine.poke("go", 1)
    engine.run(4)
    assert len(engine.drain_tap("seen")) == 0
    engine.set_tap("seen", True)
    engine.ram[:] = 2 * np.arange(64, dtype=np.uint32)
    engine.run(8)
    records = engine.drain_tap("seen")
    assert records["addr"].tolist() == [5, 6, 7, 8] and records["data"].tolist()[1:] == [12, 14, 16]
    assert records.dtype["addr"] == np.uint32 and len(engine.drain_tap("seen")) == 0
    engine.set_tap("seen", False)
    engine.run(8)
    assert len(engine.drain_tap("seen")) == 0
    with pytest.raises(UnknownSignal, match="No tap is named 'no'"):
        engine.drain_tap("no")


def test_full_tap_ends_the_run(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("native", "pysim"):
        engine = build(small_design(), name, cache)
        monkeypatch.setattr(type(engine), "TAP_CAPACITY", 3)
        engine = build(small_design(), name, cache)
        engine.set_tap("seen", True)
        engine.poke("go", 1)
        assert engine.run(100) == RunResult(6, 0, Why.TAP_FULL)
        assert engine.run(100) == RunResult(0, 0, Why.TAP_FULL)
        with pytest.raises(EngineError, match="Tap 'seen' is full: drain it"):
            engine.record(["unit.count"], 1)
        assert len(engine.drain_tap("seen")) == 3
        assert engine.run(100) == RunResult(6, 0, Why.TAP_FULL)


def test_names(make: Make) -> None:
    engine = make()
    infos = {info.name: info for info in engine.signals()}
    assert infos["unit.count"] == SignalInfo("unit.count", 8, Kind.REGISTER)
    assert infos["unit.twice"].kind is Kind.WIRE and infos["unit.scratch"].depth == 4
    assert infos["go"].kind is Kind.INPUT
    assert [engine.peek(f"unit.scratch[{row}]") for row in range(4)] == [9, 8, 7, 6]
    engine.poke("unit.scratch[2]", 77)
    assert engine.peek("unit.scratch[2]") == 77
    engine.poke("unit.count", 100)
    assert engine.peek("unit.twice") == 200
    with pytest.raises(EngineError, match="'unit.twice' is computed by the design"):
        engine.poke("unit.twice", 1)
    with pytest.raises(UnknownSignal, match="No signal is named 'unit.nothing'"):
        engine.peek("unit.nothing")
    with pytest.raises(UnknownSignal, match="Memory 'unit.scratch' has 4 rows, so there is no row 4"):
        engine.peek("unit.scratch[4]")


def test_record(make: Make) -> None:
    engine = make()
    engine.poke("go", 1)
    values = engine.record(["unit.count", "seen", "unit.scratch[3]"], 6)
    assert values["unit.count"].tolist() == [3, 3, 4, 4, 5, 5]
    assert values["seen"].tolist() == [0, 1, 0, 1, 0, 1]
    assert values["unit.scratch[3]"].tolist() == [6, 6, 3, 3, 3, 3]
    assert engine.cycle == 6
    engine.poke("unit.count", 200)
    assert len(engine.record(["stop"], 5)["stop"]) == 1


def test_interrupt_stops_cleanly(make: Make) -> None:
    engine = make()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    result = engine.run(1 << 60)
    timer.join()
    assert result.why is Why.INTERRUPTED and result.cycles == engine.cycle
    assert engine.run(5) == RunResult(5, 0, Why.LIMIT)


def test_native_cache_survives_damage_and_rivals(tmp_path: Path) -> None:
    code = ("import sys; from sim.engines import build; from tests.sim.engines.small_design import small_design; "
            "e = build(small_design(), 'native', sys.argv[1]); e.poke('go', 1); e.run(7); print(e.peek('unit.count'))")
    rivals = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(2)]
    assert [rival.communicate()[0].strip() for rival in rivals] == [b"6", b"6"]
    entries = sorted(tmp_path.iterdir())
    assert entries and not [path for path in entries if path.suffix == ".tmp"]
    for path in entries:
        path.write_bytes(path.read_bytes()[:-7])
    engine = build(small_design(), "native", tmp_path)
    engine.poke("go", 1)
    engine.run(7)
    assert engine.peek("unit.count") == 6
    assert Cache(tmp_path).get(entries[0].stem, entries[0].suffix[1:]) is not None


def test_key_spares_elaboration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(small_design("one"), "native", tmp_path)
    monkeypatch.setattr(Small, "elaborate", None)
    engine = build(small_design("one"), "native", tmp_path)
    engine.poke("go", 1)
    engine.run(3)
    assert engine.peek("unit.count") == 4


def test_bad_requests() -> None:
    with pytest.raises(EngineError, match="No engine is named 'fast'; choose one of native, pysim, cxxrtl"):
        build(small_design(), "fast")
    top = Small()
    tap = Tap("t", top.seen, (("wide", top.sum),))
    with pytest.raises(DesignError, match="Tap name 't' is used twice"):
        SimDesign(top=top, taps=(tap, tap))


def test_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EngineError, match=re.escape("install clang++ or g++")):
        build(small_design(), "cxxrtl")
