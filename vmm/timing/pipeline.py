"""The pipeline in a straight run of instructions: when each leaves the last stage if nothing unforeseen happens.

    D (decode) -> A (address) -> M (memory) -> X (execute)

1. A row enters a stage when the row before it has left that stage; stages run empty and fill up again, so that a
   bubble made in D vanishes while a later stage is busy.
2. An address register waits until the row that computes it is in X; until the register file has it, if only part of
   the register was written. Stack and string pointers moved by address generation itself are passed on at once.
3. A load behind a store to the same word waits for the store.
4. A prefix takes a cycle of D. A microprogram takes D for all its rows; multiplication and division take X.
5. Decode needs all bytes of an instruction. Fetch brings an aligned chunk of 8 bytes per cycle into a queue of three;
   a run starts with one chunk in the queue, as if it had been jumped to.
6. A run ends behind every instruction that may go elsewhere. Runs meet in X: the time between two runs is what the
   processor needs from the end of the one to the end of the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rtl.isa.decoder import Insn
from rtl.isa.registers import Gpr

from .costs import Costs
from .shape import Shape, shape_of

__all__ = ["RUN_LIMIT", "Pipeline", "RunCost", "run_cost"]

#: A run ends behind so many instructions at the latest.
RUN_LIMIT = 32
_CHUNK, _QUEUE, _WINDOW = 8, 3, 12
_ESP = int(Gpr.ESP)


class Pipeline:
    """One straight run, instruction by instruction.

    Parameters
    ----------
    address : linear address of the run's first byte; only its place in a chunk matters.

    Members
    -------
    bubble : cycles that the next run begins later if a branch was predicted taken; decode may be ahead of execution by
        so much that nobody notices.
    """

    def __init__(self, costs: Costs, address: int = 0) -> None:
        self._cycles = costs.cycles
        self._taken = costs.cycles["taken"]
        # The last instruction of the run before went from D to X in three cycles.
        self._d, self._a, self._m, self._x = -1, 0, 1, 2
        self._ready = [0] * 8
        self._versions = [0] * 8
        self._stack = 0
        self._stored: tuple[int, ...] | None = None
        self._offset = address % _CHUNK
        self._count = 1
        self._now = 0

    @property
    def bubble(self) -> int:
        return max(self._taken - (self._x - self._d - 3), 0)

    def add(self, shape: Shape) -> int:
        """Cycles that the next instruction adds; without those of the iterations of a REP instruction."""
        before = self._x
        cycles = self._cycles[shape.kind]
        rows = 2 if shape.kind == "rmw" else 1 if shape.executed else max(cycles, 1)
        d = self._decode(shape, self._a, rows)
        a = max(d + 1, self._m)
        for number in shape.address:
            a = max(a, self._ready[number])
        place = self._place(shape)
        m = max(a + 1, self._x)
        if shape.loads and place is not None and place == self._stored:
            m = max(m, self._x + 1)
        x = max(m + 1, self._x + 1) + (cycles - 1 if shape.executed else 0)
        # Later rows of a microprogram follow at a distance of one.
        more = rows - 1
        self._d, self._a, self._m, self._x = d + more, a + more, m + more, x + more
        self._after(shape, place)
        return self._x - before

    def _after(self, shape: Shape, place: tuple[int, ...] | None) -> None:
        self._stored = place if shape.stores else None
        for number in shape.moves:
            self._ready[number] = 0
        self._stack += shape.stack
        if shape.moves and not shape.stack:
            for number in shape.moves:
                self._versions[number] += 1
        for number in shape.full:
            self._ready[number] = self._x
        for number in shape.part:
            self._ready[number] = self._x + 1
        for number in (*shape.full, *shape.part):
            self._versions[number] += 1

    def _place(self, shape: Shape) -> tuple[int, ...] | None:
        if shape.place is None:
            return None
        base, index, scale, displacement = shape.place
        if base == _ESP:
            displacement += self._stack
        return (base, self._versions[base] if base >= 0 else 0, index, self._versions[index] if index >= 0 else 0,
                scale, displacement >> 2)

    def _decode(self, shape: Shape, free: int, rows: int) -> int:
        """The cycle in which the first row leaves D; A takes it when it is free."""
        for _ in range(shape.prefixes):
            while not self._bytes():
                self._step(0)
            self._step(1)
        left = shape.length - shape.prefixes
        while self._bytes() < left or self._now < free:
            self._step(0)
        first = self._now
        # The bytes leave the queue with the last row, and the queue fills meanwhile.
        self._now += rows - 1
        self._count = min(self._count + rows - 1, _QUEUE)
        self._step(left)
        return first

    def _bytes(self) -> int:
        return min(_WINDOW, _CHUNK * self._count - self._offset)

    def _step(self, taken: int) -> None:
        """One cycle of the queue."""
        arrives = self._count != _QUEUE
        self._offset += taken
        self._count += arrives - self._offset // _CHUNK
        self._offset %= _CHUNK
        self._now += 1


@dataclass(frozen=True, slots=True)
class RunCost:
    """Cycles of a straight run.

    Members
    -------
    before : for each instruction, cycles of the run until it; ``before[-1]`` is the whole run.
    bubble : cycles more when its last instruction is a branch that is taken as predicted.
    """

    before: tuple[int, ...]
    bubble: int

    @property
    def cycles(self) -> int:
        return self.before[-1]


def run_cost(costs: Costs, insns: Iterable[Insn], address: int, code32: bool = True) -> RunCost:
    """What a run costs; a pure function of its instructions and of where it begins in a chunk."""
    pipeline = Pipeline(costs, address)
    before = [0]
    for insn in insns:
        before.append(before[-1] + pipeline.add(shape_of(insn, code32)))
    return RunCost(tuple(before), pipeline.bubble)
