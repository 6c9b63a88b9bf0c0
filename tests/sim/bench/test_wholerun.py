"""Whole runs of the kernel, by peers that only pretend."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.bench import wholerun
from sim.bench.figures import Figure
from sim.bench.peers import Unable
from sim.bench.process import Ran


class Ours:
    """Three seconds with an empty cache, one with the other's leavings."""

    name, guess, counts = "dbt", 1.0, True
    output = "kernel: up\n"

    def __init__(self, technique: str, _images: Path, cache: Path) -> None:
        assert technique == "dbt"
        self.cache = cache

    def run(self, workload: str, options: str) -> Ran:
        assert (workload, options) == ("kernel", "iterations=84 console=debugcon")
        left = self.cache / "translations"
        wall = 1.0 if left.exists() else 3.0
        left.touch()
        return Ran(0, self.output, "gigogne: 100,000,000 instructions, \n", wall, wall)


class Qemu:
    name, guess, counts = "qemu", 1.0, False

    def __init__(self, _images: Path) -> None:
        pass

    def run(self, _workload: str, _options: str) -> Ran:
        return Ran(1, "kernel: up\n", "", 2.0, 1.5)


@pytest.fixture(autouse=True)
def _pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wholerun, "Gigogne", Ours)
    monkeypatch.setattr(wholerun, "Qemu", Qemu)


def _measure() -> tuple[dict[str, Figure], dict[str, object]]:
    figures, details = wholerun.measure(Path(), "dbt", wholerun.FULL, lambda _text: None)
    return {figure.name: figure for figure in figures}, details


def test_every_cold_run_finds_an_empty_cache() -> None:
    figures, details = _measure()
    assert figures["kernel, cold"].samples == (3.0, 3.0, 3.0) and figures["kernel, warm"].samples == (1.0, 1.0, 1.0)
    assert figures["kernel, cold / qemu"].value == 1.5 and figures["kernel, cold / qemu"].met is True
    assert figures["kernel, warm / qemu"].value == 0.5
    assert details["cold"] == {"wall": [3.0] * 3, "processor": [3.0] * 3, "instructions": 100_000_000}


def test_without_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_self: Qemu, _workload: str, _options: str) -> Ran:
        raise Unable("qemu-system-i386 is not installed")

    monkeypatch.setattr(Qemu, "run", absent)
    figures, _details = _measure()
    assert figures["kernel, cold"].value == 3.0
    assert figures["kernel, cold / qemu"].skipped == "qemu: qemu-system-i386 is not installed"
    assert figures["kernel, cold / qemu"].met is None


def test_a_kernel_that_prints_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ours, "output", "panic\n")
    figures, _details = _measure()
    assert figures["kernel, warm / qemu"].skipped == "it does not print what QEMU prints"
    assert figures["kernel, warm / qemu"].met is False
    assert figures["kernel, qemu"].value == 2.0
