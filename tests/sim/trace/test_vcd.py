"""Waveforms are the same file from every engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.engines import EngineError, UnknownSignal, build
from sim.trace.gtkw import Group, write_gtkw
from sim.trace.vcd import Text, all_signals, enumeration, write_vcd
from tests.sim.compiler import needs_compiler
from tests.sim.engines.small_design import small_design


def waveform(engine_name: str, folder: Path, window: tuple[int, int] = (5, 40)) -> str:
    engine = build(small_design(), engine_name, folder / "cache")
    engine.poke("go", 1)
    path = folder / f"{engine_name}.vcd"
    texts = [enumeration("phase", "seen", {0: "read", 1: "write"}),
             Text("unit.says", ("unit.count", "seen"), lambda count, seen: f"{count}{'!' if seen else ''}")]
    assert write_vcd(engine, path, all_signals(engine), window, texts=texts) == window[1]
    return path.read_text()


def test_content(tmp_path: Path) -> None:
    text = waveform("pysim", tmp_path)
    assert "$timescale 1 ns $end" in text and "$date" not in text
    assert "$scope module unit $end" in text and " count $end" in text
    assert text.splitlines()[-1] == "0!" and "#50\n" in text and "#395\n" in text and "#400" not in text
    assert "swrite " in text and "s5! " in text


def test_native_writes_the_same(tmp_path: Path) -> None:
    assert waveform("native", tmp_path) == waveform("pysim", tmp_path)


@needs_compiler
def test_cxxrtl_writes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIGOGNE_CXXFLAGS", "-O0")
    assert waveform("cxxrtl", tmp_path) == waveform("pysim", tmp_path)


def test_stop_ends_the_file(tmp_path: Path) -> None:
    engine = build(small_design(), "pysim")
    engine.poke("go", 1)
    engine.poke("unit.count", 198)
    assert write_vcd(engine, tmp_path / "x.vcd", ["stop"], (0, 100)) == 5


def test_bad_windows_leave_no_file(tmp_path: Path) -> None:
    engine = build(small_design(), "pysim")
    engine.run(3)
    with pytest.raises(EngineError, match="The window from cycle 9 to 9 is empty"):
        write_vcd(engine, tmp_path / "x.vcd", ["stop"], (9, 9))
    with pytest.raises(EngineError, match="begins at cycle 1, but the engine is already at 3"):
        write_vcd(engine, tmp_path / "x.vcd", ["stop"], (1, 9))
    with pytest.raises(UnknownSignal, match="No signal is named 'nope'"):
        write_vcd(engine, tmp_path / "x.vcd", ["nope"], (4, 9))
    assert list(tmp_path.iterdir()) == []


def test_savefile(tmp_path: Path) -> None:
    path = tmp_path / "x.gtkw"
    write_gtkw(path, "x.vcd", [Group("Unit", ("unit.count", "seen"), texts=("phase",))], {"unit.count": 8, "seen": 1})
    text = path.read_text()
    assert '[dumpfile] "x.vcd"' in text and "top.unit.count[7:0]" in text and "top.phase" in text and "-Unit" in text
