"""`gigogne compare`: one guest, executed by the RTL and by other techniques."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from rtl.board import BoardConfig
from rtl.isa.msrs import PERF_TEXT, PerfEvent
from sim.bootinfo import Module
from sim.calibration.calibrate import configuration_of
from sim.engines import EngineError
from sim.image import Image, ImageError
from sim.stop import Reason, Stop
from vmm.cli.combinations import COMPARE, refuse_mute
from vmm.cli.exits import exit_cost_option
from vmm.cli.monitored import Monitored
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
    write_whole,
)
from vmm.cli.status import Status, status_of
from vmm.cli.techniques import TECHNIQUES, make_computer
from vmm.cli.timing import CHOICES, cache_option, costs_option, timing_of
from vmm.timing.costs import Costs

if TYPE_CHECKING:
    from vmm.cli.techniques import Computer

EMULATED = ("emulate", "dbt")
OTHERS = tuple(name for name in TECHNIQUES if name != "native")
#: Counters that only hardware has, in the order of the table.
_EVENTS = tuple(event for event in PerfEvent if event not in (PerfEvent.CYCLES, PerfEvent.INSTRUCTIONS))


_OF_PROCESSOR = ("svm: stalls, caches, TLBs and walks are counted for the whole processor, with transitions and the "
                 "monitor's stub")


@dataclass(frozen=True)
class Result:
    """One execution of the guest."""

    technique: str
    stop: Stop
    instructions: int
    cycles: int
    seconds: float
    counters: dict[str, int]
    output: bytes
    exits: dict[str, int] = field(default_factory=dict)
    exit_cycles: dict[str, int] = field(default_factory=dict)

    @property
    def cpi(self) -> float:
        return self.cycles / self.instructions if self.instructions else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {"technique": self.technique, "stop": self.stop.reason.name, "exit_value": self.stop.value,
                "instructions": self.instructions, "cycles": self.cycles, "cpi": round(self.cpi, 4),
                "seconds": round(self.seconds, 3),
                "instructions_per_second": round(self.instructions / self.seconds) if self.seconds else None,
                "cycles_per_second": round(self.cycles / self.seconds) if self.seconds else None,
                "counters": self.counters} | (
                    {"exits": self.exits, "exit_cycles": self.exit_cycles} if self.exits else {})


@click.command()
@image_argument
@memory_option
@append_option
@initrd_option
@engine_option
@cycles_option
@click.option("--technique", "techniques", type=click.Choice(OTHERS), multiple=True, default=("emulate",),
              show_default=True, help="Who executes beside the RTL; may be given several times: the interpreter, the "
                                      "translator, the RTL in guest mode under a monitor.")
@click.option("--timing", type=click.Choice(CHOICES), default="model", show_default=True,
              help="What its cycles are: a cycle per step, or the estimate of the timing model.")
@cache_option
@costs_option
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Write the figures there, too.")
@exit_cost_option
def compare(image: Path, memory: int, append: str, initrd: str, engine: str, max_cycles: int | None,
            techniques: tuple[str, ...], timing: str, no_cache_model: bool, costs: Path | None,
            json_path: Path | None, exit_cost: int) -> None:
    """Run IMAGE on the RTL processor and under other techniques, and put the figures side by side.

    Cycles of software are the estimate of the timing model, with its error, or virtual time without the model. Under
    svm they are those of the guest and of the transitions into it and out of it. The status is that of the guest, or 4
    when the runs print different things or end differently.
    """
    refuse_mute(COMPARE)
    model = timing_of(timing, no_cache_model, costs)
    if model is not None:
        check_configuration(model.costs)
    loaded, modules = load_image(image), load_modules(initrd)
    if json_path is not None:
        check_writable(json_path)
    results = []
    for name in ("native", *dict.fromkeys(techniques)):
        output = bytearray()
        try:
            machine = make_computer(name, engine=engine, ram_bytes=memory, console=output.extend,
                                    timing=model if name in EMULATED else None, exit_cost=exit_cost)
            result = execute(name, machine, loaded, append, modules, max_cycles, output)
        except (ImageError, EngineError) as error:
            raise BadInput(str(error)) from None
        if result.stop.reason is Reason.USER_INTERRUPT:
            note(result.stop.describe())
            raise SystemExit(Status.INTERRUPTED)
        results.append(result)
    Console().print(table(loaded, results, model is not None))
    if json_path is not None:
        figures: dict[str, Any] = {"image": Path(loaded.name).name, "append": append, "memory": memory,
                   "runs": [result.to_dict() for result in results]}
        if model is not None:
            errors = [estimate_error(results[0], result) for result in results if result.technique in EMULATED]
            if errors:
                figures["error"] = round(errors[0], 5)
        write_whole(json_path, json.dumps(figures, indent=2) + "\n")
    native = results[0]
    for other in results[1:]:
        if (native.output, native.stop.reason, native.stop.value) != (
                other.output, other.stop.reason, other.stop.value):
            note(f"the runs differ: native ends with {_end(native.stop)} after {len(native.output)} bytes of output, "
                 f"{other.technique} with {_end(other.stop)} after {len(other.output)}")
            raise SystemExit(Status.DIVERGENCE)
    raise SystemExit(status_of(native.stop))


def execute(technique: str, machine: Computer, image: Image, append: str, modules: list[Module],
            max_cycles: int | None, output: bytearray) -> Result:
    """Run the image to its end and take the figures."""
    machine.load(image, append, modules)
    begin = time.perf_counter()
    stop = machine.run(max_cycles)
    seconds = time.perf_counter() - begin
    result = Result(technique, stop, machine.instructions, machine.cycle, seconds, machine.counters(), bytes(output))
    if not isinstance(machine, Monitored):
        return result
    return replace(result, exits=machine.exits.by_reason(), exit_cycles=machine.exits.cycles_by_reason())


def check_configuration(costs: Costs) -> None:
    """A note if the costs are those of another configuration than the RTL has."""
    if costs.configuration != configuration_of(BoardConfig()):
        note(f"the costs were measured on another configuration ({costs.identity}) than the RTL has; write them anew "
             f"with 'gigogne calibrate'")


def estimate_error(exact: Result, estimate: Result) -> float:
    """By how much the estimate is too large, as a fraction of the exact cycles; waits in HLT do not count."""
    busy = [result.cycles - result.counters.get("halted", 0) for result in (exact, estimate)]
    return busy[1] / busy[0] - 1 if busy[0] else 0.0


def table(image: Image, results: list[Result], estimated: bool = False) -> Table:
    """The figures side by side."""
    shown = Table(title=Path(image.name).name, title_justify="left")
    shown.add_column("")
    for result in results:
        shown.add_column(result.technique, justify="right")
    shown.add_column("what")

    def row(name: str, values: list[str], text: str = "") -> None:
        shown.add_row(name, *values, text)

    row("ended by", [_end(result.stop) for result in results])
    row("instructions", [f"{result.instructions:,}" for result in results])
    software = [result.technique for result in results if result.technique in EMULATED]
    row("cycles", [f"{result.cycles:,}" for result in results],
        f"{', '.join(software)}: " + ("estimate of the timing model" if estimated else
                                      "virtual time, one per instruction") if software else "")
    if estimated and software:
        row("error", [f"{estimate_error(results[0], result):+.2%}" if result.technique in EMULATED else "exact"
                      for result in results], "of the estimate, without waits in HLT")
    row("CPI", [f"{result.cpi:.3f}" for result in results])
    for event in _EVENTS:
        values = [result.counters.get(event.name.lower()) for result in results]
        if any(values):
            row(event.name.lower(), ["-" if value is None else f"{value:,}" for value in values], PERF_TEXT[event])
    under = next((result for result in results if result.exits), None)
    if under is not None:
        def row_under(name: str, value: int, text: str) -> None:
            row(name, [f"{value:,}" if result is under else "-" for result in results], text)

        row_under("transition cycles", under.counters["transition_cycles"], "into guests and out of them")
        if under.counters["monitor_cycles"]:
            row_under("monitor cycles", under.counters["monitor_cycles"], "what --exit-cost says")
        for reason, count in under.exits.items():
            row_under(f"exit {reason}", count, f"{under.exit_cycles[reason] / count:,.0f} cycles each")
        shown.caption, shown.caption_justify = _OF_PROCESSOR, "left"
    row("wall time", [f"{result.seconds:.2f} s" for result in results])
    row("M instructions/s", [f"{result.instructions / result.seconds / 1e6:,.3f}" for result in results])
    row("cycles/s", [f"{result.cycles / result.seconds:,.0f}" for result in results])
    return shown


def _end(stop: Stop) -> str:
    return f"exit {stop.value}" if stop.reason is Reason.GUEST_EXIT else stop.reason.value
