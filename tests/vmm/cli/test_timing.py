"""The commands of the timing model: what they print, write and refuse."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

import sim.rtlmachine
from sim.rtlmachine import RtlMachine
from tests.sim import guests
from tests.vmm.cli.command import guest_file, invoke
from vmm.timing.costs import Costs, default_costs


@pytest.fixture
def guest(tmp_path: Path) -> str:
    return guest_file(tmp_path, guests.say("x") + guests.count(2000) + guests.leave(0))


@pytest.fixture(scope="session")
def machine() -> RtlMachine:
    return RtlMachine(ram_bytes=16 << 20)


@pytest.fixture
def built(machine: RtlMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """`compare` on one machine: making the engine ready takes longer than the run."""
    def again(*, engine: str, ram_bytes: int, console: object = None) -> RtlMachine:
        machine.reset()
        machine.console = console or (lambda _data: None)  # type: ignore[assignment]
        return machine

    monkeypatch.setattr(sim.rtlmachine, "RtlMachine", again)


def cycles_of(result: Result) -> int:
    found = re.search(r"([\d,]+) cycles", result.stderr)
    assert result.exit_code == 0 and found is not None, result.stderr
    return int(found[1].replace(",", ""))


def test_calibrate_writes_what_comes_with_the_package(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    result = invoke("calibrate", "-o", str(path))
    assert result.exit_code == 0, result.stderr
    assert Costs.load(path) == default_costs()
    assert [file.name for file in tmp_path.iterdir()] == ["costs.json"]
    assert f"configuration {default_costs().identity}" in result.stderr


def test_calibrate_refuses_a_place_before_it_measures(tmp_path: Path) -> None:
    result = invoke("calibrate", "-o", f"{tmp_path}/none/costs.json")
    assert (result.exit_code, result.stderr) == (
        2, f"gigogne: Cannot write '{tmp_path}/none/costs.json': there is no folder '{tmp_path}/none'\n")


def test_compare_shows_the_error_of_the_estimate(built: None, guest: str, tmp_path: Path) -> None:
    result = invoke("compare", guest, "--json", f"{tmp_path}/c.json")
    assert result.exit_code == 0, result.stderr
    figures = json.loads((tmp_path / "c.json").read_text())
    exact, estimate = (run["cycles"] for run in figures["runs"])
    assert figures["error"] == pytest.approx(estimate / exact - 1, abs=1e-4)
    assert abs(figures["error"]) < 0.05
    assert f"{figures['error']:+.2%}" in result.stdout and "M instructions/s" in result.stdout
    plain = invoke("compare", guest, "--timing", "none", "--json", f"{tmp_path}/d.json")
    assert plain.exit_code == 0 and "error" not in plain.stdout
    assert "error" not in json.loads((tmp_path / "d.json").read_text())


def test_compare_says_that_the_costs_are_of_another_configuration(built: None, guest: str, tmp_path: Path) -> None:
    other = replace(default_costs(), configuration={"memory": {"latency": 20}})
    (tmp_path / "other.json").write_text(other.to_json())
    result = invoke("compare", guest, "--costs", f"{tmp_path}/other.json")
    assert result.exit_code == 0
    assert (f"the costs were measured on another configuration ({other.identity}) than the RTL has; write them anew "
            f"with 'gigogne calibrate'") in result.stderr


def test_run_estimates_with_and_without_caches(guest: str) -> None:
    steps = cycles_of(invoke("run", guest, "--technique", "emulate"))
    model = cycles_of(invoke("run", guest, "--technique", "emulate", "--timing", "model"))
    hits = cycles_of(invoke("run", guest, "--technique", "emulate", "--timing", "model", "--no-cache-model"))
    assert steps < hits < model


@pytest.mark.parametrize(("arguments", "message"), [
    (["--technique", "emulate", "--no-cache-model"],
     "--no-cache-model is about the timing model; ask for it with '--timing model'"),
    (["--technique", "emulate", "--costs", "x"], "--costs is about the timing model; ask for it with '--timing model'"),
    (["--timing", "model"], "The RTL has cycles of its own; '--timing model' needs '--technique emulate' or 'dbt'"),
    (["--technique", "emulate", "--timing", "model", "--costs", "/none"], "Cannot read costs from '/none'"),
])
def test_run_refuses_what_makes_no_sense(guest: str, arguments: list[str], message: str) -> None:
    result = invoke("run", guest, *arguments)
    assert (result.exit_code, result.stderr) == (2, f"gigogne: {message}\n")
