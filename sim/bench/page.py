"""Puts the figures of a run into the pages that show them: ``python -m sim.bench.page build/bench.json``.

A page shows a section between two marks, `<!-- NAME: begin -->` and `<!-- NAME: end -->`, NAME being one of `SECTIONS`.
A section is renewed if the report has all its parts, measured in full; others stay as they are, and are named.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import sampling, store, timing
from .report import PEERS, number, rates_rows
from .store import Report
from .translator import BAR, JUDGED
from .workloads import COMPUTE, SYSTEM

#: The pages with sections.
PAGES = ("docs/performance.md", "docs/switching.md", "docs/timing-model.md")
#: Columns of the table of workloads: heading and counter.
STALLS = (("fetch", "stall_fetch"), ("branch", "stall_branch"), ("load use", "stall_load_use"),
          ("load miss", "stall_load_miss"), ("store", "stall_store"), ("microcode", "stall_microcode"),
          ("mul, div", "stall_muldiv"), ("walk", "stall_walk"), ("I/O", "stall_io"))
_BEGIN = re.compile(r"^<!-- ([\w-]+): begin -->$", re.MULTILINE)
#: More of its time in translating than this is said below the table.
_SAID = 0.05


class PageError(Exception):
    """The page cannot take the figures; the message is one sentence."""


@dataclass(frozen=True)
class Section:
    """``parts`` of the report that the section is made of, the tools whose versions it names, and its text."""

    parts: tuple[str, ...]
    tools: tuple[str, ...]
    text: Callable[[Report], str]

    def markdown(self, report: Report) -> str:
        """The section, with the machine it was taken on."""
        return f"{_taken([report[part]['machine'] for part in self.parts], self.tools)}\n\n{self.text(report)}"


def _taken(machines: Sequence[dict[str, Any]], tools: Sequence[str]) -> str:
    """What the figures were taken on; several things where parts were measured apart."""
    def said(values: Sequence[str]) -> str:
        return " or ".join(dict.fromkeys(values))

    loads = sorted({f"{machine['load average']:.1f}" for machine in machines}, key=float)
    words = [f"Taken on {said([machine['processor'] for machine in machines])}",
             f"{said([str(machine['processors']) for machine in machines])} processors",
             f"load average {' to '.join(dict.fromkeys((loads[0], loads[-1])))} at the start"]
    words += [said([machine.get(tool) or f"no {tool}" for machine in machines]) for tool in tools]
    return f"{', '.join(words)}."


def _figures(figures: Sequence[dict[str, Any]]) -> list[str]:
    """A table of figures."""
    return ["| figure | median | unit | samples | target | ratio | |", "|---|---:|---|---|---|---:|---|",
            *(f"| {' | '.join((figure['name'], *_cells(figure)))} |" for figure in figures)]


def _cells(figure: dict[str, Any]) -> tuple[str, str, str, str, str, str]:
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
    return value, figure["unit"], spread, wanted, ratio, verdict


_ENGINES = ("instructions", "cpi", "walks", "interpreter", "start", "speed")


def _engines(report: Report) -> str:
    lines = _figures([figure for part in _ENGINES for figure in report[part]["figures"]
                      if not figure["name"].startswith("CPI ") or figure.get("target")])
    lines += ["", "Cycles per instruction, and how many of them by the counter that explains them (a cycle may be "
              "counted under two causes):", "",
              f"| workload | CPI | {' | '.join(heading for heading, _counter in STALLS)} |",
              f"|---|---:|{'---:|' * len(STALLS)}"]
    return "\n".join(lines + [_workload(name, counters) for name, counters in report["cpi"]["details"].items()])


def _workload(name: str, counters: dict[str, int]) -> str:
    instructions = counters["instructions"]
    busy = counters["cycles"] - counters.get("halted", 0)
    # A counter may be lower by a few in the longer run; adding zero drops the sign that rounding leaves.
    cells = [f"{round(counters.get(counter, 0) / instructions, 2) + 0:.2f}" for _heading, counter in STALLS]
    return f"| `{name}` | {busy / instructions:.2f} | {' | '.join(cells)} |"


def _translator(report: Report) -> str:
    """Speeds and the ratio that is judged, by workload; then the figures that are of no single one."""
    figures = {figure["name"]: figure for figure in report["translator"]["figures"]}
    workloads = report["translator"]["details"]
    lines = [f"| workload | {' | '.join(PEERS.values())} | {JUDGED} / QEMU | rounds | target | |",
             f"|---|{'---:|' * len(PEERS)}---:|---|---|---|"]
    for name, *cells in rates_rows(workloads):
        value, _unit, spread, wanted, _ratio, verdict = _cells(figures.pop(f"{JUDGED} / {BAR}, {name}"))
        lines.append(f"| `{name}` | {' | '.join((*cells, value, spread, wanted, verdict))} |")
    busy = {name: max(record["peers"].get(JUDGED, {}).get("translating") or [0.0])
            for name, record in workloads.items()}
    said = [f"`{name}` {100 * part:.0f} %" for name, part in busy.items() if part > _SAID]
    lines += ["", f"Of the time of {JUDGED}, translating took {', '.join(said)}." if said else
              f"In no sample of {JUDGED} did translating take more than {100 * _SAID:.0f} % of the time.", ""]
    return "\n".join(lines + _figures(list(figures.values())))


def _all_of(part: str) -> Callable[[Report], str]:
    return lambda report: "\n".join(_figures(report[part]["figures"]))


def _kernel(report: Report) -> str:
    details = report["kernel"]["details"]
    count = details["cold"]["instructions"]
    return "\n".join([f"`kernel` with `{details['options']}`" + (f", {count:,} instructions:" if count else ":"), "",
                      *_figures(report["kernel"]["figures"])])


def _estimates(report: Report) -> str:
    """What of both parts is of no single workload; these are on the pages of their own."""
    return "\n".join(_figures([figure for part in ("sampling", "timing") for figure in report[part]["figures"]
                               if figure["name"].rpartition(", ")[2] not in {"timer", *COMPUTE, *SYSTEM}]))


SECTIONS: dict[str, Section] = {
    "figures": Section(_ENGINES, ("verilator", "clang++"), _engines),
    "svm": Section(("svm",), (), _all_of("svm")),
    "translator": Section(("translator",), ("qemu-system-i386", "gcc"), _translator),
    "shared-page": Section(("shared-page",), ("qemu-system-i386",), _all_of("shared-page")),
    "kernel": Section(("kernel",), ("qemu-system-i386",), _kernel),
    "estimates": Section(("sampling", "timing"), (), _estimates),
    "sampling": Section(("sampling",), (), lambda report: sampling.table(report["sampling"]["details"])),
    "timing": Section(("timing",), (), lambda report: timing.table(report["timing"]["details"])),
}


def renewed(page: str, report: Report) -> tuple[str, dict[str, str]]:
    """The page with the report's figures between its marks, and why which sections stay as they were.

    Raises
    ------
    PageError
        The page has no section, one that is unknown, or one without end.
    """
    names = _BEGIN.findall(page)
    if not names:
        raise PageError("The page has no section: a line '<!-- NAME: begin -->' and after it '<!-- NAME: end -->'")
    stays: dict[str, str] = {}
    for name in names:
        if name not in SECTIONS:
            raise PageError(f"There is no section '{name}': they are {', '.join(SECTIONS)}")
        section = SECTIONS[name]
        missing = [part for part in section.parts if part not in report]
        quick = [part for part in section.parts if part in report and report[part]["quick"]]
        if missing or quick:
            stays[name] = (f"the report lacks {', '.join(missing)}" if missing else
                           f"only quick figures of {', '.join(quick)}")
            continue
        page = _between(page, f"<!-- {name}: begin -->", f"<!-- {name}: end -->", section.markdown(report))
    return page, stays


def _between(page: str, begin: str, end: str, text: str) -> str:
    before, _first, rest = page.partition(begin)
    _old, last, after = rest.partition(end)
    if not last:
        raise PageError(f"The page needs a line '{end}' after '{begin}'")
    return f"{before}{begin}\n{text}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Put the figures of a run into the pages that show them.")
    parser.add_argument("report", type=Path, help="JSON written by python -m sim.bench --json")
    parser.add_argument("pages", type=Path, nargs="*", default=[Path(page) for page in PAGES],
                        help=f"pages in Markdown (default: {' '.join(PAGES)})")
    arguments = parser.parse_args()
    try:
        report = store.load(arguments.report)
        if not report:
            raise PageError(f"'{arguments.report}' is no report of python -m sim.bench")
        texts = {path: renewed(path.read_text(), report) for path in arguments.pages}
    except (OSError, PageError) as error:
        parser.error(str(error))
    for path, (text, stays) in texts.items():
        path.write_text(text)
        for name, reason in stays.items():
            print(f"{path}: '{name}' stays as it was: {reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
