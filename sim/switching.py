"""Two machines on one RAM buffer: a fast one that runs to the interesting place, and the RTL that goes on from there.

Only the state of processor and devices moves; neither machine is built anew.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from typing import Protocol

from .machine import Machine, MachineError
from .savefile import SavedState
from .stop import Reason, Stop
from .symbols import SymbolTable

_COUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:[eE]([0-9]{1,2})|([kKMG]))?")
_ADDRESS = re.compile(r"0[xX]([0-9a-fA-F]{1,8})|([0-9][0-9a-fA-F]{0,8})[hH]")
_UNITS = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}
_M32 = 0xFFFF_FFFF


class Transferable(Machine, Protocol):
    """A machine that takes over from, and hands over to, another one on its RAM buffer.

    1. ``hand_over`` gives the state without copying RAM; the machine goes on only by ``restore``. A guest that ended
       the run while things in flight completed gives a `Stop` instead.
    2. ``breakpoints`` are linear addresses; a run stops before the instruction there, unless it begins with it.
    """

    symbols: SymbolTable

    @property
    def breakpoints(self) -> Set[int]: ...
    @breakpoints.setter
    def breakpoints(self, addresses: set[int]) -> None: ...
    def save(self) -> SavedState: ...
    def hand_over(self) -> SavedState | Stop: ...
    def restore(self, saved: SavedState) -> None: ...


@dataclass(frozen=True)
class Place:
    """Where to stop: the first arrival at a linear ``address``, or after so many more ``instructions``."""

    text: str
    address: int | None = None
    instructions: int = 0


def parse_count(text: str) -> int | None:
    """A number as people write many of something: 1000000, 1e6, 2.5M, 10k; None if it is not one."""
    match = _COUNT.fullmatch(text)
    if match is None:
        return None
    digits, exponent, unit = match.groups()
    whole, _point, fraction = digits.partition(".")
    scale = 10 ** int(exponent or 0) * _UNITS.get(unit, 1)
    value, rest = divmod(int(whole + fraction) * scale, 10 ** len(fraction))
    return None if rest else value


def parse_place(text: str, symbols: SymbolTable) -> Place:
    """The place a user means: a symbol, an address such as 0x100123 or 100123h, or a number of instructions.

    Raises
    ------
    MachineError
        It is none of them.
    """
    address = symbols.address_of(text)
    if address is None:
        match = _ADDRESS.fullmatch(text)
        if match:
            address = int(match[1] or match[2], 16)
    if address is not None and address <= _M32:
        return Place(text, address)
    count = parse_count(text)
    if not count:
        raise MachineError(f"'{text}' is neither a symbol of the image, nor an address as 0x100000, nor a number of "
                           f"instructions as 1000000 or 10M")
    return Place(text, None, count)


def run_to(machine: Transferable, place: Place) -> Stop | None:
    """Run to a place; None when it is reached, else how the run ended before."""
    if place.address is None:
        stop = machine.run(place.instructions)
        return None if stop.reason is Reason.CYCLE_LIMIT else stop
    state = machine.state()
    if state["segments"]["cs"]["base"] + state["eip"] & _M32 == place.address:
        return None
    machine.breakpoints = {place.address}
    try:
        stop = machine.run()
    finally:
        machine.breakpoints = set()
    return None if stop.reason is Reason.BREAKPOINT else stop


def switch(source: Transferable, target: Transferable) -> Stop | None:
    """Let ``target`` go on where ``source`` stands; a stop if the guest just ended the run."""
    handed = source.hand_over()
    if isinstance(handed, Stop):
        return handed
    target.restore(handed)
    target.symbols = source.symbols
    return None
