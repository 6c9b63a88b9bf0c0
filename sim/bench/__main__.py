"""`python -m sim.bench`: every figure of the simulator and of the computer, in one run."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from sim.engines import EngineError

from . import store
from .figures import Figure
from .guests import GuestFailed
from .instruction_cycles import MeasureError
from .parts import PARTS, QUICK_PARTS, Bench
from .report import machine_facts, rates_table, table


class BenchError(click.ClickException):
    """One sentence on stderr and status 2."""

    exit_code = 2


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "output", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Write everything measured, with samples and counters, to FILE, part by part; what FILE has of "
                   "other parts stays there.")
@click.option("--images", type=click.Path(path_type=Path), default=Path("build/firmware"), show_default=True,
              help="Folder of the guest images.")
@click.option("--quick", is_flag=True, help="Seconds instead of minutes: no peers, no cold build, short runs.")
@click.option("--only", type=click.Choice(tuple(PARTS)), multiple=True, help="Measure only this; may be repeated.")
@click.option("--verilator-cxx", default="clang++", show_default=True, metavar="COMPILER",
              help="Compiler of what Verilator writes.")
def main(output: Path | None, images: Path, quick: bool, only: tuple[str, ...], verilator_cxx: str) -> None:
    """Measure the figures Gigogne promises, each beside its target, with the peers in the same run.

    Rates are per second of processor time, times to start and of whole runs are wall time; samples are reported by
    their median. The status is 0 when all was measured that can be measured here, whether or not targets are met, and
    2 when a part failed; the others are measured then, too.
    """
    dhry = images / "dhry.elf"
    if not dhry.is_file():
        raise BenchError(f"There is no guest image '{dhry}'; build it with 'python -m firmware.build --out {images}'")
    report = kept(output)
    console = Console(stderr=True)
    facts = machine_facts(verilator_cxx)
    figures: list[Figure] = []
    done, failures = [], []
    wanted = only or (QUICK_PARTS if quick else PARTS)
    # A table in a file or a pipe is not squeezed into the 80 columns of no terminal.
    paper = Console(width=None if sys.stdout.isatty() else 140)
    with console.status("starting") as status:
        bench = Bench(images, quick, verilator_cxx, status.update)
        for name in (name for name in PARTS if name in wanted):
            status.update(name)
            begin = time.monotonic()
            try:
                found, details = PARTS[name](bench)
            except (EngineError, GuestFailed, MeasureError) as error:
                failures.append(f"{name}: {error}")
                continue
            report[name] = store.part(found, details, facts, time.monotonic() - begin, quick)
            figures += found
            done.append(name)
            if output is not None:
                store.save(output, report)
            console.print(f"{name}: {report[name]['seconds']:.0f} s", highlight=False)
    paper.print(table(figures))
    if "translator" in done:
        paper.print(rates_table(report["translator"]["details"]))
    if failures:
        raise BenchError("; ".join(failures))


def kept(output: Path | None) -> store.Report:
    """What the file has already, or BenchError if it could not be written at the end."""
    if output is None:
        return {}
    if not os.access(output.parent, os.W_OK):
        raise BenchError(f"Cannot write '{output}': there is no folder '{output.parent}' to write to")
    try:
        return store.load(output)
    except OSError as error:
        raise BenchError(f"Cannot write '{output}': {error.strerror}") from None


if __name__ == "__main__":
    main()
