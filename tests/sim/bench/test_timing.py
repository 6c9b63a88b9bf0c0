"""Estimates of translated code beside exact figures."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from sim.bench.__main__ import main
from sim.bench.timing import table


def test_quick(image_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    result = CliRunner().invoke(
        main, ["--quick", "--only", "timing", "--images", str(image_folder), "--json", str(output)])
    assert result.exit_code == 0, result.output
    report = json.loads(output.read_text())["parts"]["timing"]
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert 0 <= figures["timed dbt, mean error"]["value"] < 2
    assert figures["timed dbt, dhry"]["value"] > 0
    row = report["details"]["dhry"]
    assert row["instructions"] > 10_000 and abs(row["estimate"] / row["cycles"] - 1 - row["error"]) < 1e-9
    assert "| `dhry`, iterations=20 | " in table(report["details"])


def test_the_table() -> None:
    row = {"command line": "iterations=5", "instructions": 110_223, "cycles": 1_000_000,
           "M instructions/s": [90.4, 10.0, 100.0]}
    lines = table({"chase": row | {"estimate": 990_000, "error": -0.01},
                   "dhry": row | {"estimate": 1_020_000, "error": 0.02}}).splitlines()
    assert lines[2] == "| `chase`, iterations=5 | 110,223 | 1,000,000 | 990,000 | -1.00 % | 90 |"
    assert lines[-1] == "Mean absolute error 1.50 %, largest 2.00 %."
