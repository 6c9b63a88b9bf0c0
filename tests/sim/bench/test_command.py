"""`python -m sim.bench`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sim.bench.__main__ import main
from sim.bench.figures import Figure
from sim.bench.guests import GuestFailed
from sim.bench.parts import PARTS, QUICK_PARTS, Bench, Measured


def test_quick(image_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    result = CliRunner().invoke(main, ["--quick", "--images", str(image_folder), "--json", str(output)])
    assert result.exit_code == 0, result.output
    parts = json.loads(output.read_text())["parts"]
    assert tuple(parts) == QUICK_PARTS
    figures = {figure["name"]: figure for part in parts.values() for figure in part["figures"]}
    assert parts["speed"]["quick"] is True and parts["speed"]["machine"]["amaranth"]
    for name in ("native engine", "interpreter", "warm start"):
        assert figures[name]["value"] > 0
        assert name in result.output
    for name in ("CPI dhry", "slowest simple instruction", "slowest taken branch"):
        assert figures[name]["met"] is True
    assert figures["native / verilator"]["skipped"] == "not part of this run"
    assert parts["cpi"]["details"]["dhry"]["instructions"] > 20 * 400
    assert len(parts["instructions"]["details"]) > 20


def test_quick_with_peers(image_folder: Path, tmp_path: Path) -> None:
    """Peers are measured or the reason is given; speeds are told by workload."""
    output = tmp_path / "bench.json"
    arguments = ["--only", "translator", "--only", "shared-page", "--only", "kernel"]
    result = CliRunner().invoke(main, ["--quick", *arguments, "--images", str(image_folder), "--json", str(output)])
    assert result.exit_code == 0, result.output
    parts = json.loads(output.read_text())["parts"]
    figures = {figure["name"]: figure for part in parts.values() for figure in part["figures"]}
    for name in ("dbt / qemu, crc32", "dbt / qemu, data=page", "kernel, cold / qemu"):
        figure = figures[name]
        assert figure["skipped"] or figure["value"] > 0 and figure["met"] is not None
        assert figure["target"] >= 1
    assert set(parts["translator"]["details"]["crc32"]["peers"]) == {"qemu", "dbt"}
    assert parts["kernel"]["details"]["options"] == "iterations=1 console=debugcon"
    assert "millions of guest instructions per second" in result.output


def test_without_images(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--quick", "--images", str(tmp_path)])
    assert result.exit_code == 2
    assert result.output == (f"Error: There is no guest image '{tmp_path}/dhry.elf'; "
                             f"build it with 'python -m firmware.build --out {tmp_path}'\n")


def test_where_nothing_can_be_written(image_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "missing" / "bench.json"
    result = CliRunner().invoke(main, ["--quick", "--images", str(image_folder), "--json", str(output)])
    assert result.exit_code == 2
    assert result.output == (f"Error: Cannot write '{output}': there is no folder '{tmp_path}/missing' "
                             f"to write to\n")


def _pretend(monkeypatch: pytest.MonkeyPatch, **parts: float | Exception | KeyboardInterrupt) -> None:
    """Parts that give one figure, or fail."""
    def made(name: str, value: float | BaseException) -> None:
        def measure(_bench: Bench) -> Measured:
            if isinstance(value, BaseException):
                raise value
            return [Figure(f"figure of {name}", "", value)], None

        monkeypatch.setitem(PARTS, name, measure)

    for name, value in parts.items():
        made(name, value)


def _values(output: Path) -> dict[str, float]:
    return {name: part["figures"][0]["value"] for name, part in json.loads(output.read_text())["parts"].items()}


def _bench(image_folder: Path, output: Path, *parts: str) -> Result:
    only = [word for part in parts for word in ("--only", part)]
    return CliRunner().invoke(main, [*only, "--images", str(image_folder), "--json", str(output)])


def test_parts_add_up(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "bench.json"
    _pretend(monkeypatch, cpi=1.0, walks=2.0)
    assert _bench(image_folder, output, "cpi").exit_code == 0
    assert _bench(image_folder, output, "walks").exit_code == 0
    _pretend(monkeypatch, cpi=3.0)
    result = _bench(image_folder, output, "cpi")
    assert "cpi: 0 s" in result.output and "figure of walks" not in result.output
    assert _values(output) == {"cpi": 3.0, "walks": 2.0}


def test_a_run_that_is_stopped_keeps_the_parts_that_are_done(image_folder: Path, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, Ctrl-C in the last of many minutes left nothing."""
    output = tmp_path / "bench.json"
    _pretend(monkeypatch, cpi=1.0, walks=KeyboardInterrupt(), interpreter=2.0)
    assert _bench(image_folder, output, "cpi", "walks", "interpreter").exit_code == 1
    assert _values(output) == {"cpi": 1.0}


def test_the_others_are_measured_when_a_part_fails(image_folder: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "bench.json"
    _pretend(monkeypatch, cpi=1.0, walks=GuestFailed("chase.elf ended by triple fault"), interpreter=2.0)
    result = _bench(image_folder, output, "cpi", "walks", "interpreter")
    assert result.exit_code == 2
    assert result.output.endswith("Error: walks: chase.elf ended by triple fault\n")
    assert _values(output) == {"cpi": 1.0, "interpreter": 2.0}


@pytest.mark.parametrize("content", ["{", "[]", '{"figures": []}'])
def test_a_file_that_is_no_report_is_replaced(image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              content: str) -> None:
    output = tmp_path / "bench.json"
    output.write_text(content)
    _pretend(monkeypatch, cpi=1.0)
    assert _bench(image_folder, output, "cpi").exit_code == 0
    assert _values(output) == {"cpi": 1.0}
