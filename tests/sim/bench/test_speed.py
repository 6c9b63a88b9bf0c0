"""Peers: absent ones are skipped with the reason, those that run something else are an error."""

from pathlib import Path

import pytest

from sim.bench import speed
from sim.bench.figures import Figure
from sim.bench.runners import Mismatch, VerilatorRunner, _environment
from sim.engines import EngineError
from sim.rtlmachine import RtlMachine
from tests.sim import guests

_EFFORT = speed.Effort({"native": 100, "verilator": 100}, rounds=2, warm=50, peers=("verilator",))


class Peer:
    """A peer that retires something else than the guest, or nothing at all."""

    name = "verilator"
    build_seconds = 1.0
    closed = False

    def __init__(self, *_arguments: object) -> None:
        pass

    def digest(self, _cycles: int) -> int:
        return 1

    def seconds(self, cycles: int) -> float:
        return cycles / 1000

    def close(self) -> None:
        Peer.closed = True


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    image = tmp_path / "spin.elf"
    image.write_bytes(guests.elf(b"\xEB\xFE"))
    return image


def _measure(rtl: RtlMachine, guest: Path) -> dict[str, Figure]:
    return {figure.name: figure for figure in speed.measure(rtl, guest, _EFFORT, "c++", lambda _text: None)}


def test_a_peer_that_runs_something_else(rtl: RtlMachine, guest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, a register set in the wrong place became a constant: the peer ran other code, and was timed doing so."""
    monkeypatch.setattr(speed, "VerilatorRunner", Peer)
    monkeypatch.setattr(Peer, "closed", False)
    with pytest.raises(Mismatch, match="^verilator does not retire what the native engine retires, "
                                       "so there is nothing to compare$"):
        _measure(rtl, guest)
    assert Peer.closed


def test_a_peer_that_agrees(rtl: RtlMachine, guest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "VerilatorRunner", Peer)
    monkeypatch.setattr(speed, "_compare", lambda *_arguments: None)
    figures = _measure(rtl, guest)
    assert figures["verilator"].value == pytest.approx(1000)
    assert figures["native / verilator"].value == pytest.approx((figures["native engine"].value or 0) / 1000)
    assert len(figures["native engine"].samples) == _EFFORT.rounds


def test_an_absent_peer(rtl: RtlMachine, guest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    figures = _measure(rtl, guest)
    assert "verilator" not in figures
    assert figures["native / verilator"].skipped == "verilator is not installed"
    assert figures["native / pysim"].skipped == "not part of this run"


def test_an_absent_compiler(rtl: RtlMachine) -> None:
    state = rtl.engine.save()
    with pytest.raises(EngineError, match="^(verilator|no-such-c..) is not installed$"):
        VerilatorRunner(state, state, "no-such-c++")
    with pytest.raises(EngineError, match=r"^no-such-c\+\+ is not installed$"), _environment("no-such-c++"):
        pass


def test_a_verilator_that_fails(rtl: RtlMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line that speaks of an error is the message, and nothing is left behind."""
    tool = tmp_path / "verilator"
    tool.write_text("#!/bin/sh\necho '%Warning: unimportant' >&2\necho '%Error: design.v:3: no' >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    left = tmp_path / "left"
    left.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(left))
    monkeypatch.setattr("sim.bench.runners.export_verilog", lambda _design: "")
    state = rtl.engine.save()
    with pytest.raises(EngineError, match="^Verilator failed: %Error: design.v:3: no$"):
        VerilatorRunner(state, state, "sh")
    assert list(left.iterdir()) == []
