"""The block table and the jump cache of a context, as Python fills them: where native code finds entry points.

Rules:

1. A key stays when its code goes, with an entry point of 0; `crowded` says when it is time to start anew.
2. Whatever may have led to code that is gone or worse must be followed by `new_generation`, which empties the jump
   cache.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from vmm.engine.dbt.layout import BLOCK_ENTRIES, JUMP_ENTRIES, Context
from vmm.engine.dbt.unit import Unit

_GENERATIONS = 1 << 16


class BlockTable:
    """The tables of one context."""

    def __init__(self, context: Context):
        self._context = context
        self._table = (ctypes.c_uint64 * (2 * BLOCK_ENTRIES)).from_address(ctypes.addressof(context.blocks))
        self._entries: dict[int, int] = {}

    @property
    def crowded(self) -> bool:
        return len(self._entries) > BLOCK_ENTRIES // 2

    def holds(self, units: int) -> bool:
        """Whether the table is large enough for so many units to be in it for long."""
        return units <= BLOCK_ENTRIES // 4

    def enter(self, unit: Unit, code: int) -> None:
        """Put the entry point of a unit, or 0 for none, into the table."""
        block, mode = unit.block, unit.mode
        physical = block.physical
        key = physical | (mode + 1 | block.eip - physical & 0xFFFF_F000) << 32
        place = self._entries.get(key)
        if place is None:
            place = (physical ^ physical >> 11 ^ mode + 1 << 4) & BLOCK_ENTRIES - 1
            while self._table[2 * place]:
                place = place + 1 & BLOCK_ENTRIES - 1
            self._entries[key] = place
            self._table[2 * place] = key
        unit.place = place
        self._table[2 * place + 1] = code

    def leave(self, units: Iterable[Unit]) -> None:
        """Take out the entry points of units that are in the table."""
        table = self._table
        for unit in units:
            table[2 * unit.place + 1] = 0

    def begin_again(self, units: Iterable[Unit]) -> None:
        """Forget all keys but those of these units."""
        ctypes.memset(self._table, 0, ctypes.sizeof(self._table))
        self._entries.clear()
        for unit in units:
            if unit.code:
                self.enter(unit, unit.code)

    def new_generation(self) -> None:
        """Make the jump cache forget everything."""
        state = self._context.state
        state.generation = (state.generation + 1) % _GENERATIONS
        if not state.generation:
            ctypes.memset(self._context.jumps, 0, JUMP_ENTRIES * 16)
        self.set_tag()

    def set_tag(self) -> None:
        state = self._context.state
        state.tag = (state.generation << 16 | state.mode + 1 & 0xFFFF) << 32
