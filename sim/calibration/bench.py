"""A micro-benchmark: copies of a piece of code in a row, on the stage of `sim.bench`, and when each part retired."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rtl.isa.exceptions import Vector
from rtl.isa.paging import PTE_A, PTE_D, PTE_P, PTE_PS, PTE_RW, PTE_US
from rtl.isa.retire import RetireCause
from sim.bench.stage import (
    CODE0,
    COUNTER,
    DIRECTORY,
    FAR,
    HANDLERS,
    IDT,
    INTERRUPT,
    NEAR,
    OVER_UD,
    SOFT,
    SYSENTER,
    TASK_ENTRY,
    play,
    row_start,
    stage,
)
from sim.image import Image, Segment
from sim.rtlmachine import RtlMachine
from sim.stop import Reason

__all__ = ["COUNTER", "FARM", "FIRST", "IRQ", "LARGE", "PAGES", "CalibrationError", "Probe", "image_of", "measure",
           "measure_interrupt"]

#: Where lines are that nothing else uses, of RAM; where each page of linear addresses is `FARM`; where each 4 MiB are
#: the RAM again.
FARM, PAGES, LARGE = 0x20_0000, 0x1000_0000, 0x2000_0000
_TABLE = 0x10_B000
_GP, _PF, _TIMER = HANDLERS + 0xC0, HANDLERS + 0xE0, HANDLERS + 0x100
#: First vector of the interrupt controller.
IRQ = 0x20
_HANDLERS = {
    NEAR: "90c3", FAR: "90cb", INTERRUPT: "90cf", SYSENTER: "900f35", TASK_ENTRY: "cfebfd",
    OVER_UD: "90 83042402 cf",            # nop; add dword ptr [esp], 2; iretd
    _GP: "90 83c404 ff0424 cf",           # nop; add esp, 4; inc dword ptr [esp]; iretd
    _PF: "90 83c404 83042405 cf",         # nop; add esp, 4; add dword ptr [esp], 5; iretd
    _TIMER: "90 b020 e620 cf",            # nop; end of interrupt; iretd
}
#: Copies of a row that do not count.
FIRST = 4
_LIMIT = 400_000
_RIGHTS = PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D

Piece = bytes | Callable[[int, int], bytes]


class CalibrationError(Exception):
    """A micro-benchmark did not do what it should; the message is one sentence."""


@dataclass(frozen=True)
class Probe:
    """One micro-benchmark.

    A copy is ``before``, ``target`` and ``after``; a piece that is no bytes is made from its address and the number of
    the copy. What counts is the time from the end of ``before`` to the retirement ``upto`` of the copy (counted from 1;
    negative from the end), less ``less``.

    Members
    -------
    leading : retirements of ``before``.
    setup : code that runs before the row. ring : privilege level.
    places : memory contents: address, bytes.
    worst : the slowest copy counts, not the fastest.
    """

    name: str
    target: Piece
    less: int = 1
    before: Piece = b""
    leading: int = 0
    after: Piece = b"\x90"
    upto: int = -1
    setup: bytes = b""
    ring: int = 0
    copies: int = 16
    places: Sequence[tuple[int, bytes]] = ()
    worst: bool = False


def _piece(piece: Piece, address: int, number: int) -> bytes:
    return piece if isinstance(piece, bytes) else piece(address, number)


def _row(probe: Probe) -> tuple[bytes, list[int]]:
    """The row, and the address behind each copy."""
    start = row_start(probe.setup)
    row, ends = b"", []
    for number in range(probe.copies):
        for piece in (probe.before, probe.target, probe.after):
            row += _piece(piece, start + len(row), number)
        ends.append(start + len(row))
    return row, ends


def _gate(handler: int) -> bytes:
    return struct.pack("<HHBBH", handler & 0xFFFF, CODE0, 0, 0xEE, handler >> 16)


def _parts(places: Sequence[tuple[int, bytes]]) -> dict[int, bytes]:
    """What differs from the stage of the instruction table."""
    directory = [0] * 1024
    directory[0] = _RIGHTS | PTE_PS
    for number in range(PAGES >> 22, LARGE >> 22):
        directory[number] = _TABLE | _RIGHTS
    for number in range(LARGE >> 22, (LARGE >> 22) + 32):
        directory[number] = _RIGHTS | PTE_PS
    idt = bytearray(8 * 256)
    for vector, handler in ((SOFT, INTERRUPT), (Vector.UD, OVER_UD), (Vector.GP, _GP), (Vector.PF, _PF),
                            (IRQ, _TIMER)):
        idt[8 * vector:8 * vector + 8] = _gate(handler)
    handlers = bytearray(0x200)
    for address, text in _HANDLERS.items():
        code = bytes.fromhex(text)
        handlers[address - HANDLERS:address - HANDLERS + len(code)] = code
    return {DIRECTORY: struct.pack("<1024I", *directory), IDT: bytes(idt), HANDLERS: bytes(handlers),
            _TABLE: struct.pack("<1024I", *[FARM | _RIGHTS] * 1024), **dict(places)}


def image_of(probe: Probe) -> tuple[Image, list[int]]:
    """The image that runs the probe, and the address behind each copy."""
    row, ends = _row(probe)
    plain = stage(probe.name, row, probe.setup, probe.ring)
    parts = {segment.address: segment.data for segment in plain.segments} | _parts(probe.places)
    return replace(plain, segments=tuple(
        Segment(address, data, len(data)) for address, data in sorted(parts.items()))), ends


def measure(machine: RtlMachine, probe: Probe) -> int:
    """Cycles of the probe.

    Raises
    ------
    CalibrationError
        It did not come to its end.
    """
    records, ends = _run(machine, probe)
    at = [int(np.flatnonzero(records["next_eip"] == end)[-1]) for end in ends]
    cycle = records["cycle"].astype(np.int64)
    found = []
    for first, last in zip(at[FIRST:], at[FIRST + 1:], strict=False):
        times = cycle[first:last + 1]
        found.append(int(times[probe.upto] - times[probe.leading]) - probe.less)
    return max(found) if probe.worst else min(found)


def measure_interrupt(machine: RtlMachine, probe: Probe) -> int:
    """Cycles of the fastest external interrupt that comes while the probe runs.

    Raises
    ------
    CalibrationError
        It did not come to its end, or none came.
    """
    records, _ends = _run(machine, probe)
    cycle = records["cycle"].astype(np.int64)
    places = np.flatnonzero(records["cause"] == RetireCause.INTERRUPT.value)
    if not len(places):
        raise CalibrationError(f"No interrupt came in the micro-benchmark '{probe.name}'")
    return min(int(cycle[place + 1] - cycle[place - 1]) - probe.less for place in places)


def _run(machine: RtlMachine, probe: Probe) -> tuple[np.ndarray, list[int]]:
    """What retired, and the address behind each copy."""
    image, ends = image_of(probe)
    stop, records = play(machine, image, _LIMIT)
    if stop.reason is not Reason.GUEST_EXIT or stop.value:
        raise CalibrationError(f"The micro-benchmark '{probe.name}' ended with: {stop.describe()}")
    return records, ends
