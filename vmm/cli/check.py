"""`gigogne check`: the RTL processor in lockstep with the golden model."""

from __future__ import annotations

import time
from pathlib import Path

import click

from sim.engines import EngineError
from sim.image import Image, ImageError
from sim.lockstep import Lockstep, Outcome
from sim.randprog import generate
from sim.rtlmachine import RtlMachine
from vmm.cli.options import (
    BadInput,
    append_option,
    cycles_option,
    engine_option,
    initrd_option,
    load_image,
    load_modules,
    memory_option,
    note,
    optional_image_argument,
)
from vmm.cli.reference import GoldenReference
from vmm.cli.status import Status

#: A random program that does not end by itself is left after so many cycles.
RANDOM_CYCLES = 100_000


@click.command()
@optional_image_argument
@memory_option
@append_option
@initrd_option
@engine_option
@cycles_option
@click.option("--random", "seed", type=click.IntRange(min=0), default=None, metavar="SEED",
              help="Instead of IMAGE, random programs from this seed on.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
              help="How many random programs; their seeds are consecutive.")
def check(image: Path | None, memory: int, append: str, initrd: str, engine: str, max_cycles: int | None,
          seed: int | None, count: int) -> None:
    """Run IMAGE on the RTL and on the golden model, and compare them after every instruction.

    The status is 0 when they never differ, 4 at the first difference.
    """
    if (image is None) == (seed is None):
        raise BadInput("Give either an image or --random SEED to check")
    if seed is not None:
        raise SystemExit(check_random(engine, range(seed, seed + count), max_cycles or RANDOM_CYCLES))
    assert image is not None
    loaded, modules = load_image(image), load_modules(initrd)
    try:
        machine = RtlMachine(engine=engine, ram_bytes=memory)
        machine.load(loaded, append, modules)
    except (ImageError, EngineError) as error:
        raise BadInput(str(error)) from None
    begin = time.perf_counter()
    outcome = Lockstep(machine, GoldenReference).run(max_cycles)
    raise SystemExit(report(loaded, outcome, time.perf_counter() - begin))


def check_random(engine: str, seeds: range, max_cycles: int) -> Status:
    """Lockstep over the programs of `seeds`, on one machine."""
    try:
        machine = RtlMachine(engine=engine, ram_bytes=generate(seeds[0]).ram_bytes)
    except EngineError as error:
        raise BadInput(str(error)) from None
    begin, total, cycles = time.perf_counter(), 0, 0
    for seed in seeds:
        machine.reset()
        program = generate(seed)
        machine.load(program.image)
        outcome = Lockstep(machine, GoldenReference).run(max_cycles)
        total, cycles = total + outcome.retirements, cycles + outcome.cycles
        if outcome.divergence is not None:
            note(f"random program {seed}:")
            return report(program.image, outcome, time.perf_counter() - begin)
    note(f"{len(seeds)} random programs from {seeds[0]}: {total:,} retirements equal, {cycles:,} cycles, "
         f"{time.perf_counter() - begin:.1f} s")
    return Status.OK


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
