"""Targets, medians, what the JSON says."""

import pytest

from sim.bench.figures import TARGETS, Bound, Figure, Target, median, skipped


@pytest.mark.parametrize(("bound", "measured", "met", "ratio"), [
    (Bound.AT_LEAST, 20.0, True, 2.0),
    (Bound.AT_LEAST, 10.0, True, 1.0),
    (Bound.AT_LEAST, 9.0, False, 0.9),
    (Bound.AT_MOST, 5.0, True, 2.0),
    (Bound.AT_MOST, 10.0, True, 1.0),
    (Bound.AT_MOST, 20.0, False, 0.5),
    (Bound.EXACTLY, 10.0, True, 1.0),
    (Bound.EXACTLY, 9.0, False, 0.9),
    (Bound.EXACTLY, 11.0, False, 1.1),
])
def test_target(bound: Bound, measured: float, met: bool, ratio: float) -> None:
    target = Target(bound, 10)
    assert target.met(measured) is met
    assert target.ratio(measured) == pytest.approx(ratio)


def test_the_median_stands_for_its_samples() -> None:
    figure = median("native engine", "cycles/s", [400_000, 900_000, 600_000])
    assert figure.value == 600_000
    record = figure.as_json()
    assert record["samples"] == (400_000, 900_000, 600_000)
    assert (record["bound"], record["target"], record["aim"]) == ("at least", 500_000, 1_000_000)
    assert record["met"] is True and record["ratio"] == pytest.approx(1.2)


def test_what_was_not_measured_neither_passes_nor_fails() -> None:
    record = skipped("native / verilator", "", "verilator is not installed").as_json()
    assert record["skipped"] == "verilator is not installed"
    assert record["value"] is None and record["met"] is None and record["ratio"] is None


def test_what_does_not_work_misses_its_target() -> None:
    record = skipped("dbt / qemu, dhry", "", "dbt: it prints 'panic'", failed=True).as_json()
    assert record["value"] is None and record["ratio"] is None and record["met"] is False
    assert skipped("dbt / host, geometric mean", "", "dbt: it prints 'panic'", failed=True).met is None


def test_a_figure_without_target_is_information() -> None:
    figure = Figure("CPI sieve", "", 1.3)
    assert "CPI sieve" not in TARGETS
    assert figure.met is None and "target" not in figure.as_json()
