"""`gigogne check`: the RTL processor in lockstep with the golden model."""

from __future__ import annotations

import time
from pathlib import Path

import click

from sim.engines import EngineError
from sim.image import Image, ImageError
from sim.lockstep import Lockstep, Outcome
from sim.rtlmachine import RtlMachine
from vmm.cli.options import (
    BadInput,
    append_option,
    cycles_option,
    engine_option,
    image_argument,
    initrd_option,
    load_image,
    load_modules,
    memory_option,
    note,
)
from vmm.cli.reference import GoldenReference
from vmm.cli.status import Status


@click.command()
@image_argument
@memory_option
@append_option
@initrd_option
@engine_option
@cycles_option
def check(image: Path, memory: int, append: str, initrd: str, engine: str, max_cycles: int | None) -> None:
    """Run IMAGE on the RTL and on the golden model, and compare them after every instruction.

    The status is 0 when they never differ, 4 at the first difference.
    """
    loaded, modules = load_image(image), load_modules(initrd)

    def start() -> RtlMachine:
        try:
            machine = RtlMachine(engine=engine, ram_bytes=memory)
            machine.load(loaded, append, modules)
        except (ImageError, EngineError) as error:
            raise BadInput(str(error)) from None
        return machine

    begin = time.perf_counter()
    outcome = Lockstep(start(), GoldenReference).run(max_cycles)
    raise SystemExit(report(loaded, outcome, time.perf_counter() - begin))


def report(image: Image, outcome: Outcome, seconds: float) -> Status:
    """Say how a lockstep run ended; the status for it."""
    if outcome.divergence is not None:
        for line in outcome.divergence.describe().splitlines():
            note(line)
        return Status.DIVERGENCE
    assert outcome.stop is not None
    note(f"{image.name}: {outcome.retirements:,} retirements equal, {outcome.cycles:,} cycles, "
         f"{outcome.stop.reason.value}, {seconds:.1f} s")
    return Status.OK
