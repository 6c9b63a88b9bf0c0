"""`gigogne export`: the computer as Verilog."""

from __future__ import annotations

from pathlib import Path

import click

from sim.design import board_design
from sim.engines import EngineError
from sim.engines.verilog import export_verilog
from vmm.cli.options import BadInput, check_writable, note, write_whole


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("gigogne.v"), show_default=True,
              help="The Verilog file.")
def export(output: Path) -> None:
    """Write the computer as one Verilog file with the module `top`."""
    check_writable(output)
    try:
        text = export_verilog(board_design())
    except EngineError as error:
        raise BadInput(str(error)) from None
    write_whole(output, text)
    note(f"{len(text.splitlines()):,} lines in {output}")
