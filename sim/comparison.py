"""What lockstep compares: the steps of a reference, its ports, bytes written, system registers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .rtlsvm import HOST, svm_differences
from .stop import ArchState


@dataclass(slots=True)
class Step:
    """What one step of the reference did. ``writes`` are (physical address, size, value)."""

    cause: int
    eip: int
    vector: int | None
    error: int | None
    writes: list[tuple[int, int, int]]


class IoMismatch(Exception):
    """The reference used a port in a way the RTL did not; the message says how."""


class Undecided(Exception):
    """What the guest has done has no one right outcome, or none that the reference knows; the message says why."""


class IoReplay:
    """The devices of the reference: reads give what the RTL read, writes to ports must be what the RTL wrote.

    Members
    -------
    pending : uses of ports: whether a write, port, logarithm of the size, data.
    loads : words of device memory that the RTL has read for this retirement, some perhaps in vain.
    """

    def __init__(self) -> None:
        self.pending: deque[tuple[int, int, int, int]] = deque()
        self.loads: dict[int, int] = {}

    def _next(self, write: int, port: int, size: int) -> int:
        verb = "writes" if write else "reads"
        if not self.pending:
            raise IoMismatch(f"the reference {verb} port {port:X}h, the RTL uses no port")
        rtl_write, rtl_port, rtl_size, data = self.pending.popleft()
        if (rtl_write, rtl_port, 1 << rtl_size) != (write, port, size):
            raise IoMismatch(f"the reference {verb} {size} bytes of port {port:X}h, the RTL "
                             f"{'writes' if rtl_write else 'reads'} {1 << rtl_size} bytes of port {rtl_port:X}h")
        return data & (1 << 8 * size) - 1

    def read(self, port: int, size: int) -> int:
        return self._next(0, port, size)

    def write(self, port: int, size: int, value: int) -> None:
        expected = self._next(1, port, size)
        if expected != value & (1 << 8 * size) - 1:
            raise IoMismatch(f"the reference writes {value:X}h to port {port:X}h, the RTL {expected:X}h")

    def load(self, address: int, size: int) -> int:
        """A read of device memory."""
        value = 0
        for place, word in enumerate(range(address & ~3, address + size, 4)):
            if word not in self.loads:
                raise IoMismatch(f"the reference reads device memory at {word:08X}, the RTL does not")
            value |= self.loads[word] << 32 * place
        return value >> 8 * (address & 3) & (1 << 8 * size) - 1


def write_differences(stores: list[tuple[int, int, int, int, int]], writes: list[tuple[int, int, int]]) -> list[str]:
    """Bytes written by one retirement, whatever the order."""
    mine: dict[int, int] = {}
    for _cycle, address, high, size, data in stores:
        for index in range(1 << size):
            place = address + index
            if place >> 2 != address >> 2:
                place = high + (place & 3)
            mine[place] = data >> 8 * index & 0xFF
    theirs: dict[int, int] = {}
    for address, count, value in writes:
        for index in range(count):
            theirs[address + index] = value >> 8 * index & 0xFF
    if mine == theirs:
        return []
    places = sorted(place for place in mine.keys() | theirs.keys() if mine.get(place) != theirs.get(place))
    return [f"byte written at {place:08X}: RTL {_byte(mine.get(place))}, reference {_byte(theirs.get(place))}"
            for place in places[:8]]


def _byte(value: int | None) -> str:
    return "nothing" if value is None else f"{value:02X}"


_SYSTEM = ("cr0", "cr2", "cr3", "cr4", "gdtr_base", "gdtr_limit", "idtr_base", "idtr_limit", "cpl", "halted")


def system_differences(rtl: ArchState, reference: ArchState) -> list[str]:
    """Where the system registers of two states differ. The hidden part of an unusable segment does not count."""
    found = [f"{name.upper()}: RTL {int(rtl[name]):X}, reference {int(reference[name]):X}"
             for name in _SYSTEM if rtl[name] != reference[name]]
    for name, mine in rtl["segments"].items():
        theirs = reference["segments"][name]
        fields = ("selector", "base", "limit", "attributes") if theirs["attributes"] & 0x80 else ("selector",)
        found += [f"{name.upper()} {part}: RTL {mine[part]:X}, reference {theirs[part]:X}"
                  for part in fields if mine[part] != theirs[part]]
    for index in (0, 1, 2, 3, 6, 7):
        if rtl["dr"][index] != reference["dr"][index]:
            found.append(f"DR{index}: RTL {rtl['dr'][index]:08X}, reference {reference['dr'][index]:08X}")
    for number in sorted(rtl["msrs"].keys() | reference["msrs"].keys()):
        mine, theirs = rtl["msrs"].get(number, 0), reference["msrs"].get(number, 0)
        if mine != theirs:
            found.append(f"MSR {number}: RTL {mine:X}, reference {theirs:X}")
    return found + svm_differences(rtl.get("svm", HOST), reference.get("svm", HOST))
