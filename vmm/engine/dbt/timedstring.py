"""`StringLoop` with the timing model: every iteration is a run.

The loop runs only where the filters of the model have the lines of its elements, so that no access costs anything but
what a misaligned one does, and nothing happens to the model meanwhile. It goes no further than to the ends of these
lines, and not at all if something might be due before that.
"""

from __future__ import annotations

from typing import Any

from vmm.engine.dbt.frontend import Block
from vmm.engine.dbt.llvmops import Straight
from vmm.engine.dbt.stringloop import EDI, StringLoop
from vmm.engine.dbt.values import Node
from vmm.timing.costs import Costs
from vmm.timing.shape import shape_of

_LINE = 32


class TimedStringLoop(StringLoop):
    """A loop whose iterations are known to be settled.

    Parameters
    ----------
    region : a `TimedRegion`. costs, caches : see `TimingModel`.
    """

    def __init__(self, region: Any, block: Block, costs: Costs, caches: bool):
        super().__init__(region, block)
        self._timed = region
        self._caches = caches
        self._each = costs.cycles[shape_of(self._insn).each]
        self._across = costs.cycles["across"] if caches else 0
        self._cycles = f"%SC{block.eip:x}"
        self._taken: list[str] = []

    def _restrict(self, now: Straight, down: str, room: str, there: str) -> tuple[str, str]:
        b, timed = self._b, self._timed
        timed.fields.entry.append(f"{self._cycles} = alloca i64")
        b.emit(f"store i64 0, ptr {self._cycles}")
        most = self._each
        for number in self._pointers if self._caches else ():
            address = b.text(now.regs[number])
            line = b.let(f"lshr i32 {address}, {_LINE.bit_length() - 1}")
            settled = timed.is_settled(line, self._writes and number == EDI)
            if self._size > 1:
                beyond = timed.is_settled(b.let(f"add i32 {line}, 1"), self._writes and number == EDI)
                aligned = b.let(f"icmp eq i32 {b.let(f'and i32 {address}, {self._size - 1}')}, 0")
                settled = b.let(f"and i1 {settled}, {b.let(f'or i1 {aligned}, {beyond}')}")
                most += self._across
            there = b.let(f"and i1 {there}, {settled}")
            room = self._least(room, self._begun_in_line(address, down))
        cycles = b.let(f"add i64 {timed.cycles()}, {b.let(f'mul i64 {room}, {most}')}")
        return room, b.let(f"and i1 {there}, {timed.is_before_deadline(cycles)}")

    def _begun_in_line(self, address: str, down: str) -> str:
        """How many elements from `address` on begin in its line."""
        b, shift = self._b, self._size.bit_length() - 1
        within = b.let(f"and i32 {address}, {_LINE - 1}")
        above = b.let(f"lshr i32 {b.let(f'sub i32 {_LINE + self._size - 1}, {within}')}, {shift}")
        below = b.let(f"add i32 {b.let(f'lshr i32 {within}, {shift}')}, 1")
        return b.let(f"zext i32 {b.let(f'select i1 {down}, i32 {below}, i32 {above}')} to i64")

    def load(self, linear: Node, bits: int, for_write: bool) -> Node:
        self._access(linear)
        return super().load(linear, bits, for_write)

    def store(self, linear: Node, value: Node) -> None:
        self._access(linear)
        super().store(linear, value)

    def _access(self, linear: Node) -> None:
        """An access across words takes longer."""
        if self._caches and self._size > 1:
            b = self._b
            within = b.let(f"and i32 {b.text(linear)}, 3")
            across = b.let(f"icmp ugt i32 {within}, {4 - self._size}")
            self._taken.append(b.let(f"select i1 {across}, i64 {self._across}, i64 0"))

    def repeat(self, condition: Node) -> None:
        b = self._b
        total = b.let(f"add i64 {b.let(f'load i64, ptr {self._cycles}')}, {self._each}")
        for taken in self._taken:
            total = b.let(f"add i64 {total}, {taken}")
        b.emit(f"store i64 {total}, ptr {self._cycles}")
        super().repeat(condition)

    def _account(self, done: str) -> None:
        self._timed.add_cycles(self._b.let(f"load i64, ptr {self._cycles}"))
        super()._account(done)
