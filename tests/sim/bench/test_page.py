"""The figures in the pages that show them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sim.bench import store
from sim.bench.figures import Figure, median, skipped
from sim.bench.page import PAGES, SECTIONS, PageError, renewed
from sim.bench.report import rates_table
from sim.bench.store import Report
from tests.sim.bench.test_sampling import REPORT as SAMPLED
from tests.test_imports import ROOT

MACHINE = {"processor": "a processor", "processors": 2, "load average": 0.25, "verilator": None, "clang++": "clang 14",
           "qemu-system-i386": "QEMU 7", "gcc": "gcc 12"}
RATES = {"dhry": {"peers": {"qemu": {"M instructions/s": 1018.4}, "unicorn": {"M instructions/s": None},
                            "dbt": {"M instructions/s": 2500.0, "translating": [0.0, 0.26]},
                            "host": {"skipped": "there is no compiler"}}}}
TIMED = {"dhry": {"command line": "iterations=20", "instructions": 1000, "cycles": 2000, "estimate": 2020,
                  "error": 0.01, "M instructions/s": [50.0]}}


def _part(*figures: Figure, details: Any = None, **machine: Any) -> dict[str, Any]:
    return store.part(figures, details, MACHINE | machine, 1.0, False)


def _report() -> Report:
    return {
        "instructions": _part(), "walks": _part(), "interpreter": _part(),
        "start": _part(Figure("warm start", "s", 3.0)),
        "speed": _part(median("native engine", "cycles/s", [600_000, 700_000, 400_000]),
                       skipped("native / verilator", "", "verilator is absent")),
        "cpi": _part(Figure("CPI dhry", "", 1.38), Figure("CPI sieve", "", 1.3),
                     details={"timer": {"instructions": 100, "cycles": 450, "halted": 250, "stall_walk": 25}}),
        "svm": _part(Figure("nested references per TLB miss, 4 KiB over 4 KiB", "", 8.0),
                     Figure("svm / native, chase", "", 1.16), Figure("VMRUN: words moved", "cycles", 82)),
        "translator": _part(median("dbt / qemu, dhry", "", [2.4, 2.6, 2.5]),
                            Figure("dbt / unicorn, geometric mean", "", 21.0), details=RATES),
        "shared-page": _part(Figure("dbt / qemu, data=page", "", 28.0)),
        "kernel": _part(skipped("kernel, cold / qemu", "", "it prints 'panic'", failed=True),
                        details={"options": "iterations=84", "cold": {"instructions": 10**8}}),
        "sampling": _part(Figure("sampled CPI, mean error", "%", 3.0), details=SAMPLED),
        "timing": _part(Figure("timed dbt, mean error", "%", 0.4), Figure("timed dbt, dhry", "", 50.0), details=TIMED)}


def _text(name: str) -> str:
    return SECTIONS[name].markdown(_report())


def test_figures_become_rows() -> None:
    text = _text("figures")
    assert ("| native engine | 600,000 | cycles/s | 400,000 to 700,000 (3) | at least 500,000, aim 1,000,000 | 1.20 "
            "| met |") in text
    assert "| warm start | 3 | s |  | at most 2 | 0.67 | **missed** |" in text
    assert "| native / verilator | - |  |  | at least 1 |  | skipped: verilator is absent |" in text
    assert "CPI dhry" in text and "CPI sieve" not in text
    assert "| kernel, cold / qemu | - |  |  | at most 1.5 |  | **failed**: it prints 'panic' |" in _text("kernel")


def test_guests_of_the_hardware() -> None:
    assert _text("svm").splitlines()[-3:] == [
        "| nested references per TLB miss, 4 KiB over 4 KiB | 8 |  |  | exactly 8 | 1.00 | met |",
        "| svm / native, chase | 1.16 |  |  | at most 1.15 | 0.99 | **missed** |",
        "| VMRUN: words moved | 82 | cycles |  |  |  |  |"]


def test_the_machine_is_told() -> None:
    assert _text("figures").startswith(
        "Taken on a processor, 2 processors, load average 0.2 at the start, no verilator, clang 14.\n\n| figure |")


def test_parts_measured_apart_tell_both_machines() -> None:
    report = _report()
    report["timing"] = _part(details=TIMED, processor="another") | {"figures": []}
    report["sampling"]["machine"]["load average"] = 1.4
    assert SECTIONS["estimates"].markdown(report).startswith(
        "Taken on a processor or another, 2 processors, load average 0.2 to 1.4 at the start.\n")


def test_speeds_by_workload_and_peer() -> None:
    text = _text("translator")
    assert ("| workload | dbt | QEMU | Unicorn | emulate | host, -m32 | dbt / QEMU | rounds | target | |\n") in text
    assert "| `dhry` | 2,500 | 1,018 | - | - | - | 2.5 | 2.4 to 2.6 (3) | at least 1, aim 2.5 | met |\n" in text
    assert "Of the time of dbt, translating took `dhry` 26 %." in text
    assert text.endswith("| dbt / unicorn, geometric mean | 21 |  |  |  |  |  |") and "| dbt / qemu, dhry" not in text
    assert rates_table(RATES).row_count == 1


def test_a_workload_that_is_not_measured() -> None:
    report = _report()
    report["translator"]["figures"][0] = skipped("dbt / qemu, dhry", "", "dbt: it prints 'panic'", True).as_json()
    text = SECTIONS["translator"].markdown(report)
    assert "| - | - |  | at least 1, aim 2.5 | **failed**: dbt: it prints 'panic' |" in text


def test_waiting_is_not_counted_in_cpi() -> None:
    row = next(line for line in _text("figures").splitlines() if line.startswith("| `timer`"))
    assert row == "| `timer` | 2.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.25 | 0.00 |"


def test_workloads_are_on_the_page_of_their_own() -> None:
    text = _text("estimates")
    assert "timed dbt, mean error" in text and "sampled CPI" in text and "dhry" not in text
    assert "`dhry`, iterations=20" in _text("timing") and "| `chase` |" in _text("sampling")


def test_only_what_is_between_the_marks_changes() -> None:
    page = "before\n<!-- kernel: begin -->\nformer\n<!-- kernel: end -->\nafter\n"
    once, stays = renewed(page, _report())
    assert once.startswith("before\n<!-- kernel: begin -->\nTaken on")
    assert once.endswith("<!-- kernel: end -->\nafter\n") and "former" not in once and not stays
    assert renewed(once, _report()) == (once, {})


def test_a_section_stays_without_its_parts() -> None:
    """No page is renewed by half a report, nor by figures of a quick run."""
    report = _report()
    del report["walks"], report["start"]
    report["kernel"]["quick"] = True
    page = "".join(f"<!-- {name}: begin -->\nold\n<!-- {name}: end -->\n" for name in ("figures", "kernel"))
    assert renewed(page, report) == (page, {"figures": "the report lacks walks, start",
                                            "kernel": "only quick figures of kernel"})


@pytest.mark.parametrize(("page", "sentence"), [
    ("nothing\n", "The page has no section: a line '<!-- NAME: begin -->' and after it '<!-- NAME: end -->'"),
    ("<!-- kernel: begin -->\n", "The page needs a line '<!-- kernel: end -->' after '<!-- kernel: begin -->'"),
    ("<!-- moon: begin -->\n<!-- moon: end -->\n", "There is no section 'moon': they are " + ", ".join(SECTIONS)),
])
def test_a_page_that_cannot_take_figures(page: str, sentence: str) -> None:
    with pytest.raises(PageError) as error:
        renewed(page, _report())
    assert str(error.value) == sentence


def test_the_pages_have_all_sections() -> None:
    texts = [(ROOT / page).read_text() for page in PAGES]
    for name in SECTIONS:
        assert sum(text.count(f"<!-- {name}: begin -->") for text in texts) == 1
    for text in texts:
        assert renewed(text, _report())[1] == {}


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "sim.bench.page", *arguments], cwd=ROOT, capture_output=True,
                          text=True, timeout=60)


def test_the_command(tmp_path: Path) -> None:
    report, page = tmp_path / "bench.json", tmp_path / "page.md"
    store.save(report, {"kernel": _report()["kernel"]})
    old = "<!-- kernel: begin -->\n<!-- kernel: end -->\n<!-- timing: begin -->\nold\n<!-- timing: end -->\n"
    page.write_text(old)
    done = _command(str(report), str(page))
    assert done.returncode == 0
    assert done.stderr == f"{page}: 'timing' stays as it was: the report lacks timing\n"
    assert "100,000,000 instructions:" in page.read_text() and "old" in page.read_text()
    report.write_text(json.dumps([]))
    done = _command(str(report), str(page))
    assert done.returncode == 2
    assert done.stderr.endswith(f"error: '{report}' is no report of python -m sim.bench\n")
