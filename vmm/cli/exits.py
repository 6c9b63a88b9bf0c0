"""Options about guests in guest mode: a trace of entries and exits, and what an exit costs the monitor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from vmm.cli.options import check_writable, write_whole

if TYPE_CHECKING:
    from sim.exittrace import Entry, Exit
    from sim.rtlmachine import RtlMachine
    from vmm.cli.techniques import Computer

_JSON = ".jsonl"

trace_exits_option = click.option(
    "--trace-exits", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help=f"Write a line for each VMRUN and each #VMEXIT; JSON if FILE ends with {_JSON}.")
exit_cost_option = click.option(
    "--exit-cost", type=click.IntRange(min=0), default=0, show_default=True, metavar="CYCLES",
    help="Cycles the work of the monitor is said to take at each exit, for '--technique svm'.")


class ExitLog:
    """The lines of `--trace-exits`, from its making on.

    Raises
    ------
    BadInput
        The file could not be written.
    """

    def __init__(self, machine: Computer, path: Path) -> None:
        from sim.exittrace import ExitTrace, as_json, as_text
        from vmm.cli.monitored import Monitored

        check_writable(path)
        self._path = path
        self._lines: list[str] = []
        shown = as_json if path.suffix == _JSON else as_text

        def told(event: Entry | Exit) -> None:
            self._lines.append(shown(event))

        computer = machine.machine if isinstance(machine, Monitored) else cast("RtlMachine", machine)
        self._trace = ExitTrace(computer, told)

    def write(self) -> None:
        """The file, whole; nothing is followed any more."""
        self._trace.close()
        write_whole(self._path, "".join(f"{line}\n" for line in self._lines))
