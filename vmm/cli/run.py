"""`gigogne run`: boot an image."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sim.engines import EngineError
from sim.image import ImageError
from sim.machine import MachineError
from sim.savefile import read_state_file, write_state_file
from sim.stop import Reason, Stop
from sim.switching import Transferable
from vmm.cli.combinations import RUN, refuse_mute
from vmm.cli.exits import ExitLog, exit_cost_option, trace_exits_option
from vmm.cli.options import (
    BadInput,
    append_option,
    check_writable,
    cycles_option,
    engine_option,
    image_argument,
    initrd_option,
    load_image,
    load_modules,
    memory_option,
    note,
)
from vmm.cli.progress import Progress
from vmm.cli.status import status_of
from vmm.cli.switched import (
    fast_forward_option,
    fast_forward_to,
    go_on,
    go_on_monitored,
    make_fast,
    place_in,
    plan_of,
    sample_option,
    sampled,
    warmup_option,
)
from vmm.cli.techniques import DEVICES, TECHNIQUES, make_computer
from vmm.cli.timing import CHOICES, cache_option, costs_option, timing_of
from vmm.cli.translations import cache_of, end_process, leave, translation_cache_option

if TYPE_CHECKING:
    from vmm.cli.techniques import Computer


@click.command()
@image_argument
@memory_option
@append_option
@initrd_option
@engine_option
@cycles_option
@click.option("--technique", type=click.Choice(TECHNIQUES), default="native", show_default=True,
              help="Who executes the guest: the RTL processor, the interpreter, the translator, or the RTL "
                   "processor in guest mode, under a monitor.")
@click.option("--devices", type=click.Choice(DEVICES), default=None,
              help="What the devices are made of, for an emulated processor.  [default: software]")
@click.option("--timing", type=click.Choice(CHOICES), default="none", show_default=True,
              help="What virtual time is: a cycle per step, or the estimate of the timing model.")
@cache_option
@costs_option
@translation_cache_option
@fast_forward_option
@sample_option
@warmup_option
@click.option("--load", "load_path", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Go on from a saved state; IMAGE only gives the symbols.")
@click.option("--save", "save_path", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Save the state in which the run ends.")
@click.option("--stats", is_flag=True, help="Print the performance counters at the end.")
@trace_exits_option
@exit_cost_option
def run(image: Path, memory: int, append: str, initrd: str, engine: str, max_cycles: int | None, technique: str,
        devices: str | None, timing: str, no_cache_model: bool, costs: Path | None, translation_cache: bool,
        fast_forward: str | None, sample: str | None, sample_warmup: int, load_path: Path | None,
        save_path: Path | None, stats: bool, trace_exits: Path | None, exit_cost: int) -> None:
    """Boot IMAGE, a Multiboot or PVH ELF file.

    The serial port and the debug console go to standard output, everything else to standard error. The exit status
    is 0 when the guest exits with 0, (value << 1) | 1 for another value, and an even number for other ends.
    """
    refuse_mute(RUN)
    model = timing_of(timing, no_cache_model, costs)
    loaded, modules = load_image(image), load_modules(initrd)
    place = None if fast_forward is None else place_in(loaded, fast_forward)
    plan = None if sample is None else plan_of(sample, sample_warmup)
    for written in filter(None, (save_path, trace_exits)):
        check_writable(written)
    switches = place is not None or plan is not None
    kept = None
    if translation_cache and (technique == "dbt" or switches):
        kept = cache_of(image, None if switches else devices)
    progress = Progress()
    try:
        if switches:
            machine = make_fast(memory, progress.console, kept)
        else:
            machine = make_computer(technique, engine=engine, ram_bytes=memory, console=progress.console,
                                    devices=devices, timing=model, translations=kept, exit_cost=exit_cost)
        if load_path is not None:
            restore(machine, load_path)
            machine.symbols = loaded.symbols
        else:
            machine.load(loaded, append, modules)
    except (ImageError, EngineError, MachineError) as error:
        raise BadInput(str(error)) from None
    begin, first = time.perf_counter(), (machine.instructions, machine.cycle)
    missed = None if place is None else fast_forward_to(machine, place, progress)
    if missed is not None:
        note(missed.sentence())
        finish(machine, missed.stop, save_path, machine.counters() if stats else {}, first, begin)
        end_process(missed.status, leave(machine))
    if plan is not None:
        last, stop, counters = sampled(machine, engine, plan, max_cycles, progress)
        finish(last, stop, save_path, counters if stats else {})
        end_process(status_of(stop), leave(machine))
    was_compiling = False
    if place is not None:
        was_compiling = leave(machine)
        machine = go_on_monitored(machine, engine, exit_cost) if technique == "svm" else go_on(machine, engine)
        begin, first = time.perf_counter(), (machine.instructions, machine.cycle)
    log = None if trace_exits is None else ExitLog(machine, trace_exits)
    progress.text = lambda: f"{machine.cycle:,} cycles, {machine.instructions:,} instructions"
    machine.on_slice = progress.look
    with progress:
        stop = machine.run(max_cycles)
    if log is not None:
        log.write()
    finish(machine, stop, save_path, machine.counters() if stats else {}, first, begin)
    if stats:
        for line in exit_lines(machine):
            note(line)
    end_process(status_of(stop), leave(machine) or was_compiling)


def finish(machine: Transferable, stop: Stop, save_path: Path | None, counters: Mapping[str, int],
           first: tuple[int, int] | None = None, begin: float = 0.0) -> None:
    """Report the end of a run, with a summary if it is told where and when the run began; save its state."""
    seconds = time.perf_counter() - begin
    explain(stop)
    if first is not None:
        note(summary(machine.instructions - first[0], machine.cycle - first[1], seconds))
    if save_path is not None:
        save(machine, save_path)
    told = {name: value for name, value in counters.items() if value}
    width = max(map(len, told), default=0)
    for name, value in told.items():
        note(f"{name:<{width}} {value:>15,}")


def exit_lines(machine: Transferable) -> list[str]:
    """The exits of a guest under a monitor, as lines of a table."""
    exits = getattr(machine, "exits", None)
    return exits.table(getattr(machine, "exit_cost", 0)) if exits is not None and exits.samples else []


def restore(machine: Computer, path: Path) -> None:
    """Go on from a saved state, or BadInput; a file that can be read may still lack a register."""
    try:
        machine.restore(read_state_file(path))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise BadInput(f"'{path}' is not a saved state of this computer, or is damaged") from None


def save(machine: Transferable, path: Path) -> None:
    """Write the state file, or BadInput: a disk may be full only then."""
    try:
        write_state_file(path, machine.save())
    except MachineError as error:
        raise BadInput(str(error)) from None
    except OSError as error:
        raise BadInput(f"Cannot write '{path}': {error.strerror}") from None


def explain(stop: Stop) -> None:
    """What a person wants to know about a run that was not ended by its guest."""
    if stop.reason is not Reason.GUEST_EXIT:
        for line in stop.describe().splitlines():
            note(line)


def summary(instructions: int, cycles: int, seconds: float) -> str:
    """One line about a run."""
    cpi = f"{cycles / instructions:.2f}" if instructions else "none"
    speed = cycles / seconds if seconds else 0.0
    rate = f"{speed / 1e6:.2f} M" if speed >= 1e5 else f"{speed / 1e3:.1f} k"
    return (f"{instructions:,} instructions, {cycles:,} cycles, CPI {cpi}, {seconds:.2f} s, {rate}cycles/s, "
            f"{instructions / seconds / 1e6 if seconds else 0:.2f} M instructions/s")
