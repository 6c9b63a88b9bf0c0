"""The timing model of one processor: the record, its methods, and the costs of runs and events."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from rtl.isa.decoder import Insn

from .caches import Caches
from .costs import Costs
from .pipeline import RunCost, run_cost
from .record import TimingState, fresh_state
from .tlbs import TableMemory

__all__ = ["TimingModel"]


class TimingModel(Caches):
    """Estimates the cycles that the RTL processor would take.

    1. The static part is `run`; the dynamic parts are the methods of `Branches` and `Caches`, and the costs of events.
    2. Without ``caches`` no method of `Caches` is to be called; every access then hits.

    Parameters
    ----------
    costs : measured costs of the configuration.
    memory : physical memory, whose page tables the models read. ram_bytes : how much of it is RAM.
    caches : model caches and TLBs.
    """

    def __init__(self, costs: Costs, memory: TableMemory, ram_bytes: int, caches: bool = True) -> None:
        self.costs = costs
        self.memory = memory
        self.caches = caches
        self.state = fresh_state(costs, ram_bytes)

    def adopt(self, state: TimingState) -> None:
        """Go on with another record, which becomes a copy of the present one: where native code can reach it."""
        ctypes.memmove(ctypes.addressof(state), ctypes.addressof(self.state), ctypes.sizeof(TimingState))
        self.state = state

    @property
    def cycles(self) -> int:
        """The estimate so far."""
        return int(self.state.cycles)

    def add(self, cycles: int) -> None:
        """Let cycles go by."""
        self.state.cycles += cycles

    def run(self, insns: Iterable[Insn], address: int, code32: bool = True) -> RunCost:
        """Costs of a straight run of instructions that begins at EIP ``address``."""
        return run_cost(self.costs, insns, address, code32)

    def delivery(self, *, outer: bool, error_code: bool = False, page_fault: bool = False, external: bool = False
                 ) -> int:
        """Cycles of the delivery of an exception or an external interrupt."""
        cycles = self.costs.cycles
        return (cycles["exception"] + outer * cycles["outer_event"] + error_code * cycles["error_code"]
                + page_fault * cycles["page_fault"] + external * cycles["interrupt"])
