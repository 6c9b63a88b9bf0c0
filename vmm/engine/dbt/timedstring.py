"""`StringLoop` with the timing model: every iteration is a run."""

from __future__ import annotations

from typing import Any

from vmm.engine.dbt.frontend import Block
from vmm.engine.dbt.stringloop import StringLoop
from vmm.engine.dbt.values import Node


class TimedStringLoop(StringLoop):
    """A loop that ends also when something is due, or when lines of its code have to be looked at again.

    Parameters
    ----------
    region : a `TimedRegion`. caches : see `TimingModel`.
    """

    def __init__(self, region: Any, block: Block, caches: bool):
        super().__init__(region, block)
        self._timed = region
        self._caches = caches

    def load(self, linear: Node, bits: int, for_write: bool) -> Node:
        value = super().load(linear, bits, for_write)
        if self._caches:
            self._timed.charge(linear, bits, for_write)
        return value

    def store(self, linear: Node, value: Node) -> None:
        super().store(linear, value)
        if self._caches:
            self._timed.charge(linear, value.bits, True)

    def repeat(self, condition: Node) -> None:
        self._timed.end_iteration()
        super().repeat(condition)

    def _must_end(self, left: str) -> str:
        b = self._b
        ends = b.let(f"or i1 {super()._must_end(left)}, {self._timed.is_late()}")
        return b.let(f"or i1 {ends}, {self._timed.lacks_lines()}") if self._caches else ends
