"""Writes to code of a page since code last ran in it: was the page loaded anew, or does the guest patch its code?

Rules:

1. A patch leaves most of the page as it was. It changes the code it writes to, or code runs there again before a page
   could have been loaded.
2. Whatever else was written, the code has gone, and that is all.
"""

from __future__ import annotations

import numpy as np

from vmm.engine.dbt.unit import Unit, spans

#: Bytes that may differ in a patched page.
_PATCHED = 256
#: Instructions in which no page is loaded.
_AT_ONCE = 1 << 12


class Writes:
    """Those to one page.

    Parameters
    ----------
    before : what the page held. since : instructions the guest had done.

    Members
    -------
    places : how many places were written to.
    """

    def __init__(self, before: bytes, since: int):
        self._before = np.frombuffer(before, np.uint8)
        self._since = since
        self._dropped: list[tuple[int, int, int]] = []

    def add(self, unit: Unit, low: int, high: int) -> None:
        """A unit is dropped because bytes from `low` up to `high` are about to change."""
        for start, size in spans(unit.blocks):
            if start < high and low < start + size:
                self._dropped.append((max(low, start), min(high, start + size), self._since - unit.born))

    @property
    def places(self) -> int:
        return len({low for low, _high, _age in self._dropped})

    def patches(self, after: bytes, now: int) -> list[tuple[int, int, int]]:
        """The writes that were patches: from where to where, and how long the code had lived, in instructions."""
        changed = self._before != np.frombuffer(after, np.uint8)
        if np.count_nonzero(changed) > _PATCHED:
            return []
        if now - self._since < _AT_ONCE:
            return self._dropped
        return [(low, high, age) for low, high, age in self._dropped
                if changed[low & 0xFFF:(high - 1 & 0xFFF) + 1].any()]
