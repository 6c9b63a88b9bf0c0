"""The first difference of a lockstep run, and retirements as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import exit_name
from rtl.isa.retire import RetireCause

from .disassembly import disassemble
from .stop import GPR_ROWS, flag_text

GPRS = ("EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI")
_DELIVERIES = (RetireCause.EXCEPTION, RetireCause.INTERRUPT)
_ITERATION, _VMEXIT = RetireCause.ITERATION.value, RetireCause.VMEXIT.value
_NAMES = {cause.value: cause.name for cause in RetireCause}


@dataclass(frozen=True)
class Divergence:
    """The first difference.

    Members
    -------
    differences : one phrase each. cycle : of the retirement. index : its number in the run.
    history : the last retirements as text, oldest first. rtl, reference : both states as text.
    coarse : it was found by comparing all of the state after a long batch, which began at cycle ``since``.
    """

    differences: tuple[str, ...]
    cycle: int
    index: int
    history: tuple[str, ...]
    rtl: str
    reference: str
    coarse: bool = False
    since: int = 0

    def describe(self) -> str:
        return "\n".join([
            f"divergence at retirement {self.index}, cycle {self.cycle}:",
            *(f"  {difference}" for difference in self.differences),
            f"last {len(self.history)} retirements:", *(f"  {line}" for line in self.history),
            "RTL:", self.rtl, "reference:", self.reference])


def retirement_text(record: Sequence[int], symbol: str, code: bytes) -> str:
    """A line for a record of the retire port, which lies at `symbol` and has `code`."""
    cycle, cause, eip, _next, length, vector, error = record[:7]
    place = f"{cycle:>10} {eip:08X} {symbol:<24}"
    if cause in (*_DELIVERIES, _VMEXIT):
        return f"{place} {cause_text(cause, vector, error)}"
    text, _size = disassemble(code, eip)
    again = " (repeats)" if cause == _ITERATION else ""
    return f"{place} {code[:length].hex(' '):<24} {text}{again}"


def cause_text(cause: int, vector: int | None, error: int | None) -> str:
    if cause in _DELIVERIES:
        return f"{_NAMES[cause]} {vector_text(vector)}" + ("" if error is None else f" error {error:X}h")
    if cause == _VMEXIT:
        return f"{_NAMES[cause]} {exit_name(error or 0)}"
    return _NAMES.get(cause, str(cause))


def vector_text(vector: int | None) -> str:
    if vector is None:
        return "none"
    try:
        return f"#{Vector(vector).name}"
    except ValueError:
        return f"{vector:02X}h"


def registers_text(record: Sequence[int]) -> str:
    """The registers after a retirement."""
    gpr = record[9:17]
    rows = [" ".join(f"{GPRS[index]}={gpr[index]:08X}" for index in row) for row in GPR_ROWS]
    return "\n".join(rows) + f"\nEIP={record[3]:08X} EFL={record[8]:08X} [{flag_text(record[8])}] CPL={record[7]}"
