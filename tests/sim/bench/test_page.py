"""The figures in `docs/performance.md`."""

from typing import Any

import pytest

from sim.bench.figures import Figure, median, skipped
from sim.bench.page import BEGIN, END, PageError, renewed, tables
from sim.bench.report import rates_table
from tests.test_imports import ROOT


def _report(*figures: Figure) -> dict[str, Any]:
    return {"machine": {"processor": "a processor", "processors": 2, "load average": 0.25, "verilator": None,
                        "clang++": "clang 14"},
            "figures": [figure.as_json() for figure in figures],
            "workloads": {"timer": {"instructions": 100, "cycles": 450, "halted": 250, "stall_walk": 25}}}


def test_figures_become_rows() -> None:
    text = tables(_report(median("native engine", "cycles/s", [600_000, 700_000, 400_000]),
                          Figure("warm start", "s", 3.0), skipped("native / verilator", "", "verilator is absent"),
                          skipped("dbt / qemu, dhry", "", "dbt: it prints 'panic'", failed=True),
                          Figure("CPI dhry", "", 1.38), Figure("CPI sieve", "", 1.3)))
    assert ("| native engine | 600,000 | cycles/s | 400,000 to 700,000 (3) | at least 500,000, aim 1,000,000 | 1.20 "
            "| met |") in text
    assert "| warm start | 3 | s |  | at most 2 | 0.67 | **missed** |" in text
    assert "| native / verilator | - |  |  | at least 1 |  | skipped: verilator is absent |" in text
    assert ("| dbt / qemu, dhry | - |  |  | at least 1, aim 2.5 |  | **failed**: dbt: it prints 'panic' |") in text
    assert "CPI dhry" in text and "CPI sieve" not in text
    assert "no Verilator" in text and "clang 14" in text


def test_speeds_by_workload_and_peer() -> None:
    rates = {"dhry": {"peers": {"qemu": {"M instructions/s": 1018.4}, "dbt": {"M instructions/s": 2500.0},
                                "unicorn": {"M instructions/s": None}, "host": {"skipped": "there is no compiler"}}}}
    text = tables(_report() | {"translator": rates})
    assert "| workload | dbt | QEMU | Unicorn | emulate | host, -m32 |\n" in text
    assert text.endswith("| `dhry` | 2,500 | 1,018 | - | - | - |")
    assert rates_table(rates).row_count == 1


def test_waiting_is_not_counted_in_cpi() -> None:
    row = next(line for line in tables(_report()).splitlines() if line.startswith("| `timer`"))
    assert row == "| `timer` | 2.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.25 | 0.00 |"


def test_only_what_is_between_the_marks_changes() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = renewed(page, _report())
    assert once.startswith(f"before\n{BEGIN}\nTaken by") and once.endswith(f"{END}\nafter\n") and "old" not in once
    assert renewed(once, _report()) == once


def test_a_page_without_marks() -> None:
    with pytest.raises(PageError, match=f"^The page needs a line '{BEGIN}' and after it a line '{END}'$"):
        renewed("nothing\n", _report())


def test_the_page_has_marks() -> None:
    renewed((ROOT / "docs" / "performance.md").read_text(), _report())
