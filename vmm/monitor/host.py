"""What the monitor needs of the computer it runs a guest on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from sim.stop import ArchState, Reason


class Host(Protocol):
    """The simulated processor and its memory, between two rings of the doorbell.

    1. `run` goes on until the doorbell rings (DOORBELL), so many cycles are over (CYCLE_LIMIT), or `interrupted` says
       so (USER_INTERRUPT), which is asked several times a second, if it is to be heeded at all.
    2. `word` and `set_word` are of the memory the processor sees, in aligned words of RAM. `spill` brings the buffer
       `ram` to the present, `refill` lets the processor see what was changed there. All four are for a processor that
       has rung.

    Members
    -------
    ram : the buffer. cycle : cycles so far. guest_cycles, guest_instructions : those in the guest.
    has_iterated : what was done last is an iteration of a REP instruction that goes on.
    breakpoint, set_breakpoint : DR0 to DR3.
    on_slice : called several times a second while the processor runs.
    interrupted : whether somebody asks for an end.
    """

    ram: np.ndarray
    on_slice: Callable[[], None]
    interrupted: Callable[[], bool]

    @property
    def cycle(self) -> int: ...

    @property
    def guest_cycles(self) -> int: ...

    @property
    def guest_instructions(self) -> int: ...

    @property
    def has_iterated(self) -> bool: ...

    def start(self, state: ArchState) -> None: ...
    def state(self) -> ArchState: ...
    def counters(self) -> dict[str, int]: ...
    def breakpoint(self, number: int) -> int: ...
    def set_breakpoint(self, number: int, address: int) -> None: ...
    def kick(self, wanted: bool) -> None: ...
    def run(self, cycles: int | None = None, heeding: bool = True) -> Reason: ...
    def word(self, address: int) -> int: ...
    def set_word(self, address: int, value: int) -> None: ...
    def spill(self) -> None: ...
    def refill(self) -> None: ...
