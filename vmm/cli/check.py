"""`gigogne check`: the RTL processor in lockstep with the golden model."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from sim.divergence import Divergence
from sim.engines import EngineError
from sim.image import Image, ImageError
from sim.interrupts import deferred_interrupt
from sim.lockstep import Lockstep, Outcome, Watch
from sim.randprog import generate
from sim.randsvm import Guests, Isolation
from sim.randsvm import generate as generate_guests
from sim.rtlmachine import RtlMachine
from sim.rtlstate import read_state
from sim.stop import Reason, register_dump
from sim.tracing import write_waveform
from vmm.cli.combinations import CHECK, refuse_mute
from vmm.cli.options import (
    BadInput,
    append_option,
    check_waveform,
    cycles_option,
    engine_option,
    initrd_option,
    load_image,
    load_modules,
    memory_option,
    note,
    optional_image_argument,
)
from vmm.cli.progress import Progress
from vmm.cli.reference import GoldenReference
from vmm.cli.status import Status, status_of

Start = Callable[[RtlMachine], None]
#: Cycles of the waveform before the retirement that differs, and after it.
BEFORE, AFTER = 200, 10
#: A random program that does not end by itself is left after so many cycles.
RANDOM_CYCLES = 60_000
#: The same for a random host with its guests, of which one may turn in circles.
GUESTS_CYCLES = 200_000


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
@click.option("--random-guests", "entries", type=click.IntRange(min=1), default=None, metavar="N",
              help="Instead of IMAGE, random hosts whose random guests are entered N times.")
@click.option("--seed", "guests_seed", type=click.IntRange(min=0), default=1, show_default=True, metavar="SEED",
              help="First seed for --random-guests.")
@click.option("--waveform", type=click.Path(path_type=Path), default=Path("gigogne-divergence.vcd"), show_default=True,
              help="Where the last cycles before a difference go.")
def check(image: Path | None, memory: int, append: str, initrd: str, engine: str, max_cycles: int | None,
          seed: int | None, count: int, entries: int | None, guests_seed: int, waveform: Path) -> None:
    """Run IMAGE on the RTL and on the golden model, and compare them after every instruction.

    The status is 4 at the first difference; when they never differ, it is that of the run.
    """
    if sum(given is not None for given in (image, seed, entries)) != 1:
        raise BadInput("Give either an image, --random SEED or --random-guests N to check")
    refuse_mute(CHECK)
    check_waveform(waveform)
    if seed is not None:
        raise SystemExit(check_random(engine, range(seed, seed + count), max_cycles or RANDOM_CYCLES, waveform))
    if entries is not None:
        raise SystemExit(check_guests(engine, entries, guests_seed, max_cycles or GUESTS_CYCLES, waveform))
    assert image is not None
    loaded, modules = load_image(image), load_modules(initrd)
    try:
        machine = RtlMachine(engine=engine, ram_bytes=memory)

        def start(target: RtlMachine) -> None:
            target.reset()
            target.load(loaded, append, modules)

        start(machine)
    except (ImageError, EngineError) as error:
        raise BadInput(str(error)) from None
    begin = time.perf_counter()
    outcome = run_lockstep(machine, start, max_cycles)
    raise SystemExit(report(loaded, outcome, time.perf_counter() - begin, machine, start, waveform))


def run_lockstep(machine: RtlMachine, start: Start, max_cycles: int | None,
                 watch: Callable[[], Watch | None] = lambda: None) -> Outcome:
    """Lockstep; a difference found only at the end of a batch is looked for again with short batches.

    `watch` makes what looks at the retirements of one run.
    """
    with deferred_interrupt() as pending, Progress(lambda: f"{machine.cycle:,} cycles compared") as progress:
        def interrupted() -> bool:
            progress.look()
            return pending()

        outcome = Lockstep(machine, GoldenReference, interrupted=interrupted, watch=watch()).run(max_cycles)
        if outcome.divergence is not None and outcome.divergence.coarse:
            start(machine)
            outcome = Lockstep(machine, GoldenReference, fine_from=outcome.divergence.since,
                               interrupted=interrupted, watch=watch()).run(max_cycles)
        return outcome


def check_random(engine: str, seeds: range, max_cycles: int, waveform: Path) -> int:
    """Lockstep over the programs of `seeds`, on one machine."""
    try:
        machine = RtlMachine(engine=engine, ram_bytes=generate(seeds[0]).ram_bytes)
    except EngineError as error:
        raise BadInput(str(error)) from None
    begin, total, cycles = time.perf_counter(), 0, 0
    for done, seed in enumerate(seeds):
        image = generate(seed).image

        def start(target: RtlMachine, image: Image = image) -> None:
            target.reset()
            target.load(image)

        start(machine)
        outcome = run_lockstep(machine, start, max_cycles)
        total, cycles = total + outcome.retirements, cycles + outcome.cycles
        if outcome.divergence is not None:
            note(f"random program {seed}:")
        if outcome.stop is None or outcome.stop.reason is Reason.USER_INTERRUPT:
            return report(image, outcome, time.perf_counter() - begin, machine, start, waveform)
        if done % 100 == 99:
            note(f"{done + 1} of {len(seeds)} programs, {total:,} retirements equal")
    note(f"{len(seeds)} random programs from {seeds[0]}: {total:,} retirements equal, {cycles:,} cycles, "
         f"{time.perf_counter() - begin:.1f} s")
    return Status.OK


def check_guests(engine: str, entries: int, seed: int, max_cycles: int, waveform: Path) -> int:
    """Lockstep over the random hosts from `seed` on, until their guests have been entered `entries` times.

    Isolation is checked on the way: see `sim.randsvm.isolation`. A host whose guest uses a translation that it has left
    open is left there (`vmm.paging.staleness`).
    """
    try:
        machine = RtlMachine(engine=engine, ram_bytes=generate_guests(seed).ram_bytes)
    except EngineError as error:
        raise BadInput(str(error)) from None
    begin, total, first = time.perf_counter(), 0, seed
    seen, exits, left = Counter[str](), Counter[str](), Counter[str]()
    while seen["entries"] < entries:
        guests = generate_guests(seed)

        def start(target: RtlMachine, image: Image = guests.image) -> None:
            target.reset()
            target.load(image)

        watches: list[Isolation] = []

        def watch(guests: Guests = guests, watches: list[Isolation] = watches) -> Isolation:
            watches.append(Isolation(guests))
            return watches[-1]

        start(machine)
        outcome = run_lockstep(machine, start, max_cycles, watch)
        total += outcome.retirements
        if outcome.divergence is not None:
            note(f"random host {seed}:")
        if outcome.divergence is not None or outcome.stop is not None and outcome.stop.reason is Reason.USER_INTERRUPT:
            return report(guests.image, outcome, time.perf_counter() - begin, machine, start, waveform)
        last = watches[-1]
        seen.update(entries=last.entries, stores=last.stores, translations=last.translations)
        if not seen["entries"] and outcome.stop is not None and outcome.stop.reason is Reason.CYCLE_LIMIT:
            raise BadInput(f"Random host {seed} does not come to enter a guest in {max_cycles:,} cycles; "
                           "give it more by --max-cycles")
        seed += 1
        exits += last.exits
        left += Counter([outcome.undecided] if outcome.undecided else [])
        if (seed - first) % 100 == 0:
            note(f"{seen['entries']:,} guest entries of {seed - first} hosts, {total:,} retirements equal")
    note(f"{seen['entries']:,} guest entries of {seed - first} random hosts from {first}: {total:,} retirements equal, "
         f"{time.perf_counter() - begin:.1f} s")
    note(f"isolation: {seen['stores']:,} stores and {seen['translations']:,} translations of guests, all within the "
         "frames of their N_CR3")
    for reason, count in left.most_common():
        note(f"left undecided: {count} hosts, where {reason}")
    note("exits: " + ", ".join(f"{name} {count:,}" for name, count in exits.most_common()))
    return Status.OK


def return_to(divergence: Divergence, machine: RtlMachine, start: Start) -> Divergence:
    """Bring the machine to `BEFORE` cycles before the difference; the difference with all of the RTL's state."""
    # The run is deterministic: it comes by there again.
    start(machine)
    machine.run(max(divergence.cycle - BEFORE, 0))
    place = machine.engine.save()
    machine.run(max(divergence.cycle - machine.cycle, 0))
    state = read_state(machine.engine)
    machine.engine.load(place)
    return replace(divergence, rtl=register_dump(state))


def report(image: Image, outcome: Outcome, seconds: float, machine: RtlMachine, start: Start,
           waveform: Path) -> int:
    """Say how a lockstep run ended, with a waveform of a difference; the status for it."""
    if outcome.divergence is not None:
        for line in return_to(outcome.divergence, machine, start).describe().splitlines():
            note(line)
        end = write_waveform(machine, waveform, outcome.divergence.cycle + AFTER)
        note(f"cycles {end - BEFORE - AFTER} to {end - 1} are in {waveform}")
        return Status.DIVERGENCE
    if outcome.undecided:
        note(f"{image.name}: {outcome.retirements:,} retirements equal, then undecided: {outcome.undecided}")
        return Status.UNSUPPORTED
    assert outcome.stop is not None
    if outcome.stop.reason is Reason.USER_INTERRUPT:
        for line in outcome.stop.describe().splitlines():
            note(line)
    note(f"{image.name}: {outcome.retirements:,} retirements equal, {outcome.cycles:,} cycles, "
         f"{outcome.stop.reason.value}, {seconds:.1f} s")
    return status_of(outcome.stop)
