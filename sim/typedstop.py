"""The typed stop of a machine, from its state and its memory."""

from __future__ import annotations

from collections.abc import Callable

from .disassembly import MAX_LENGTH
from .paging import read_linear
from .stop import ArchState, Reason, Stop, place_of
from .symbols import SymbolTable


def typed_stop(reason: Reason, cycle: int, instructions: int, state: ArchState, symbols: SymbolTable,
               read: Callable[[int, int], bytes], value: int | None = None, detail: str = "") -> Stop:
    """The stop of a machine that stands in `state`; `read` gives bytes at a physical address."""
    place = place_of(reason, state)
    code = read_linear(read, state, state["segments"]["cs"]["base"] + place & 0xFFFF_FFFF, MAX_LENGTH)
    return Stop(reason, cycle, instructions, state, value, symbols.describe(place), code, detail)
