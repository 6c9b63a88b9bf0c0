"""Blocks for the interpreter: the functions of their instructions, kept with what they were made from.

The interpreter looks up each instruction by its address, and forgets all that with every flush of the TLB. Who knows
the block need do neither.
"""

from __future__ import annotations

from itertools import takewhile
from types import FunctionType
from typing import Any

from vmm.engine.codecache import Step, compile_bytes
from vmm.engine.dbt.frontend import Block, Contents
from vmm.semantics.ops import Mode

_KEPT = 1 << 12


class Stepping:
    """Functions for one machine; `namespace` is what its instructions run in."""

    def __init__(self, namespace: dict[str, Any]):
        self._namespace = namespace
        self._known: dict[tuple[Contents, Mode], tuple[Step, ...]] = {}

    def steps(self, block: Block, mode: Mode) -> tuple[Step, ...]:
        """The ordinary instructions at the start of a block; the first that is not one ends it."""
        key = block.contents, mode
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[key] = self._bind(block, mode)
        return found

    def _bind(self, block: Block, mode: Mode) -> tuple[Step, ...]:
        compiled, at = [], 0
        for guest in block.guests:
            compiled.append(compile_bytes(block.code[at:at + guest.insn.length], mode))
            at += guest.insn.length
        ordinary = takewhile(lambda one: not one.is_system, compiled)
        return tuple(FunctionType(one.code, self._namespace) for one in ordinary)
