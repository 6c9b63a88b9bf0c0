"""What `make bench` measures, and what each figure has to be."""

from __future__ import annotations

import enum
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .workloads import COMPUTE, PLACES, SYSTEM


class Bound(enum.Enum):
    """On which side of the target a figure has to lie."""

    AT_LEAST = "at least"
    AT_MOST = "at most"
    EXACTLY = "exactly"


@dataclass(frozen=True)
class Target:
    """``value`` is required; ``aim`` is what one would like, and is reported only."""

    bound: Bound
    value: float
    aim: float | None = None

    def ratio(self, measured: float) -> float:
        """How many times as good as required: 1 or more meets the target. For EXACTLY, measured over required."""
        if self.bound is Bound.AT_MOST:
            return self.value / measured if measured else float("inf")
        return measured / self.value

    def met(self, measured: float) -> bool:
        if self.bound is Bound.EXACTLY:
            return measured == self.value
        return measured >= self.value if self.bound is Bound.AT_LEAST else measured <= self.value


def _at_least(value: float, aim: float | None = None) -> Target:
    return Target(Bound.AT_LEAST, value, aim)


def _at_most(value: float, aim: float | None = None) -> Target:
    return Target(Bound.AT_MOST, value, aim)


#: Every target by the name of its figure; a figure without a target is information.
TARGETS: dict[str, Target] = {
    "native engine": _at_least(500_000, 1_000_000),
    "native / verilator": _at_least(1.0),
    "native / cxxrtl": _at_least(1.0),
    "native / pysim": _at_least(200),
    "cold build": _at_most(60),
    "warm start": _at_most(2),
    "CPI dhry": _at_most(2.8, 2.0),
    "slowest simple instruction": _at_most(1),
    "slowest taken branch": _at_most(3),
    "references per TLB miss, 4 KiB": Target(Bound.EXACTLY, 2),
    "references per TLB miss, 4 MiB": Target(Bound.EXACTLY, 1),
    **{f"nested references per TLB miss, {pair}": Target(Bound.EXACTLY, count) for pair, count in (
        ("4 KiB over 4 KiB", 8), ("4 KiB over 4 MiB", 5), ("4 MiB over 4 KiB", 5), ("4 MiB over 4 MiB", 3))},
    "VMRUN and #VMEXIT": _at_most(250, 150),
    "exits through the monitor": _at_least(10_000),
    **{f"svm / native, {name}": _at_most(1.03) for name in COMPUTE},
    # With the pressure on the TLB that it is made for, over 1 MiB as over 4 MiB.
    "svm / native, chase": _at_most(1.15),
    "svm / native, chase over 4 MiB": _at_most(1.15),
    "interpreter": _at_least(0.5),
    "switch to the RTL": _at_most(5),
    "timed dbt, mean error": _at_most(10),
    "timed dbt, geometric mean": _at_least(50),
    "switch from the RTL": _at_most(5),
    **{f"dbt / qemu, {name}": _at_least(1.0, 2.5) for name in COMPUTE},
    **{f"dbt / qemu, {name}": _at_least(1.0) for name in SYSTEM},
    "dbt / qemu, selfmod": _at_least(5.0),
    "dbt / qemu, geometric mean": _at_least(1.5, 2.5),
    **{f"dbt / qemu, data={place}": _at_least(1.0) for place in PLACES},
    "dbt, data=page / data=apart": _at_least(0.5),
    "kernel, cold / qemu": _at_most(1.5),
    "kernel, warm / qemu": _at_most(1.0),
}


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Members
    -------
    value : the median of ``samples``, or None when it was not measured; then ``skipped`` says why.
    failed : it was not measured because what was to be measured did not work: a target is then missed.
    """

    name: str
    unit: str
    value: float | None = None
    samples: tuple[float, ...] = ()
    skipped: str = ""
    failed: bool = False

    @property
    def target(self) -> Target | None:
        return TARGETS.get(self.name)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without target, or without value for no fault of ours."""
        if self.target is not None and self.failed:
            return False
        return None if self.target is None or self.value is None else self.target.met(self.value)

    @property
    def ratio(self) -> float | None:
        return None if self.target is None or self.value is None else self.target.ratio(self.value)

    def as_json(self) -> dict[str, Any]:
        record: dict[str, Any] = asdict(self)
        if self.target is not None:
            record |= {"bound": self.target.bound.value, "target": self.target.value, "aim": self.target.aim,
                       "met": self.met, "ratio": self.ratio}
        return record


def median(name: str, unit: str, samples: Sequence[float]) -> Figure:
    """The figure of several measurements of one thing."""
    return Figure(name, unit, statistics.median(samples), tuple(samples))


def skipped(name: str, unit: str, reason: str, failed: bool = False) -> Figure:
    """The figure of what was not measured."""
    return Figure(name, unit, skipped=reason, failed=failed)
