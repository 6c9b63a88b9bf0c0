"""Blocks for the interpreter: the functions of their instructions, kept with what they were made from.

The interpreter looks up each instruction by its address, and forgets all that with every flush of the TLB. Who knows
the block need do neither.
"""

from __future__ import annotations

from itertools import takewhile
from types import FunctionType
from typing import Any

from vmm.engine.codecache import Step, compile_bytes
from vmm.engine.dbt.frontend import Block
from vmm.semantics.ops import Mode


class Stepping:
    """Functions for one machine; `namespace` is what its instructions run in."""

    def __init__(self, namespace: dict[str, Any]):
        self._namespace = namespace

    def steps(self, block: Block, mode: Mode) -> tuple[Step, ...]:
        """The ordinary instructions at the start of a block; the first that is not one ends it."""
        contents = block.contents
        if contents.steps is not None:
            owner, known, steps = contents.steps
            if owner is self and (known is mode or known == mode):
                return steps  # type: ignore[no-any-return]
        steps = self._bind(block, mode)
        contents.steps = self, mode, steps
        return steps

    def _bind(self, block: Block, mode: Mode) -> tuple[Step, ...]:
        compiled, at = [], 0
        for guest in block.guests:
            compiled.append(compile_bytes(block.code[at:at + guest.insn.length], mode))
            at += guest.insn.length
        ordinary = takewhile(lambda one: not one.is_system, compiled)
        return tuple(FunctionType(one.code, self._namespace) for one in ordinary)
