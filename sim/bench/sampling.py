"""Cycles estimated from samples beside the cycles of a run on the RTL, and what it costs to switch machines."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.image import Image
from sim.rtlmachine import RtlMachine
from sim.sampling import SamplePlan, Sampler, estimate
from sim.stop import Reason
from sim.switching import switch
from vmm.cli.emulated import Emulated

from .figures import Figure, median, skipped
from .guests import GuestFailed, run_to_end


@dataclass(frozen=True)
class Effort:
    """Iterations of each workload, how they are sampled, and how often machines are switched for the clock."""

    iterations: Mapping[str, int]
    plan: SamplePlan
    switches: int


FULL = Effort({"dhry": 6000, "sieve": 30, "matmul": 16, "quicksort": 20, "crc32": 30, "sha256": 60, "chase": 1200,
               "strings": 4000, "recursion": 30, "bytecode": 6, "syscalls": 8000, "pagefaults": 60},
              SamplePlan(5000, 50_000), switches=20)
QUICK = Effort({"dhry": 300}, SamplePlan(1000, 30_000, 5000), switches=3)


def measure(machine: RtlMachine, images: Path, effort: Effort,
            say: Callable[[str], None]) -> tuple[list[Figure], dict[str, Any]]:
    """Errors of the estimates and times of the switches; for each workload, exact and estimated."""
    rows: dict[str, dict[str, Any]] = {}
    missing = []
    for name, iterations in effort.iterations.items():
        image = images / f"{name}.elf"
        if image.is_file():
            say(f"sampling {name}")
            rows[name] = compare(machine, image, f"iterations={iterations}", effort.plan)
        else:
            missing.append(skipped(f"sampling {name}", "", f"there is no {image}"))
    errors = [abs(row["error"]) for row in rows.values()]
    say("switching machines")
    there, back = switches(machine, images / "dhry.elf", effort.switches)
    plan = effort.plan
    return [
        Figure("sampled CPI, mean error", "%", 100 * statistics.fmean(errors), tuple(100 * error for error in errors)),
        Figure("sampled CPI, largest error", "%", 100 * max(errors)),
        Figure("exact CPI within the interval", "%", 100 * statistics.fmean(row["within"] for row in rows.values())),
        median("switch to the RTL", "ms", there), median("switch from the RTL", "ms", back), *missing,
    ], {"plan": {"cycles": plan.cycles, "period": plan.period, "warmup": plan.warmup}, "workloads": rows}


def compare(machine: RtlMachine, image: Path, command_line: str, plan: SamplePlan) -> dict[str, Any]:
    """One workload on the RTL, and sampled.

    Raises
    ------
    GuestFailed
        It does not exit with 0, or is too short for a sample.
    """
    begin = time.process_time()
    counters = run_to_end(machine, image, command_line)
    middle = time.process_time()
    exact = (counters["cycles"] - counters["halted"]) / counters["instructions"]
    machine.reset()
    software = Emulated(ram=machine.ram)
    software.load(Image.load(image), command_line)
    sampler = Sampler(software, machine, plan)
    stop = sampler.run()
    found = estimate(sampler.samples, stop.instructions)
    if stop.reason is not Reason.GUEST_EXIT or stop.value != 0 or found is None:
        raise GuestFailed(f"{image.name} with '{command_line}' ended by {stop.reason.value} after "
                          f"{len(sampler.samples)} samples")
    return {"instructions": counters["instructions"], "exact CPI": exact, "CPI": found.cpi,
            "error": found.cpi / exact - 1, "interval": found.relative_error, "samples": found.samples,
            "within": abs(found.cpi - exact) <= found.cpi_error, "simulated cycles": sampler.rtl_cycles,
            "cycles": counters["cycles"], "seconds on the RTL": middle - begin,
            "seconds": time.process_time() - middle}


def switches(machine: RtlMachine, image: Path, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of processor time to the RTL and back, some thousand cycles apart."""
    machine.reset()
    software = Emulated(ram=machine.ram)
    software.load(Image.load(image), "iterations=100000000")
    there, back = [], []
    for _ in range(count):
        software.run(2000)
        begin = time.process_time()
        switch(software, machine)
        there.append(1000 * (time.process_time() - begin))
        machine.advance(5000)
        begin = time.process_time()
        switch(machine, software)
        back.append(1000 * (time.process_time() - begin))
    return there, back


def table(report: dict[str, Any]) -> str:
    """The workloads in Markdown."""
    plan = report["plan"]
    lines = [f"Windows of {plan['cycles']:,} cycles after {plan['warmup']:,} of warm-up, one in {plan['period']:,} "
             "instructions:", "",
             "| workload | instructions | exact CPI | sampled CPI | error | interval | samples | on the RTL |",
             "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for name, row in report["workloads"].items():
        lines.append(f"| `{name}` | {row['instructions']:,} | {row['exact CPI']:.3f} | {row['CPI']:.3f} | "
                     f"{100 * row['error']:+.1f} % | ± {100 * row['interval']:.1f} % | {row['samples']} | "
                     f"{100 * row['simulated cycles'] / row['cycles']:.0f} % |")
    errors = [abs(row["error"]) for row in report["workloads"].values()]
    within = sum(row["within"] for row in report["workloads"].values())
    return "\n".join([*lines, "", f"Mean absolute error {100 * statistics.fmean(errors):.1f} %, largest "
                      f"{100 * max(errors):.1f} %; the interval holds the exact figure for {within} of {len(errors)}."])
