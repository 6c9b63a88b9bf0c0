"""Estimates beside exact figures, their table, and the clock on switches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sim.bench.__main__ import main
from sim.bench.guests import GuestFailed
from sim.bench.sampling import compare, table
from sim.rtlmachine import RtlMachine
from sim.sampling import SamplePlan

REPORT = {"plan": {"cycles": 5000, "period": 50_000, "warmup": 20_000}, "workloads": {
    "dhry": {"instructions": 1_000_000, "cycles": 2_000_000, "exact CPI": 2.0, "CPI": 2.02, "error": 0.01,
             "interval": 0.02, "samples": 20, "within": True, "simulated cycles": 500_000},
    "chase": {"instructions": 1000, "cycles": 8000, "exact CPI": 8.0, "CPI": 7.6, "error": -0.05, "interval": 0.01,
              "samples": 20, "within": False, "simulated cycles": 500}}}


def test_quick(image_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    result = CliRunner().invoke(main, ["--quick", "--only", "sampling", "--images", str(image_folder),
                                       "--json", str(output)])
    assert result.exit_code == 0, result.output
    report = json.loads(output.read_text())["parts"]["sampling"]
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert 0 <= figures["sampled CPI, mean error"]["value"] < 15
    assert figures["switch to the RTL"]["value"] > 0 and len(figures["switch from the RTL"]["samples"]) == 3
    row = report["details"]["workloads"]["dhry"]
    assert 1.2 < row["exact CPI"] < 1.6 and row["samples"] > 2
    assert "| `dhry` |" in table(report["details"])


def test_the_table() -> None:
    lines = table(REPORT).splitlines()
    assert lines[0] == "Windows of 5,000 cycles after 20,000 of warm-up, one in 50,000 instructions:"
    assert lines[4] == "| `dhry` | 1,000,000 | 2.000 | 2.020 | +1.0 % | ± 2.0 % | 20 | 25 % |"
    assert lines[-1] == ("Mean absolute error 3.0 %, largest 5.0 %; the interval holds the exact figure for 1 of 2.")


def test_a_guest_too_short_for_a_sample(image_folder: Path) -> None:
    with pytest.raises(GuestFailed, match=r"^dhry.elf with 'iterations=1' ended by guest exit after 0 samples$"):
        compare(RtlMachine(), image_folder / "dhry.elf", "iterations=1", SamplePlan(1000, 10**9))
