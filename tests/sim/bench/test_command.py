"""`python -m sim.bench`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from firmware.build import DEFAULT_OUT, build
from firmware.toolchain import ToolchainError
from sim.bench.__main__ import main


@pytest.fixture(scope="module")
def images() -> Path:
    """The folder with what is measured in it."""
    try:
        build(["dhry", "crc32", "sharedpage", "kernel"])
    except ToolchainError as error:
        pytest.skip(str(error))
    return Path(DEFAULT_OUT)


def test_quick(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    result = CliRunner().invoke(main, ["--quick", "--images", str(images), "--json", str(output)])
    assert result.exit_code == 0, result.output
    report = json.loads(output.read_text())
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert report["quick"] is True and report["machine"]["amaranth"]
    for name in ("native engine", "interpreter", "warm start"):
        assert figures[name]["value"] > 0
        assert name in result.output
    for name in ("CPI dhry", "slowest simple instruction", "slowest taken branch"):
        assert figures[name]["met"] is True
    assert figures["native / verilator"]["skipped"] == "not part of this run"
    assert report["workloads"]["dhry"]["instructions"] > 20 * 400
    assert len(report["instructions"]) > 20


def test_quick_with_peers(images: Path, tmp_path: Path) -> None:
    """Peers are measured or the reason is given; speeds are told by workload."""
    output = tmp_path / "bench.json"
    arguments = ["--only", "translator", "--only", "shared-page", "--only", "kernel"]
    result = CliRunner().invoke(main, ["--quick", *arguments, "--images", str(images), "--json", str(output)])
    assert result.exit_code == 0, result.output
    report = json.loads(output.read_text())
    figures = {figure["name"]: figure for figure in report["figures"]}
    for name in ("dbt / qemu, crc32", "dbt / qemu, data=page", "kernel, cold / qemu"):
        figure = figures[name]
        assert figure["skipped"] or figure["value"] > 0 and figure["met"] is not None
        assert figure["target"] >= 1
    assert set(report["translator"]["crc32"]["peers"]) == {"qemu", "dbt"}
    assert report["kernel"]["options"] == "iterations=1 console=debugcon"
    assert "millions of guest instructions per second" in result.output


def test_without_images(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--quick", "--images", str(tmp_path)])
    assert result.exit_code == 2
    assert result.output == (f"Error: There is no guest image '{tmp_path}/dhry.elf'; "
                             f"build it with 'python -m firmware.build --out {tmp_path}'\n")


def test_where_nothing_can_be_written(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "missing" / "bench.json"
    result = CliRunner().invoke(main, ["--quick", "--images", str(images), "--json", str(output)])
    assert result.exit_code == 2
    assert result.output == (f"Error: Cannot write '{output}': there is no folder '{tmp_path}/missing' "
                             f"to write to\n")
