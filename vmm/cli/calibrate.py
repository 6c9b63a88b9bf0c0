"""`gigogne calibrate`: measure on the RTL what the timing model needs to know."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from sim.calibration.bench import CalibrationError
from sim.engines import EngineError
from vmm.cli.options import BadInput, check_writable, engine_option, note, write_whole


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("costs.json"), show_default=True,
              metavar="FILE", help="Where the costs go.")
@engine_option
def calibrate(output: Path, engine: str) -> None:
    """Measure what instructions and events cost on the RTL, for the timing model.

    Micro-benchmarks run on the simulated processor; FILE, in JSON, holds their results with the configuration they
    belong to. 'gigogne run --technique emulate --timing model --costs FILE' uses them.
    """
    from sim.calibration.calibrate import calibrate as measure

    check_writable(output)
    try:
        with Console(stderr=True).status("building the engine") as status:
            costs = measure(engine=engine, say=lambda name, done, all_: status.update(
                f"{name}: {done + 1} of {all_}"))
    except (CalibrationError, EngineError) as error:
        raise BadInput(str(error)) from None
    write_whole(output, costs.to_json())
    note(f"wrote {len(costs.cycles)} costs of configuration {costs.identity} to {output}")
