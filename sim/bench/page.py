"""Puts the figures of a run into a page: ``python -m sim.bench.page build/bench.json docs/performance.md``.

A page says by its marks what it shows: all figures, or the table of `sampling`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from . import sampling
from .report import PEERS, number, rates_rows

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
SAMPLING_BEGIN, SAMPLING_END = "<!-- sampling: begin -->", "<!-- sampling: end -->"
#: Columns of the table of workloads: heading and counter.
STALLS = (("fetch", "stall_fetch"), ("branch", "stall_branch"), ("load use", "stall_load_use"),
          ("load miss", "stall_load_miss"), ("store", "stall_store"), ("microcode", "stall_microcode"),
          ("mul, div", "stall_muldiv"), ("walk", "stall_walk"), ("I/O", "stall_io"))


class PageError(Exception):
    """The page cannot take the figures; the message is one sentence."""


def tables(report: dict[str, Any]) -> str:
    """The tables in Markdown, and the machine they were taken on."""
    machine = report["machine"]
    lines = [f"Taken by `make bench` on {machine['processor']}, {machine['processors']} processors, load average "
             f"{machine['load average']:.1f} at the start; {machine['verilator'] or 'no Verilator'}; "
             f"{machine['clang++'] or 'no clang++'}; {machine.get('qemu-system-i386') or 'no QEMU'}.", "",
             "| figure | median | unit | samples | target | ratio | |", "|---|---:|---|---|---|---:|---|"]
    lines += [_row(figure) for figure in report["figures"] if not figure["name"].startswith("CPI ")
              or figure.get("target")]
    workloads = report.get("workloads", {})
    if workloads:
        lines += ["", "Cycles per instruction, and how many of them by the counter that explains them (a cycle may be "
                  "counted under two causes):", "",
                  f"| workload | CPI | {' | '.join(heading for heading, _counter in STALLS)} |",
                  f"|---|---:|{'---:|' * len(STALLS)}"]
        lines += [_workload(name, counters) for name, counters in workloads.items()]
    rates = report.get("translator", {})
    if rates:
        lines += ["", "Millions of guest instructions per second in steady state, a REP instruction counted as one:",
                  "", f"| workload | {' | '.join(PEERS.values())} |", f"|---|{'---:|' * len(PEERS)}"]
        lines += [f"| `{name}` | {' | '.join(cells)} |" for name, *cells in rates_rows(rates)]
    return "\n".join(lines)


def _row(figure: dict[str, Any]) -> str:
    value = "-" if figure["value"] is None else number(figure["value"])
    samples = figure["samples"]
    spread = f"{number(min(samples))} to {number(max(samples))} ({len(samples)})" if len(samples) > 1 else ""
    wanted = ratio = ""
    verdict = ""
    if figure["skipped"]:
        verdict = f"{'**failed**' if figure.get('failed') else 'skipped'}: {figure['skipped']}"
    if "target" in figure:
        aim = "" if figure["aim"] is None else f", aim {number(figure['aim'])}"
        wanted = f"{figure['bound']} {number(figure['target'])}{aim}"
        if figure["ratio"] is not None:
            ratio, verdict = f"{figure['ratio']:.2f}", "met" if figure["met"] else "**missed**"
    return f"| {figure['name']} | {value} | {figure['unit']} | {spread} | {wanted} | {ratio} | {verdict} |"


def _workload(name: str, counters: dict[str, int]) -> str:
    instructions = counters["instructions"]
    busy = counters["cycles"] - counters.get("halted", 0)
    # A counter may be lower by a few in the longer run; adding zero drops the sign that rounding leaves.
    cells = [f"{round(counters.get(counter, 0) / instructions, 2) + 0:.2f}" for _heading, counter in STALLS]
    return f"| `{name}` | {busy / instructions:.2f} | {' | '.join(cells)} |"


def renewed(page: str, report: dict[str, Any]) -> str:
    """The page with the figures of ``report`` between its two marks.

    Raises
    ------
    PageError
        If the marks are not there, or the report does not have what the page shows.
    """
    if SAMPLING_BEGIN in page:
        if "sampling" not in report:
            raise PageError("The report has no part 'sampling', which the page shows")
        return _between(page, SAMPLING_BEGIN, SAMPLING_END, sampling.table(report["sampling"]))
    return _between(page, BEGIN, END, tables(report))


def _between(page: str, begin: str, end: str, text: str) -> str:
    before, first, rest = page.partition(begin)
    _old, last, after = rest.partition(end)
    if not first or not last:
        raise PageError(f"The page needs a line '{begin}' and after it a line '{end}'")
    return f"{before}{begin}\n{text}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Put the figures of a run into the page that shows them.")
    parser.add_argument("report", type=Path, help="JSON written by python -m sim.bench --json")
    parser.add_argument("page", type=Path, help="the page, in Markdown")
    arguments = parser.parse_args()
    try:
        text = renewed(arguments.page.read_text(), json.loads(arguments.report.read_text()))
    except (OSError, ValueError, PageError) as error:
        parser.error(str(error))
    arguments.page.write_text(text)


if __name__ == "__main__":
    main()
