"""Code as instructions, and costs, for the tests of the timing model."""

from __future__ import annotations

from collections.abc import Iterator

from rtl.isa.decoder import Insn, decode
from vmm.timing.costs import Costs, default_costs
from vmm.timing.pipeline import run_cost

COSTS: Costs = default_costs()


def insns(text: str) -> Iterator[Insn]:
    """The instructions in hexadecimal text."""
    code, offset = bytes.fromhex(text), 0
    while offset < len(code):
        insn = decode(code, offset)
        yield insn
        offset += insn.length


def cycles(text: str, address: int = 0) -> list[int]:
    """What each instruction of a run adds."""
    before = run_cost(COSTS, insns(text), address).before
    return [after - here for here, after in zip(before, before[1:], strict=False)]
