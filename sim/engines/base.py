"""The face all simulation engines share."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

#: Saved state: ``cycle``, ``ram``, every register and memory by name.
State = dict[str, Any]
#: What ``mark()`` gives: the engine's own.
Mark = Any


class EngineError(Exception):
    """An engine could not be built or was asked for something it does not have."""


class UnknownSignal(EngineError, KeyError):
    """No signal or memory has the given name."""

    def __str__(self) -> str:
        return str(self.args[0])


class Why(enum.Enum):
    """Reason for which ``run()`` returned."""

    STOP = "stop"
    LIMIT = "limit"
    TAP_FULL = "tap full"
    INTERRUPTED = "interrupted"


class Kind(enum.Enum):
    """What a name denotes."""

    INPUT = "input"
    REGISTER = "register"
    WIRE = "wire"
    MEMORY = "memory"


@dataclass(frozen=True)
class RunResult:
    """Outcome of ``run()``: cycles executed by this call, value of the stop signal in the last one, and the reason."""

    cycles: int
    stop: int
    why: Why


@dataclass(frozen=True)
class SignalInfo:
    """A visible name.

    ``depth`` is the number of rows of a memory, 0 for a signal. ``alias`` is the name under which the signal is known
    where it is driven, if this is another name of it; saved state holds only the names without alias.
    """

    name: str
    width: int
    kind: Kind
    depth: int = 0
    alias: str | None = None


@runtime_checkable
class Engine(Protocol):
    """A running simulation of one ``SimDesign``.

    1. All engines give the same values, cycle for cycle, under the same names.
    2. Names are dotted paths below the design's top ("cpu.x_valid"); a memory row is "cpu.temps[3]".
    3. Between calls the simulation stands just before a rising edge: ``peek()`` of a register gives its current
       state, ``peek()`` of a wire the value settled from that state and the inputs.
    4. ``run(n)`` executes at most ``n`` cycles. Reasons are tested after each cycle in the order STOP, TAP_FULL,
       INTERRUPTED, LIMIT; the state is intact after each of them and the next ``run()`` goes on.
    5. A SIGINT during ``run()`` or ``record()`` ends it within a tenth of a second with INTERRUPTED instead of raising.
    6. ``record(names, n)`` runs up to ``n`` cycles and gives the settled value of each name in each cycle, before its
       edge; it ends early, after the cycle, when ``stop`` is not zero.
    7. ``poke()`` accepts inputs, registers, memory rows and ``ram.rdata``; a wire cannot be poked.
       ``rows(name)`` is a copy of all rows of a memory.
    8. ``save()`` and ``load()`` are portable between engines: afterwards the runs are equal to the cycle.
    9. ``burst(n)`` is ``run(n)`` for one who makes many short runs: it looks neither for SIGINT nor, before the first
       cycle, for full taps. It may end early; the number of cycles is what it returns.
    10. ``rewind(mark)`` brings back cycle, registers and memories as they were when this engine gave the mark, any
        number of times; RAM and records of taps stay, and which taps are on must not have changed. Both are fast.

    Members
    -------
    cycle : number of cycles executed since the start (or as loaded).
    stop : value of the stop signal in the last cycle executed, 0 before the first.
    ram : host buffer (uint32) behind ``SimDesign.ram``; assign another array to replace it.
    """

    cycle: int
    ram: np.ndarray

    @property
    def stop(self) -> int: ...

    def run(self, max_cycles: int) -> RunResult: ...
    def burst(self, max_cycles: int) -> int: ...
    def mark(self) -> Mark: ...
    def rewind(self, mark: Mark) -> None: ...
    def peek(self, name: str) -> int: ...
    def rows(self, name: str) -> np.ndarray: ...
    def poke(self, name: str, value: int) -> None: ...
    def signals(self) -> list[SignalInfo]: ...
    def set_tap(self, name: str, enabled: bool) -> None: ...
    def drain_tap(self, name: str) -> np.ndarray: ...
    def record(self, names: Sequence[str], n_cycles: int) -> dict[str, np.ndarray]: ...
    def save(self) -> State: ...
    def load(self, state: State) -> None: ...


def tap_dtype(fields: Sequence[tuple[str, int]]) -> np.dtype:
    """Structured type of a tap's records, from ``(name, width)`` pairs: smallest unsigned type per field, packed."""
    return np.dtype([(name, value_dtype(width)) for name, width in fields])


def value_dtype(width: int) -> np.dtype:
    """Smallest unsigned numpy type that holds ``width`` bits, or ``object`` (Python integers) above 64."""
    for bits in (8, 16, 32, 64):
        if width <= bits:
            return np.dtype(f"u{bits // 8}")
    return np.dtype(object)
