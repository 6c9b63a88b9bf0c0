"""Cycles per instruction of the C workloads, in steady state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sim.rtlmachine import RtlMachine

from .figures import Figure, skipped
from .guests import steady

#: Iterations of each workload per measurement: some 10^5 instructions.
ITERATIONS: dict[str, int] = {
    "dhry": 500, "sieve": 3, "matmul": 2, "quicksort": 2, "crc32": 4, "sha256": 8, "chase": 100, "strings": 500,
    "recursion": 4, "bytecode": 1, "syscalls": 500, "pagefaults": 10, "selfmod": 500, "timer": 20,
}


def measure(machine: RtlMachine, images: Path, iterations: Mapping[str, int],
            say: Callable[[str], None]) -> tuple[list[Figure], dict[str, dict[str, Any]]]:
    """CPI figures, and for each workload what the counters say of the same instructions.

    Cycles in HLT do not count: they are the length of a wait, not the cost of instructions.
    """
    figures, details = [], {}
    for name, count in iterations.items():
        image = images / f"{name}.elf"
        if not image.is_file():
            figures.append(skipped(f"CPI {name}", "", f"there is no {image}"))
            continue
        say(f"CPI of {name}")
        counters = steady(machine, image, count)
        busy = counters["cycles"] - counters["halted"]
        figures.append(Figure(f"CPI {name}", "", busy / counters["instructions"]))
        details[name] = {"iterations": count} | {event: value for event, value in counters.items() if value}
    return figures, details
