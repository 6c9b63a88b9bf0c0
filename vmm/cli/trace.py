"""`gigogne trace`: a waveform of a window of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sim.bootinfo import Module
from sim.engines import EngineError
from sim.image import Image, ImageError
from sim.machine import MachineError
from sim.rtlmachine import RtlMachine
from sim.seek import Condition, leaves_for, reaches
from sim.stop import Reason, Stop
from sim.switching import Place
from vmm.cli.combinations import TRACE, refuse_mute
from vmm.cli.monitored import Monitored
from vmm.cli.options import (
    BadInput,
    append_option,
    check_waveform,
    engine_option,
    image_argument,
    initrd_option,
    load_image,
    load_modules,
    memory_option,
    note,
    place_of,
)
from vmm.cli.progress import Progress
from vmm.cli.status import Status
from vmm.cli.switched import fast_forward_option, fast_forward_to, go_on, make_fast, place_in
from vmm.cli.techniques import TECHNIQUES
from vmm.cli.tracesubject import Subject, exit_code
from vmm.cli.translations import cache_of, leave

if TYPE_CHECKING:
    from vmm.engine.dbt.diskcache import DiskCache

@click.command()
@image_argument
@memory_option
@append_option
@initrd_option
@engine_option
@click.option("--technique", type=click.Choice(TECHNIQUES), default="native", show_default=True,
              help="Who executes the guest. With an emulated processor the waveform is of RTL devices; under svm it is "
                   "of the processor, with the monitor's part on it.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("gigogne.vcd"), show_default=True,
              help="The VCD file; the GTKWave savefile lies beside it.")
@click.option("--from", "--from-cycle", "first", type=click.IntRange(min=0), default=None, metavar="CYCLE",
              help="First cycle of the window.  [default: 0, or 100 before the trigger]")
@click.option("--to", "--to-cycle", "last", type=click.IntRange(min=1), default=None, metavar="CYCLE",
              help="First cycle after the window.")
@click.option("--cycles", type=click.IntRange(min=1), default=2000, show_default=True, metavar="N",
              help="Length of the window, without --to.")
@click.option("--at", "trigger", default=None, metavar="PLACE",
              help="Place the window where execution first reaches a symbol or a hexadecimal address.")
@click.option("--at-exit", "left_for", default=None, metavar="CODE",
              help="Place the window where a guest in guest mode is first left with this exit code, by name or number.")
@fast_forward_option
@click.option("--before", type=click.IntRange(min=0), default=100, show_default=True, metavar="N",
              help="Cycles shown before the trigger.")
@click.option("--signals", type=click.Choice(("all", "groups")), default="all", show_default=True,
              help="All signals of the computer, or those of the savefile's groups.")
def trace(image: Path, memory: int, append: str, initrd: str, engine: str, technique: str, output: Path,
          first: int | None, last: int | None, cycles: int, trigger: str | None, left_for: str | None,
          fast_forward: str | None, before: int, signals: str) -> None:
    """Run IMAGE and write what its signals do in a window of cycles, as VCD with a GTKWave savefile."""
    if sum(option is not None for option in (first, trigger, left_for, fast_forward)) > 1:
        raise BadInput("Give only one of --from, --at, --at-exit and --fast-forward-to to place the window")
    refuse_mute(TRACE)
    loaded, modules = load_image(image), load_modules(initrd)
    check_waveform(output)
    address = place_of(loaded, trigger) if trigger is not None else None
    place = place_in(loaded, fast_forward) if fast_forward is not None else None
    event: tuple[Condition, str] | None = None
    if address is not None:
        event = reaches(address), f"Execution never reaches {trigger}"
    elif left_for is not None:
        event = leaves_for(exit_code(left_for)), f"No guest is left for {left_for}"
    try:
        start = first or 0
        if technique in ("emulate", "dbt"):
            from vmm.cli.tracedevices import Guest, Window, trace_devices

            window = Window(start, last, cycles, None if address is None else (address, str(trigger)), before)
            trace_devices(Guest(loaded, append, modules, technique, engine, memory), output, window, signals == "all")
            return
        if place is None:
            machine = (Monitored if technique == "svm" else RtlMachine)(engine=engine, ram_bytes=memory)
            subject = Subject(machine, loaded, append, modules)
            subject.load()
        else:
            subject = Subject(forwarded(loaded, cache_of(image, None), place, memory, engine, append, modules),
                              loaded, append, modules)
            start = subject.cycle
        if event is not None:
            found = subject.seek(event[0])
            if isinstance(found, Stop):
                leave_if_interrupted(found)
                raise BadInput(f"{event[1]}: {found.reason.value} at cycle {found.cycle}")
            note(f"{trigger or f'the exit {left_for}'} is reached at cycle {found}")
            start = max(found - before, 0)
            subject.restart()
        start = max(start, subject.cycle)
        stop = subject.advance(start - subject.cycle) if start > subject.cycle else None
        if stop is not None:
            leave_if_interrupted(stop)
            raise BadInput(f"The run ends before cycle {start}: {stop.reason.value} at cycle {stop.cycle}")
        last = last or start + cycles
        if last <= start:
            raise BadInput(f"The window from cycle {start} to {last} is empty")
        end = subject.write(output, last, signals == "all")
    except (ImageError, EngineError, MachineError) as error:
        raise BadInput(str(error)) from None
    except OSError as error:
        raise BadInput(f"Cannot write '{output}': {error.strerror}") from None
    note(f"cycles {start} to {end - 1} in {output}; gtkwave {output.with_suffix('.gtkw')} shows them")


def forwarded(image: Image, kept: DiskCache, place: Place, memory: int, engine: str, append: str,
              modules: list[Module]) -> RtlMachine:
    """The RTL at a place the fast software engine has run to, or BadInput."""
    fast = make_fast(memory, lambda _data: None, kept)
    fast.load(image, append, modules)
    missed = fast_forward_to(fast, place, Progress())
    leave(fast)
    if missed is None:
        return go_on(fast, engine)
    leave_if_interrupted(missed.stop)
    raise BadInput(missed.sentence())


def leave_if_interrupted(stop: Stop) -> None:
    """Ctrl-C before the window: the state, and no file."""
    if stop.reason is Reason.USER_INTERRUPT:
        for line in stop.describe().splitlines():
            note(line)
        raise SystemExit(Status.INTERRUPTED)
