"""`python -m sim.bench`: every figure of the simulator and of the computer, in one run."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from sim.engines import EngineError
from sim.rtlmachine import RtlMachine

from . import cpi, instructions, interpreter, sampling, sharedpage, speed, start, timing, translator, walks, wholerun
from .figures import Figure
from .guests import GuestFailed
from .instruction_cycles import MeasureError
from .peers import everyone
from .report import machine_facts, rates_table, table, write_json
from .workloads import COMPUTE, SYSTEM

PARTS = ("instructions", "cpi", "walks", "interpreter", "start", "speed", "sampling", "translator", "timing",
         "shared-page", "kernel")
#: One run of each kind of measurement that needs neither peers nor an empty cache.
QUICK_PARTS = ("instructions", "cpi", "interpreter", "start", "speed")


class BenchError(click.ClickException):
    """One sentence on stderr and status 2."""

    exit_code = 2


@dataclass
class Bench:
    """What the parts share.

    Members
    -------
    say : told what is being done.
    details : what does not fit in a figure, for the JSON.
    """

    images: Path
    quick: bool
    verilator_compiler: str
    say: Callable[[str], None]
    details: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def machine(self) -> RtlMachine:
        """The computer as it is by default, on the native engine; whoever uses it resets it first."""
        return RtlMachine()

    def measure(self, part: str) -> list[Figure]:
        """Figures of one of `PARTS`."""
        dhry = self.images / "dhry.elf"
        if part == "instructions":
            figures, self.details["instructions"] = instructions.measure(self.machine)
            return figures
        if part == "cpi":
            iterations = {"dhry": 20} if self.quick else cpi.ITERATIONS
            figures, self.details["workloads"] = cpi.measure(self.machine, self.images, iterations, self.say)
            return figures
        if part == "walks":
            return walks.measure(self.images)
        if part == "interpreter":
            return [interpreter.measure(dhry, *((20_000, 1) if self.quick else (1_000_000, 5)))]
        if part == "start":
            return start.measure_warm(dhry, 1) if self.quick else start.measure(dhry, cold=3, warm=5)
        if part == "speed":
            effort = speed.QUICK if self.quick else speed.FULL
            return speed.measure(self.machine, dhry, effort, self.verilator_compiler, self.say)
        if part == "sampling":
            figures, self.details["sampling"] = sampling.measure(
                self.machine, self.images, sampling.QUICK if self.quick else sampling.FULL, self.say)
            return figures
        if part == "timing":
            figures, self.details["timing"] = timing.measure(
                self.machine, self.images, timing.QUICK if self.quick else timing.FULL, self.say)
            return figures
        if part == "kernel":
            whole = wholerun.QUICK if self.quick else wholerun.FULL
            figures, self.details["kernel"] = wholerun.measure(self.images, translator.JUDGED, whole, self.say)
            return figures
        return self._rates(part)

    def _rates(self, part: str) -> list[Figure]:
        """Steady-state speeds; our translation cache is empty at first and kept from run to run."""
        with tempfile.TemporaryDirectory(prefix="gigogne-bench-") as cache:
            peers = everyone(self.images, Path(cache))
            if part == "shared-page":
                rates_effort = translator.QUICK if self.quick else sharedpage.FULL
                figures, self.details["shared page"] = sharedpage.measure(peers, rates_effort, self.say)
                return figures
            rates_effort = translator.QUICK if self.quick else translator.FULL
            names = translator.QUICK_WORKLOADS if self.quick else [*COMPUTE, *SYSTEM]
            figures, self.details["translator"] = translator.measure(peers, names, rates_effort, self.say)
            return figures


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "output", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Write everything measured, with samples and counters, to FILE.")
@click.option("--images", type=click.Path(path_type=Path), default=Path("build/firmware"), show_default=True,
              help="Folder of the guest images.")
@click.option("--quick", is_flag=True, help="Seconds instead of minutes: no peers, no cold build, short runs.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Measure only this; may be repeated.")
@click.option("--verilator-cxx", default="clang++", show_default=True, metavar="COMPILER",
              help="Compiler of what Verilator writes.")
def main(output: Path | None, images: Path, quick: bool, only: tuple[str, ...], verilator_cxx: str) -> None:
    """Measure the figures Gigogne promises, each beside its target, with the peers in the same run.

    Rates are per second of processor time, times to start and of whole runs are wall time; samples are reported by
    their median. The status is 0 when all was measured that can be measured here, whether or not targets are met.
    """
    dhry = images / "dhry.elf"
    if not dhry.is_file():
        raise BenchError(f"There is no guest image '{dhry}'; build it with 'python -m firmware.build --out {images}'")
    if output is not None and not os.access(output.parent, os.W_OK):
        raise BenchError(f"Cannot write '{output}': there is no folder '{output.parent}' to write to")
    console = Console(stderr=True)
    facts = machine_facts(verilator_cxx)
    figures: list[Figure] = []
    parts = only or (QUICK_PARTS if quick else PARTS)
    try:
        with console.status("starting") as status:
            bench = Bench(images, quick, verilator_cxx, status.update)
            for part in (name for name in PARTS if name in parts):
                status.update(part)
                figures += bench.measure(part)
    except (EngineError, GuestFailed, MeasureError) as error:
        raise BenchError(str(error)) from None
    if output is not None:
        write_json(output, {"quick": quick, "machine": facts, "figures": [figure.as_json() for figure in figures],
                            **bench.details})
    # A table in a file or a pipe is not squeezed into the 80 columns of no terminal.
    paper = Console(width=None if sys.stdout.isatty() else 140)
    paper.print(table(figures))
    if "translator" in bench.details:
        paper.print(rates_table(bench.details["translator"]))


if __name__ == "__main__":
    main()
