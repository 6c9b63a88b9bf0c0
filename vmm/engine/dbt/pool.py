"""Translations by content: code whose place was overwritten serves again wherever the same bytes turn up.

Machine code depends on the linear address, the mode and the bytes it was made from, and on no physical address: what it
needs to know of those is in words of its own, filled in when a unit takes it. A process that is started again, at other
frames or in another run, is therefore not compiled again.

Rules:

1. A translation serves one unit at a time: its chain slots lead to neighbours of that unit.
2. It comes back when its unit goes, with its slots emptied; what better code has replaced only when no native code is
   running, which may still be in it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vmm.engine.dbt.frontend import Block

#: Translations of the same code in use at the same time, before one is taken from whoever has it.
_COPIES = 3
#: Blocks that are remembered at one place, and places and contents at all.
_CONTENTS, _REMEMBERED = 8, 1 << 16


@dataclass(slots=True, eq=False)
class Module:
    """The object file some translations are in, and what it says of them when it is loaded.

    Members
    -------
    names : of its symbols. symbols : addresses by name; empty until it is loaded.
    """

    object_code: bytes
    names: tuple[str, ...]
    symbols: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Translation:
    """Machine code of some blocks under one mode.

    Members
    -------
    blocks : what it was made from, its head first, where they lay then. hot : made with all effort.
    name : of its function. targets : where its chain slots lead. paged : made for a processor that pages.
    pages : linear pages it reaches besides the head's; each has a word, the distance its frame is displaced by.
    beside : see `Setting`. user : the unit it serves, or None. since : a number that grows with the time since when
        it does. slots : addresses of its chain slots, once it is loaded.
    """

    mode: int
    blocks: tuple[Block, ...]
    hot: bool
    name: str
    targets: tuple[int, ...]
    paged: bool
    pages: tuple[int, ...]
    module: Module
    beside: bool = False
    user: Any = None
    since: int = 0
    slots: range = range(0)

    @property
    def code(self) -> int:
        return self.module.symbols[self.name]

    @property
    def counter(self) -> int:
        """Address of the count of executions to go, or 0."""
        return self.module.symbols.get(f"count_{self.name}", 0)

    def displace(self, displacements: list[int]) -> None:
        """Say how much further the frames of `pages` lie from them than the head's from its own."""
        if self.pages:
            first = self.module.symbols[f"pages_{self.name}"]
            for number, displacement in enumerate(displacements):
                ctypes.c_int64.from_address(first + 8 * number).value = displacement


def symbols(name: str, counted: bool, paged: bool) -> list[str]:
    """Names of the function and the variables of the translation `name`."""
    return [name, f"slots_{name}", *([f"count_{name}"] if counted else []), *([f"pages_{name}"] if paged else [])]


class Pool:
    """The translations of one processor, those in use included.

    Parameters
    ----------
    hot : executions after which a translation that counts asks for a better one.

    Members
    -------
    blocks : blocks cut so far, by whether they are 32-bit code and by EIP.
    seen : how often blocks that have gone were met without code, by mode, EIP and bytes.
    refused : mode, EIP and bytes of blocks that native code cannot begin.
    entered : how often a block was entered in its middle, by EIP.
    """

    def __init__(self, hot: int) -> None:
        self._hot = hot
        self._by_place: dict[tuple[int, int], list[Translation]] = {}
        self._owners: dict[int, Translation] = {}
        self._taken = 0
        self.blocks: dict[tuple[bool, int], list[Block]] = {}
        self.seen: dict[tuple[int, int, bytes], int] = {}
        self.entered: dict[int, int] = {}
        self.refused: set[tuple[int, int, bytes]] = set()

    def __iter__(self) -> Iterator[Translation]:
        for found in list(self._by_place.values()):
            yield from list(found)

    def remember(self, key: tuple[bool, int], block: Block) -> None:
        """A block was cut; a guest that makes code without end has the oldest ones forgotten."""
        if len(self.blocks) >= _REMEMBERED:
            self.blocks.clear()
        found = self.blocks.setdefault(key, [])
        del found[_CONTENTS - 1:]
        found.insert(0, block)
        for table in (self.seen, self.entered, self.refused):
            if len(table) >= _REMEMBERED:
                table.clear()

    def add(self, translation: Translation) -> None:
        """A translation has been loaded."""
        first = translation.module.symbols[f"slots_{translation.name}"]
        translation.slots = range(first, first + 8 * len(translation.targets), 8)
        for slot in translation.slots:
            self._owners[slot] = translation
        found = self._by_place.setdefault((translation.mode, translation.blocks[0].eip), [])
        found.insert(0 if translation.hot else len(found), translation)

    def candidates(self, mode: int, eip: int, code: bytes) -> list[Translation]:
        """Translations that begin there with these bytes: the best ones nobody uses first.

        If enough of one kind are in use, the one that has been the longest follows: its unit has likely gone already.
        """
        found = [one for one in self._by_place.get((mode, eip), ()) if one.blocks[0].code == code]
        free = [one for one in found if one.user is None]
        for hot in (True, False):
            used = [one for one in found if one.user is not None and one.hot is hot]
            if len(used) >= _COPIES and not any(one.hot is hot for one in free):
                free.append(min(used, key=lambda one: one.since))
        return sorted(free, key=lambda one: (not one.hot, one.beside))

    def take(self, translation: Translation, user: Any) -> None:
        """A unit uses it from now on."""
        translation.user = user
        self._taken += 1
        translation.since = self._taken

    def user_of(self, slot: int) -> Any:
        """The unit whose translation has this chain slot; None if nobody uses that. Versions stand for themselves."""
        owner = self._owners.get(slot)
        return self if owner is None else owner.user

    def release(self, translation: Translation) -> None:
        """Its unit is gone."""
        translation.user = None
        for slot in translation.slots:
            ctypes.c_uint64.from_address(slot).value = 0
        if translation.counter:
            ctypes.c_uint32.from_address(translation.counter).value = self._hot

    def clear(self) -> None:
        self._by_place.clear()
        self._owners.clear()
        self.blocks.clear()
        self.seen.clear()
        self.refused.clear()
        self.entered.clear()
