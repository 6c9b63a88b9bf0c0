"""Runs that change the machine on the way: fast-forwarding and sampling. The command line's part of them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from sim.engines import EngineError
from sim.machine import MachineError
from sim.sampling import WARMUP, SamplePlan, Sampler, estimate, parse_plan
from sim.stop import Reason, Stop
from sim.switching import Place, Transferable, parse_place, run_to, switch
from vmm.cli.options import BadInput, note
from vmm.cli.status import Status, status_of
from vmm.cli.techniques import TECHNIQUES, make_computer

if TYPE_CHECKING:
    from sim.image import Image
    from sim.machine import ConsoleSink
    from sim.rtlmachine import RtlMachine
    from vmm.cli.progress import Progress
    from vmm.cli.techniques import Computer
    from vmm.engine.dbt.diskcache import DiskCache

#: The fast software engine: the translator where there is one.
FAST = "dbt" if "dbt" in TECHNIQUES else "emulate"

fast_forward_option = click.option(
    "--fast-forward-to", "fast_forward", default=None, metavar="PLACE",
    help=f"Execute by '{FAST}' as far as a symbol, an address (0x100000) or a number of instructions (10M), and go on "
         "from there on the RTL, in guest mode with '--technique svm'.")
sample_option = click.option(
    "--sample", default=None, metavar="N/M",
    help=f"Estimate the cycles: execute about N cycles of every M instructions on the RTL, and all else by '{FAST}'.")
warmup_option = click.option(
    "--sample-warmup", type=click.IntRange(min=0), default=WARMUP, show_default=True, metavar="W",
    help="Cycles executed before each sample and not counted, because caches, TLBs and predictors begin empty.")


@dataclass(frozen=True)
class Missed:
    """The run ended before its place was reached."""

    place: Place
    stop: Stop

    @property
    def status(self) -> int:
        return status_of(self.stop) if self.stop.reason is Reason.USER_INTERRUPT else Status.NOT_REACHED

    def sentence(self) -> str:
        if self.place.address is None:
            return f"The run ends before {self.place.text} instructions: {_end(self.stop)}"
        return f"Execution never reaches {self.place.text}: {_end(self.stop)}"


def _end(stop: Stop) -> str:
    return f"{stop.reason.value} after {stop.instructions:,} instructions"


def place_in(image: Image, text: str) -> Place:
    """What the user means by a place in an image, or BadInput."""
    try:
        return parse_place(text, image.symbols)
    except MachineError as error:
        raise BadInput(str(error)) from None


def plan_of(text: str, warmup: int) -> SamplePlan:
    """The sampling the user wants, or BadInput."""
    try:
        return parse_plan(text, warmup)
    except MachineError as error:
        raise BadInput(str(error)) from None


def make_fast(ram_bytes: int, console: ConsoleSink, translations: DiskCache | None = None) -> Computer:
    """The fast software machine, and what it keeps from run to run."""
    return make_computer(FAST, engine="native", ram_bytes=ram_bytes, console=console, translations=translations)


def make_rtl(engine: str, fast: Computer) -> RtlMachine:
    """The RTL on the RAM of the fast machine, or BadInput."""
    from sim.rtlmachine import RtlMachine

    try:
        rtl = RtlMachine(engine=engine, ram=fast.ram, console=fast.console)
    except EngineError as error:
        raise BadInput(str(error)) from None
    rtl.symbols = fast.symbols
    return rtl


def fast_forward_to(fast: Computer, place: Place, progress: Progress) -> Missed | None:
    """Run to the place, and say how fast that was."""
    first, begin = fast.instructions, time.perf_counter()
    progress.text = lambda: f"to {place.text}: {fast.instructions:,} instructions"
    fast.on_slice = progress.look
    with progress:
        stop = run_to(fast, place)
    seconds, done = time.perf_counter() - begin, fast.instructions - first
    if stop is not None:
        return Missed(place, stop)
    note(f"fast-forward by {FAST} to {place.text}: {done:,} instructions in {seconds:.2f} s")
    return None


def go_on(fast: Computer, engine: str) -> RtlMachine:
    """The RTL where the fast machine stands."""
    rtl = make_rtl(engine, fast)
    switch(fast, rtl)
    return rtl


def go_on_monitored(fast: Computer, engine: str, exit_cost: int) -> Computer:
    """A guest of the hardware where the fast machine stands, or BadInput."""
    try:
        monitored = make_computer("svm", engine=engine, ram_bytes=fast.ram.nbytes, console=fast.console,
                                  exit_cost=exit_cost)
        switch(fast, monitored)
    except (EngineError, MachineError) as error:
        raise BadInput(str(error)) from None
    return monitored


def sampled(fast: Computer, engine: str, plan: SamplePlan, max_instructions: int | None,
            progress: Progress) -> tuple[Transferable, Stop, dict[str, int]]:
    """Run to the end with samples, and say what they say. Gives who has the guest then, and counters of the windows."""
    sampler = Sampler(fast, make_rtl(engine, fast), plan)
    first, begin = fast.instructions, time.perf_counter()
    progress.text = lambda: f"{sampler.instructions:,} instructions, {len(sampler.samples):,} samples"
    sampler.on_slice = fast.on_slice = progress.look
    with progress:
        stop = sampler.run(max_instructions)
    _report(sampler, first, time.perf_counter() - begin)
    counters = [sample.counters for sample in sampler.samples]
    total = {name: sum(window[name] for window in counters) for name in counters[0]} if counters else {}
    return sampler.current, stop, total


def _report(sampler: Sampler, first: int, seconds: float) -> None:
    """What the windows say of the instructions since number `first`."""
    instructions, plan = sampler.instructions - first, sampler.plan
    found = estimate(sampler.samples, instructions)
    if found is None:
        note(f"{instructions:,} instructions, no sample: the run ended before the first window of one in "
             f"{plan.period:,} instructions was done")
        return
    error = "" if math.isinf(found.cpi_error) else f" ± {found.cpi_error:.3f}"
    margin = " (one sample has no interval)" if not error else f" ± {100 * found.relative_error:.1f} %"
    note(f"CPI {found.cpi:.3f}{error} with 95 % confidence, {found.samples} samples of about {plan.cycles:,} cycles "
         f"after {plan.warmup:,} of warm-up")
    note(f"{instructions:,} instructions, {found.cycles:,.0f} cycles estimated{margin}, {sampler.rtl_cycles:,} cycles "
         f"simulated, {seconds:.2f} s, {instructions / seconds / 1e6 if seconds else 0:.2f} M instructions/s")
