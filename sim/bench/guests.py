"""Runs of guests to their end, and what the second half of a longer run cost."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from sim.image import Image
from sim.rtlmachine import RtlMachine
from sim.stop import Reason
from vmm.cli.monitored import Monitored

Resettable: TypeAlias = RtlMachine | Monitored
#: A guest that has not ended by then has not understood its command line.
MAX_CYCLES = 200_000_000


class GuestFailed(Exception):
    """A guest did not end as it should; the message is one sentence."""


def run_to_end(machine: Resettable, image: Path, command_line: str) -> dict[str, int]:
    """Counters of the whole run of a guest, from reset.

    Raises
    ------
    GuestFailed
        If the guest does not exit with 0.
    """
    machine.reset()
    machine.load(Image.load(image), command_line)
    stop = machine.run(MAX_CYCLES)
    if stop.reason is not Reason.GUEST_EXIT or stop.value != 0:
        value = "" if stop.value is None else f" {stop.value}"
        raise GuestFailed(f"{image.name} with '{command_line}' ended by {stop.reason.value}{value}")
    return machine.counters()


def steady(machine: Resettable, image: Path, iterations: int, options: str = "") -> dict[str, int]:
    """Counters of ``iterations`` iterations that follow as many others: boot and first touches cancel out."""
    once, twice = (run_to_end(machine, image, f"iterations={count} {options}".strip())
                   for count in (iterations, 2 * iterations))
    return {name: twice[name] - once[name] for name in once}
