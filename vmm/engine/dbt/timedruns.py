"""Blocks as the timing model sees them: runs of instructions, and what each instruction adds to its run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vmm.engine.dbt.frontend import Block, Guest, covers_next
from vmm.timing.costs import Costs
from vmm.timing.pipeline import Pipeline
from vmm.timing.shape import Flow, Shape, shape_of


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instruction stands in its run.

    Members
    -------
    start : index of the first instruction of the run. before : cycles of the run until it; after : with its own.
    bubble : of the run, if it ends here.
    """

    shape: Shape
    start: int
    before: int
    after: int
    bubble: int


def plan(costs: Costs, guests: Sequence[Guest], code32: bool) -> list[Place]:
    """The runs of a block."""
    found: list[Place] = []
    start, done = 0, 0
    pipeline: Pipeline | None = None
    for number, guest in enumerate(guests):
        shape = shape_of(guest.insn, code32)
        if pipeline is None:
            pipeline, start, done = Pipeline(costs, guest.eip), number, 0
        before, done = done, done + pipeline.add(shape)
        found.append(Place(shape, start, before, done, pipeline.bubble))
        if shape.flow is not Flow.NEXT:
            pipeline = None
    return found


def one_run(block: Block, code32: bool) -> int:
    """How many instructions of a block to translate: to the end of its run, and of one under a shadow behind it."""
    count = len(block.guests)
    for number, guest in enumerate(block.guests):
        if covers_next(guest.insn):
            # Whoever comes next must be in the same block, or the interpreter does both.
            count = number + 2 if number + 2 <= len(block.guests) else number
            break
        if shape_of(guest.insn, code32).flow is not Flow.NEXT:
            count = number + 1
            break
    return count
