"""Native code of pages that have been overwritten, kept together until the same contents come back.

A system that starts programs loads the same pages again and again, at the same frames or others. The units of a page
are then not made one by one: they are suspended when it is overwritten, and resume together.

Rules:

1. Suspended are units with code, all of it from one page. Nothing finds them; the chain slots among them keep their
   values, and no other slot leads to them.
2. They resume at a frame that is fetched from by the same linear page under the same mode. The bytes they were made
   from must be there; units that lack some of theirs do not come back.
3. There are at most so many groups, and so many returns for the instructions the guest has done: code that is
   overwritten and restored in a loop is for `Rewritten` to see to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vmm.engine.dbt.frontend import PAGE
from vmm.engine.dbt.unit import Unit, spans

_GROUPS = 256
#: Bytes of code that may differ for most units of a page to be worth finding.
_PATCHED = 256
#: Instructions per return, and returns that are free.
_PERIOD, _FREE = 1 << 14, 256


@dataclass(slots=True, eq=False)
class Group:
    """Suspended units.

    Members
    -------
    page : linear page number. frame : where it lay. contents : what it held, mask : 255 where units were made from it.
    since : instructions the guest had done.
    """

    mode: int
    page: int
    frame: int
    units: list[Unit]
    contents: np.ndarray
    mask: np.ndarray
    since: int

    def differences(self, now: np.ndarray) -> np.ndarray:
        """Offsets of bytes of the units that are others now."""
        return np.flatnonzero((self.contents ^ now) & self.mask)


class Suspended:
    """The groups of one processor."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, int], list[Group]] = {}
        self._returns = self._count = 0

    def __iter__(self) -> Iterator[Group]:
        for groups in self._groups.values():
            yield from groups

    def knows(self, mode: int, page: int) -> bool:
        return (mode, page) in self._groups

    def add(self, frame: int, contents: np.ndarray, units: list[Unit], now: int) -> list[Unit]:
        """Suspend units of a frame; those are returned for which there is no room any more."""
        by_place: dict[tuple[int, int], list[Unit]] = {}
        for unit in units:
            by_place.setdefault((unit.mode, unit.block.eip >> 12), []).append(unit)
        for (mode, page), members in by_place.items():
            mask = np.zeros(PAGE, np.uint8)
            for unit in members:
                for start, size in spans(unit.blocks):
                    mask[start & 0xFFF:(start & 0xFFF) + size] = 255
            self._groups.setdefault((mode, page), []).append(Group(mode, page, frame, members, contents, mask, now))
            self._count += 1
        refused: list[Unit] = []
        while self._count > _GROUPS:
            oldest = min(self, key=lambda group: group.since)
            self._take(oldest)
            refused += oldest.units
        return refused

    def find(self, mode: int, page: int, contents: np.ndarray, now: int) -> tuple[Group, np.ndarray] | None:
        """Take out the group whose bytes are most nearly these, with the offsets of those that are not."""
        if self._returns >= _FREE + now // _PERIOD:
            return None
        found = None
        for group in reversed(self._groups.get((mode, page), [])):
            differences = group.differences(contents)
            if len(differences) <= _PATCHED and (found is None or len(differences) < len(found[1])):
                found = group, differences
                if not len(differences):
                    break
        if found is not None:
            self._returns += 1
            self._take(found[0])
        return found

    def clear(self) -> None:
        self._groups.clear()
        self._count = 0

    def _take(self, group: Group) -> None:
        key = group.mode, group.page
        self._groups[key] = [other for other in self._groups[key] if other is not group]
        if not self._groups[key]:
            del self._groups[key]
        self._count -= 1
