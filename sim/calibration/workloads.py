"""How good the estimates are: every workload on the RTL and on the interpreter with the timing model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sim.bench.guests import GuestFailed, run_to_end
from sim.image import Image
from sim.rtlmachine import RtlMachine
from sim.stop import Reason
from vmm.cli.estimated import Estimated
from vmm.timing.machine import Timing

__all__ = ["ITERATIONS", "Estimate", "estimates", "markdown"]

#: Iterations of each workload: some 10^5 instructions.
ITERATIONS: dict[str, int] = {
    "bytecode": 1, "chase": 5, "crc32": 1, "dhry": 100, "matmul": 1, "pagefaults": 1, "quicksort": 1, "recursion": 2,
    "selfmod": 500, "sha256": 4, "sharedpage": 5, "sieve": 1, "strings": 20, "syscalls": 200, "timer": 20,
}


@dataclass(frozen=True)
class Estimate:
    """One workload; cycles are without those spent in HLT."""

    name: str
    options: str
    instructions: int
    exact: int
    estimate: int

    @property
    def error(self) -> float:
        return self.estimate / self.exact - 1


def estimates(images: Path, timing: Timing, iterations: Mapping[str, int] = ITERATIONS,
              machine: RtlMachine | None = None, say: Callable[[str], None] = lambda _name: None) -> list[Estimate]:
    """Run each workload on both.

    Raises
    ------
    GuestFailed
        One of them does not exit with 0.
    """
    machine = machine or RtlMachine()
    found = []
    for name, count in iterations.items():
        say(name)
        path, options = images / f"{name}.elf", f"iterations={count}"
        counters = run_to_end(machine, path, options)
        emulated = Estimated(timing)
        emulated.load(Image.load(path), options)
        stop = emulated.run()
        if stop.reason is not Reason.GUEST_EXIT or stop.value != 0:
            raise GuestFailed(f"{path.name} with '{options}' ended by {stop.reason.value} on the interpreter")
        found.append(Estimate(name, options, counters["instructions"], counters["cycles"] - counters["halted"],
                              emulated.cycle - emulated.idle))
    return found


def markdown(rows: Iterable[Estimate]) -> str:
    """A table with the mean of the absolute errors."""
    rows = list(rows)
    lines = ["| workload | instructions | cycles, RTL | cycles, estimated | error |", "|---|---:|---:|---:|---:|"]
    lines += [f"| {row.name}, {row.options} | {row.instructions:,} | {row.exact:,} | {row.estimate:,} "
              f"| {row.error:+.2%} |" for row in rows]
    mean = sum(abs(row.error) for row in rows) / len(rows)
    lines.append(f"| mean of the absolute errors | | | | {mean:.2%} |")
    return "\n".join(lines) + "\n"
