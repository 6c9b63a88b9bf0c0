"""Blocks as the timing model sees them: runs of instructions, and what each instruction adds to its run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vmm.engine.dbt.checked import fields
from vmm.engine.dbt.frontend import LIMIT, PAGE, Block, Guest, covers_next
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


def ends_by_what_follows(block: Block, code32: bool) -> bool:
    """Whether the run that a block is would go on if other instructions followed it in its page."""
    guests = block.guests
    if len(guests) == LIMIT or block.second is not None or not block.end & PAGE - 1:
        return False
    shadowed = len(guests) > 1 and covers_next(guests[-2].insn)
    return not shadowed and shape_of(guests[-1].insn, code32).flow is Flow.NEXT


def telling_bytes(block: Block, code32: bool) -> frozenset[int]:
    """Offsets in a block of those fields of instructions that say what it costs, as do all bytes that are no fields.

    A branch says by its displacement whether it is predicted; an access where it is, to a load behind a store.
    """
    found: set[int] = set()
    shapes = [shape_of(guest.insn, code32) for guest in block.guests]
    for guest, shape, before, behind in zip(block.guests, shapes, [None, *shapes], [*shapes[1:], None], strict=False):
        described, start = fields(guest.insn), guest.eip - block.eip & 0xFFFF_FFFF
        waits = before is not None and before.stores and shape.loads or (
            behind is not None and shape.stores and behind.loads)
        for field, tells in ((described.displacement, waits), (described.immediate, shape.flow is Flow.CONDITIONAL)):
            if field is not None and tells:
                found.update(range(start + field[0], start + field[0] + field[1]))
    return frozenset(found)
