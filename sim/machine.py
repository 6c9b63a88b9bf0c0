"""What every computer offers, whatever executes its guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from .stop import ArchState, Reason, Stop

#: Smallest RAM that holds the PC's low memory and something above it; largest below the memory-mapped devices.
MIN_RAM, MAX_RAM = 2 << 20, 3 << 30

ConsoleSink = Callable[[bytes], None]


class MachineError(Exception):
    """A machine was asked for something it cannot do; the message is one sentence."""


@runtime_checkable
class Machine(Protocol):
    """A computer with an image in its memory.

    1. ``run`` goes on from where the machine stands; it returns a typed stop and never raises for what a guest does.
    2. Bytes the guest writes to the serial port and the debug console go to ``console`` in order, at the latest
       before ``run`` returns.
    3. ``state`` and ``set_state`` give and take the processor as a dictionary any other machine understands; the
       memory of a machine that stands between instructions is ``memory_image()``.

    Members
    -------
    cycle, instructions : counts since the start.
    """

    @property
    def cycle(self) -> int: ...

    @property
    def instructions(self) -> int: ...

    def run(self, max_cycles: int | None = None) -> Stop: ...
    def state(self) -> ArchState: ...
    def set_state(self, state: ArchState) -> None: ...
    def memory_image(self) -> np.ndarray: ...
    def counters(self) -> dict[str, int]: ...


def parse_ram_size(text: str) -> int:
    """Bytes of RAM from QEMU's notation: MiB, or with a suffix K, M, G.

    Raises
    ------
    MachineError
        It is not a size, or not one this computer can have.
    """
    digits, suffix = (text[:-1], text[-1].upper()) if text and not text[-1].isdigit() else (text, "M")
    shifts = {"K": 10, "M": 20, "G": 30}
    if not digits.isascii() or not digits.isdigit() or suffix not in shifts:
        raise MachineError(f"Memory size '{text}' is not a number of MiB, with or without a suffix K, M or G")
    size = int(digits) << shifts[suffix]
    check_ram_size(size, f"'{text}'")
    return size


def check_ram_size(size: int, shown: str | None = None) -> None:
    """Raise MachineError unless the computer can have `size` bytes of RAM."""
    shown = shown or f"{size} bytes"
    if not MIN_RAM <= size <= MAX_RAM:
        raise MachineError(f"Memory size {shown} is out of range: from {MIN_RAM >> 20} to {MAX_RAM >> 20} MiB")
    if size % 4096:
        raise MachineError(f"Memory size {shown} is not a multiple of 4 KiB")


__all__ = ["ArchState", "ConsoleSink", "Machine", "MachineError", "Reason", "Stop", "check_ram_size", "parse_ram_size"]
