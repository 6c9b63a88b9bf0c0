"""Speed of the translator in steady state, beside QEMU's, Unicorn's, the interpreter's and the host's own."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from firmware.expectation import expectation

from .figures import Figure, median, skipped
from .peers import Peer, Unable
from .rates import Case, Effort, Measured, Turns
from .rates import measure as measure_case
from .workloads import COMPUTE, SYSTEM

#: Faults in an iteration of `pagefaults`.
FAULTS = 128
JUDGED, BAR = "dbt", "qemu"
#: More samples, and longer ones, of those that are judged.
FULL: Effort = {BAR: Turns(0.5, 3), JUDGED: Turns(0.5, 3), "host": Turns(0.25, 1), "unicorn": Turns(0.25, 1),
                "emulate": Turns(0.25, 1)}
QUICK: Effort = {BAR: Turns(0.02, 1), JUDGED: Turns(0.02, 1)}
QUICK_WORKLOADS = ("crc32",)


def measure(peers: Sequence[Peer], names: Iterable[str], effort: Effort,
            say: Callable[[str], None]) -> tuple[list[Figure], dict[str, Any]]:
    """Ratios by workload and their geometric means, and for the details every speed."""
    rates = COMPUTE | SYSTEM
    cases = {name: measure_case(Case(name, per_second=rates[name]), peers, effort, expectation(name).output, say)
             for name in names}
    return figures(cases), {name: measured.as_json() for name, measured in cases.items()}


def figures(cases: Mapping[str, Measured]) -> list[Figure]:
    """Figures of what was measured."""
    made = [ratio(f"{JUDGED} / {BAR}, {name}", measured, JUDGED, BAR) for name, measured in cases.items()]
    compute = {name: measured for name, measured in cases.items() if name in COMPUTE}
    made += [_mean(compute, JUDGED, other) for other in (BAR, "unicorn", "emulate", "host")]
    if "pagefaults" in cases:
        made += [_per_fault(cases["pagefaults"], peer) for peer in (JUDGED, BAR)]
    return made


def ratio(figure: str, measured: Measured, name: str, other: str) -> Figure:
    """The figure of one peer's speed over another's, or the reason why there is none."""
    try:
        return median(figure, "", measured.ratios(name, other))
    except Unable as error:
        return skipped(figure, "", str(error), JUDGED in measured.reasons)


def _mean(cases: Mapping[str, Measured], name: str, other: str) -> Figure:
    figure = f"{name} / {other}, geometric mean"
    try:
        ratios = [measured.ratios(name, other) for measured in cases.values()]
    except Unable as error:
        return skipped(figure, "", str(error), any(JUDGED in measured.reasons for measured in cases.values()))
    if not ratios:
        return skipped(figure, "", "no compute workload was measured")
    by_round = [statistics.geometric_mean(row) for row in zip(*ratios, strict=True)]
    return Figure(figure, "", statistics.geometric_mean([statistics.median(row) for row in ratios]), tuple(by_round))


def _per_fault(measured: Measured, peer: str) -> Figure:
    name = f"{peer}, page fault"
    if peer not in measured.timings:
        return skipped(name, "us", measured.reasons.get(peer, "not part of this run"),
                       peer == JUDGED and peer in measured.reasons)
    return median(name, "us", [1e6 / FAULTS / rate for rate in measured.timings[peer].samples])
