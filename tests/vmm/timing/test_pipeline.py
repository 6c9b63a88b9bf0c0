"""What straight runs cost, against figures known from the pipeline's description and its measured page."""

from __future__ import annotations

import pytest

from tests.vmm.timing.code import COSTS, cycles, insns
from vmm.timing.pipeline import Pipeline, run_cost
from vmm.timing.shape import shape_of


@pytest.mark.parametrize(("text", "expected"), [
    ("01c801c1", [1, 1]),                    # a result and its use
    ("8b0301c1", [1, 1]),                    # a load and its use
    ("8b1b8b1b", [1, 2]),                    # a load, the address of the next
    ("8d5b008b03", [1, 2]),                  # a result, an address
    ("8d5b00908b03", [1, 1, 1]),             # the same with an instruction between
    ("b3008b03", [1, 3]),                    # a part of a register, an address
    ("b300908b03", [1, 1, 2]),
    ("89038b03", [1, 2]),                    # a store, a load of the word
    ("89038b4304", [1, 1]),                  # of another word
    ("8903908b03", [1, 1, 1]),
    ("5058", [1, 2]),                        # a push, the pop
    ("508b0424", [1, 2]),                    # a push, a load of it
    ("508b442404", [1, 1]),                  # of what was there before
    ("83ec0450", [1, 2]),                    # ESP computed, used by a push
    ("5053", [1, 1]),                        # ESP moved by a push
    ("01030103", [2, 3]),                    # read-modify-write of the word just written
    ("66014300", [2 + 1]),                   # a prefix, two rows
    ("0fafc1", [3]), ("0fafc190", [3, 1]),
])
def test_cycles_of_short_runs(text: str, expected: list[int]) -> None:
    assert cycles(text) == expected


def test_decode_waits_for_bytes_behind_a_jump() -> None:
    long = "b878563412"                     # 5 bytes
    assert cycles(long, 0) == [1]
    assert cycles(long, 4) == [2]            # its last byte is in the next chunk
    assert cycles(long * 2, 0) == [1, 1]
    assert cycles("c7050000000001000000" * 2, 0) == [2, 1]


def test_a_bubble_vanishes_while_execution_is_behind() -> None:
    assert run_cost(COSTS, insns("90eb00"), 0).bubble == COSTS.cycles["taken"]
    assert run_cost(COSTS, insns("0fafc1eb00"), 0).bubble == 0
    assert run_cost(COSTS, insns("0fafc190eb00"), 0).bubble == 0
    # Decode is stopped soon, when A and M are full.
    assert run_cost(COSTS, insns("0fafc19090eb00"), 0).bubble == 1
    # Who waits for an address holds up decode, too.
    assert run_cost(COSTS, insns("8b1b8b1beb00"), 0).bubble == 1


def test_costs_of_a_prefix_of_a_run_do_not_depend_on_what_follows() -> None:
    text = "8b1b01030fafc15058c7430401000000f7f190"
    whole = cycles(text)
    parts = list(insns(text))
    for count in range(1, len(parts) + 1):
        run = run_cost(COSTS, parts[:count], 0)
        assert run.cycles == sum(whole[:count])


def test_a_pipeline_fed_one_by_one_is_the_run() -> None:
    text = "8b1b01030fafc15058"
    pipeline = Pipeline(COSTS, 3)
    assert [pipeline.add(shape_of(insn)) for insn in insns(text)] == cycles(text, 3)
