"""The timing model in translated code: cycles estimated beside those of the RTL, and how fast that is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.image import Image
from sim.rtlmachine import RtlMachine
from sim.stop import Reason
from vmm.cli.estimated import Estimated
from vmm.engine.dbt.timed import TimedTranslator
from vmm.timing.costs import default_costs
from vmm.timing.machine import Timing

from .figures import Figure, median, skipped
from .guests import GuestFailed, run_to_end
from .speed import COMMAND_LINE
from .workloads import COMPUTE


@dataclass(frozen=True)
class Effort:
    """Iterations of each workload for the error; seconds until all is compiled, and samples of the speed behind it."""

    iterations: Mapping[str, int]
    warm: float
    samples: int


FULL = Effort({"dhry": 500, "sieve": 3, "matmul": 2, "quicksort": 2, "crc32": 4, "sha256": 8, "chase": 20,
               "strings": 100, "recursion": 4, "bytecode": 1, "syscalls": 500, "pagefaults": 3, "selfmod": 500,
               "timer": 20}, warm=3.5, samples=5)
QUICK = Effort({"dhry": 20}, warm=1.0, samples=1)
_SAMPLE = 0.2


def measure(machine: RtlMachine, images: Path, effort: Effort,
            say: Callable[[str], None]) -> tuple[list[Figure], dict[str, Any]]:
    """Errors of the estimates and speeds in steady state; for each workload, exact, estimated, and its speed."""
    rows: dict[str, dict[str, Any]] = {}
    missing = []
    for name, iterations in effort.iterations.items():
        image = images / f"{name}.elf"
        if not image.is_file():
            missing.append(skipped(f"timing {name}", "", f"there is no {image}"))
            continue
        say(f"timing of {name}")
        rows[name] = compare(machine, image, f"iterations={iterations}")
        rows[name]["M instructions/s"] = speeds(image, effort)
    errors = [abs(row["error"]) for row in rows.values()]
    rates = [statistics.median(row["M instructions/s"]) for name, row in rows.items() if name in COMPUTE]
    return [
        Figure("timed dbt, mean error", "%", 100 * statistics.fmean(errors), tuple(100 * error for error in errors)),
        Figure("timed dbt, largest error", "%", 100 * max(errors)),
        Figure("timed dbt, geometric mean", "M instructions/s", statistics.geometric_mean(rates)),
        *(median(f"timed dbt, {name}", "M instructions/s", row["M instructions/s"]) for name, row in rows.items()),
        *missing,
    ], rows


def _estimated(image: Path, command_line: str) -> Estimated:
    made = Estimated(Timing(default_costs()), translate=True)
    made.load(Image.load(image), command_line)
    return made


def compare(machine: RtlMachine, image: Path, command_line: str) -> dict[str, Any]:
    """One workload from reset to its end on the RTL, and estimated; cycles in HLT are not part of either.

    Raises
    ------
    GuestFailed
        It does not exit with 0.
    """
    counters = run_to_end(machine, image, command_line)
    exact = counters["cycles"] - counters["halted"]
    software = _estimated(image, command_line)
    stop = software.run()
    software.timed.timed.close()  # type: ignore[attr-defined]
    if stop.reason is not Reason.GUEST_EXIT or stop.value != 0:
        raise GuestFailed(f"{image.name} with '{command_line}' ended by {stop.reason.value}")
    estimate = software.cycle - software.idle
    return {"command line": command_line, "instructions": counters["instructions"], "cycles": exact,
            "estimate": estimate, "error": estimate / exact - 1}


def speeds(image: Path, effort: Effort) -> list[float]:
    """Millions of instructions per second of processor time, once everything is compiled."""
    software = _estimated(image, COMMAND_LINE)
    cpu = software.timed.timed
    assert isinstance(cpu, TimedTranslator)
    begin, count = time.perf_counter(), 100_000
    while time.perf_counter() - begin < effort.warm:
        software.run(count)
    cpu.tiers.settle()
    rates: list[float] = []
    while len(rates) < effort.samples:
        first, before = software.instructions, time.process_time()
        software.run(count)
        taken = time.process_time() - before
        if taken < _SAMPLE and effort.samples > 1:
            count *= 2
            continue
        rates.append((software.instructions - first) / taken / 1e6)
    cpu.close()
    return rates


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The workloads in Markdown."""
    lines = ["| workload | instructions | cycles, RTL | cycles, estimated | error | M instructions/s |",
             "|---|---:|---:|---:|---:|---:|"]
    lines += [f"| `{name}`, {row['command line']} | {row['instructions']:,} | {row['cycles']:,} | "
              f"{row['estimate']:,} | {100 * row['error']:+.2f} % | {statistics.median(row['M instructions/s']):,.0f} |"
              for name, row in rows.items()]
    errors = [abs(row["error"]) for row in rows.values()]
    return "\n".join([*lines, "", f"Mean absolute error {100 * statistics.fmean(errors):.2f} %, largest "
                      f"{100 * max(errors):.2f} %."])
