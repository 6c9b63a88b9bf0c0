"""Cycles of the instructions whose cost is promised: the slowest of each promise."""

from __future__ import annotations

from typing import Any

from sim.rtlmachine import RtlMachine

from .figures import Figure
from .instruction_cycles import measure as measure_snippets
from .snippets import SNIPPETS

#: Names of figures by what the snippets promise: register ALU, load, store, push, pop and not-taken branch; branches.
PROMISES: dict[str, float] = {"slowest simple instruction": 1.0, "slowest taken branch": 3.0}


def measure(machine: RtlMachine) -> tuple[list[Figure], dict[str, Any]]:
    """The slowest snippet of each promise, and the cycles of all that promise something."""
    promised = [snippet for snippet in SNIPPETS if snippet.contract in PROMISES.values()]
    found = list(measure_snippets(promised, machine=machine))
    figures = [Figure(name, "cycles", max(each.cycles for each in found if each.snippet.contract == promise))
               for name, promise in PROMISES.items()]
    return figures, {each.text: each.cycles for each in found}
