"""`gigogne run`: boot an image."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sim.engines import EngineError
from sim.image import ImageError
from sim.machine import Machine, MachineError
from sim.savefile import read_state_file, write_state_file
from sim.stop import Reason, Stop
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
from vmm.cli.techniques import TECHNIQUES, make_computer

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
              help="Who executes the guest: the RTL processor, or the interpreter.")
@click.option("--load", "load_path", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Go on from a saved state; IMAGE only gives the symbols.")
@click.option("--save", "save_path", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Save the state in which the run ends.")
@click.option("--stats", is_flag=True, help="Print the performance counters at the end.")
def run(image: Path, memory: int, append: str, initrd: str, engine: str, max_cycles: int | None, technique: str,
        load_path: Path | None, save_path: Path | None, stats: bool) -> None:
    """Boot IMAGE, a Multiboot or PVH ELF file.

    The serial port and the debug console go to standard output, everything else to standard error. The exit status
    is 0 when the guest exits with 0, (value << 1) | 1 for another value, and an even number for other ends.
    """
    loaded, modules = load_image(image), load_modules(initrd)
    if save_path is not None:
        check_writable(save_path)
    progress = Progress()
    try:
        machine = make_computer(technique, engine=engine, ram_bytes=memory, console=progress.console)
        if load_path is not None:
            restore(machine, load_path)
            machine.symbols = loaded.symbols
        else:
            machine.load(loaded, append, modules)
    except (ImageError, EngineError, MachineError) as error:
        raise BadInput(str(error)) from None
    first, begin = (machine.instructions, machine.cycle), time.perf_counter()
    progress.text = lambda: f"{machine.cycle:,} cycles, {machine.instructions:,} instructions"
    machine.on_slice = progress.look
    with progress:
        stop = machine.run(max_cycles)
    seconds = time.perf_counter() - begin
    report(machine, stop, first, seconds)
    if save_path is not None:
        save(machine, save_path)
    if stats:
        for name, value in machine.counters().items():
            if value:
                note(f"{name:<20} {value:>15,}")
    raise SystemExit(status_of(stop))


def restore(machine: Computer, path: Path) -> None:
    """Go on from a saved state, or BadInput; a file that can be read may still lack a register."""
    try:
        machine.restore(read_state_file(path))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise BadInput(f"'{path}' is not a saved state of this computer, or is damaged") from None


def save(machine: Computer, path: Path) -> None:
    """Write the state file, or BadInput: a disk may be full only then."""
    try:
        write_state_file(path, machine.save())
    except OSError as error:
        raise BadInput(f"Cannot write '{path}': {error.strerror}") from None


def report(machine: Machine, stop: Stop, first: tuple[int, int], seconds: float) -> None:
    """What a person wants to know about a run that ended and began with `first` instructions and cycles."""
    if stop.reason is not Reason.GUEST_EXIT:
        for line in stop.describe().splitlines():
            note(line)
    note(summary(machine.instructions - first[0], machine.cycle - first[1], seconds))


def summary(instructions: int, cycles: int, seconds: float) -> str:
    """One line about a run."""
    cpi = f"{cycles / instructions:.2f}" if instructions else "none"
    speed = cycles / seconds if seconds else 0.0
    rate = f"{speed / 1e6:.2f} M" if speed >= 1e5 else f"{speed / 1e3:.1f} k"
    return (f"{instructions:,} instructions, {cycles:,} cycles, CPI {cpi}, {seconds:.2f} s, {rate}cycles/s, "
            f"{instructions / seconds / 1e6 if seconds else 0:.2f} M instructions/s")
