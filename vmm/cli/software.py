"""What machines with devices in software have in common behind `sim.machine.Machine`."""

from __future__ import annotations

from sim.machine import ConsoleSink
from sim.stop import Reason
from vmm.devices.protocol import Platform
from vmm.engine.emulate import StopReason

__all__ = ["REASONS", "pass_on"]

#: Ends of a run, and what they are called at the command line. A limit is the machine's own.
REASONS = {
    StopReason.GUEST_EXIT: Reason.GUEST_EXIT,
    StopReason.HALT_FOREVER: Reason.HALT_FOREVER,
    StopReason.SHUTDOWN: Reason.TRIPLE_FAULT,
    StopReason.RESET: Reason.RESET,
    StopReason.BREAKPOINT: Reason.BREAKPOINT,
}


def pass_on(platform: Platform, console: ConsoleSink) -> None:
    """Give the console what the guest has said since the last time."""
    said = platform.console_out
    if said:
        console(bytes(said))
        said.clear()
