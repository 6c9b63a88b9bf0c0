"""Estimates of translated code beside exact figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from firmware.build import DEFAULT_OUT, build
from firmware.toolchain import ToolchainError
from sim.bench.__main__ import main


def test_quick(tmp_path: Path) -> None:
    try:
        build(["dhry"])
    except ToolchainError as error:
        pytest.skip(str(error))
    output = tmp_path / "bench.json"
    result = CliRunner().invoke(
        main, ["--quick", "--only", "timing", "--images", str(DEFAULT_OUT), "--json", str(output)])
    assert result.exit_code == 0, result.output
    report = json.loads(output.read_text())
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert 0 <= figures["timed dbt, mean error"]["value"] < 2
    assert figures["timed dbt, dhry"]["value"] > 0
    row = report["timing"]["dhry"]
    assert row["instructions"] > 10_000 and abs(row["estimate"] / row["cycles"] - 1 - row["error"]) < 1e-9
