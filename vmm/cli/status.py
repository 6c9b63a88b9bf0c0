"""Exit statuses of the command.

The guest's own statuses are 0, for exit value 0, and otherwise odd, as QEMU's isa-debug-exit makes them:
`(value << 1) | 1`, of which the shell keeps eight bits. Every status of ours is even.
"""

from __future__ import annotations

from enum import IntEnum

from sim.stop import Reason, Stop


class Status(IntEnum):
    """Statuses that are not the guest's."""

    OK = 0
    BAD_INPUT = 2
    DIVERGENCE = 4
    TRIPLE_FAULT = 10
    HALT_FOREVER = 12
    RESET = 14
    LIMIT = 16
    BREAKPOINT = 18
    UNSUPPORTED = 20
    NOT_REACHED = 22
    INTERRUPTED = 130


_STATUS = {
    Reason.TRIPLE_FAULT: Status.TRIPLE_FAULT,
    Reason.HALT_FOREVER: Status.HALT_FOREVER,
    Reason.RESET: Status.RESET,
    Reason.CYCLE_LIMIT: Status.LIMIT,
    Reason.INSTRUCTION_LIMIT: Status.LIMIT,
    Reason.BREAKPOINT: Status.BREAKPOINT,
    Reason.UNSUPPORTED: Status.UNSUPPORTED,
    Reason.USER_INTERRUPT: Status.INTERRUPTED,
}


def status_of(stop: Stop) -> int:
    """The exit status a stop leads to."""
    if stop.reason is Reason.GUEST_EXIT:
        return (stop.value << 1 | 1) & 0xFF if stop.value else 0
    return _STATUS[stop.reason]
