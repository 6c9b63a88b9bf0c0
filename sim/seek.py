"""Finding the cycle of an event on the RTL computer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rtl.isa.exitcodes import ExitCode
from rtl.isa.retire import RetireCause

from .design import RETIRE
from .rtlmachine import RtlMachine
from .stop import Stop

#: Records of the retire port and the base of CS, and for each record whether it is the one.
Condition = Callable[[np.ndarray, int], np.ndarray]
#: Cycles run beyond the event at most.
_PIECE = 50_000
_M32 = 0xFFFF_FFFF


def reaches(address: int) -> Condition:
    """The instruction at a linear address is the next."""
    def reached(records: np.ndarray, base: int) -> np.ndarray:
        linear = records["next_eip"].astype(np.uint64) + np.uint64(base) & np.uint64(_M32)
        return np.asarray(linear == address)

    return reached


def leaves_for(code: int) -> Condition:
    """A #VMEXIT with that EXITCODE; for INVALID, a VMRUN that fails."""
    shown = code & _M32 if code == ExitCode.INVALID else code

    def left(records: np.ndarray, _base: int) -> np.ndarray:
        return np.asarray((records["cause"] == RetireCause.VMEXIT.value) & (records["error"] == shown))

    return left


def seek(machine: RtlMachine, advance: Callable[[int], Stop | None], condition: Condition) -> int | Stop:
    """Run the computer with ``advance``, which takes cycles, past the first event; its cycle, or why there is none."""
    found: list[int] = []

    def look() -> None:
        records = machine.engine.drain_tap(RETIRE)
        base = machine.engine.peek("core.segments.cs_base")
        hits = condition(records, base) & (records["cycle"] < machine.engine.cycle)
        found.extend(records["cycle"][hits][:1].tolist())

    machine.engine.set_tap(RETIRE, True)
    machine.on_records = look
    try:
        while True:
            stop = advance(_PIECE)
            look()
            if found:
                return found[0]
            if stop is not None:
                return stop
    finally:
        machine.on_records = lambda: None
        machine.engine.set_tap(RETIRE, False)
        machine.engine.drain_tap(RETIRE)
