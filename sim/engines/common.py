"""Small things all engines do the same way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from amaranth.hdl import Value

from .base import Engine, EngineError, Mark, State, value_dtype
from .design import SimDesign, Tap
from .elaborate import RDATA_NAME

_ROW = re.compile(r"(.+)\[(\d+)\]\Z")


def parse_row(name: str) -> tuple[str, int | None]:
    """Split "cpu.temps[3]" into memory and row; the row is None for a plain name."""
    match = _ROW.match(name)
    return (match[1], int(match[2])) if match else (name, None)


def full_tap(counts: Mapping[str, int], capacity: int) -> str | None:
    """The first tap that has no room for another record: nothing may run until it is drained."""
    return next((name for name, count in counts.items() if count >= capacity), None)


def check_taps(counts: Mapping[str, int], capacity: int) -> None:
    """Raise EngineError if a tap is full; recording has no other way to say so."""
    name = full_tap(counts, capacity)
    if name is not None:
        raise EngineError(f"Tap '{name}' is full: drain it, or switch it off and drain it, before recording goes on")


def new_ram(design: SimDesign, ram: np.ndarray | None) -> np.ndarray:
    """The host buffer given, checked, or a new one of zeroes."""
    if ram is None:
        return np.zeros(design.ram.words if design.ram is not None else 0, dtype=np.uint32)
    return checked_ram(ram)


def resume(engine: Engine, state: State) -> None:
    """What `load` does last on every engine: the cycle, and the RAM, in the buffer there is if it fits."""
    engine.cycle = state["cycle"]
    if len(state["ram"]) == len(engine.ram):
        engine.ram[:] = state["ram"]
    else:
        engine.ram = state["ram"].copy()


class SavedMarks:
    """`mark` and `rewind` of an engine that has nothing faster than `save` and `load`."""

    def mark(self: Engine) -> Mark:
        return {name: part for name, part in self.save().items() if name != "ram"}

    def rewind(self: Engine, mark: Mark) -> None:
        self.load({**mark, "ram": self.ram})


def input_values(design: SimDesign) -> dict[str, int]:
    """Values of the inputs at start: those their signals have as ``init``."""
    signals = {name: Value.cast(signal) for name, signal in design.inputs.items()}
    if design.ram is not None:
        signals[RDATA_NAME] = Value.cast(design.ram.rdata)
    return {name: signal.init & ((1 << len(signal)) - 1)  # type: ignore[attr-defined]
            for name, signal in signals.items()}


def checked_ram(ram: np.ndarray) -> np.ndarray:
    if ram.dtype != np.uint32 or ram.ndim != 1 or not ram.flags.c_contiguous or not ram.flags.writeable:
        raise EngineError("The RAM buffer must be a writeable, contiguous, one-dimensional uint32 array")
    return ram


def memory_array(rows: Sequence[int], width: int) -> np.ndarray:
    """Rows of a memory as an array; Python integers above 64 bits."""
    return np.array(rows, dtype=value_dtype(width))


def tap_widths(tap: Tap) -> list[tuple[str, int]]:
    return [(name, len(signal)) for name, signal in tap.fields]
