"""From blocks to regions, and from code that was rewritten to code like any other: what is done when code is hot."""

from __future__ import annotations

import ctypes

from vmm.engine.access import IoPorts
from vmm.engine.dbt.frontend import Block
from vmm.engine.dbt.known import KnownCode
from vmm.engine.dbt.rewritten import Version
from vmm.engine.dbt.thresholds import Thresholds
from vmm.engine.dbt.tiers import Job
from vmm.engine.dbt.unit import Unit
from vmm.memory import PhysicalMemory

#: What runs less often than this fraction of a hot block is not made part of its region.
_COLD = 40
#: A block that is part of a region is one of its own only if it is entered so many times as often from elsewhere.
_ENTERED = 32
#: Looks at rewritten code that find it unchanged before it is not checked any more.
_STEADY = 2
#: Writes beside code are counted up to so many times as often as a block runs until it is hot; they are common if there
#: is one in so many instructions.
_BESIDE, _COMMON = 32, 100


class Promotion(KnownCode):
    """The part of a translating processor that chooses what is compiled with all effort."""

    def __init__(self, memory: PhysicalMemory, io: IoPorts | None, tlb_capacity: int, thresholds: Thresholds | None):
        super().__init__(memory, io, tlb_capacity, thresholds)
        self._counted_from = 0
        self._count_beside(_BESIDE * self.thresholds.hot)

    def _grow(self) -> None:
        """Have what is reachable from a hot block compiled as one region."""
        head = self._at(self.native.eip)
        if isinstance(head, Version):
            self._look_at(head)
            return
        if not isinstance(head, Unit) or head.queued or not head.code:
            return
        if head.claimed is not None:
            # it is in a region to come; if it still is hot after that has come, it is one itself
            if not head.claimed.queued:
                head.claimed = None
            ctypes.c_uint32.from_address(head.counter).value = _ENTERED * self.thresholds.hot
            return
        if not head.counter or self._adopt(head) or not self._is_in_place(head.block):
            return
        blocks = self._reachable(head)
        self.tiers.submit(Job(head, blocks, self._setting(True)))

    def _count_beside(self, writes: int) -> None:
        """Have native code come back after so many writes of accessors beside code."""
        self.native.beside = self._counted = writes
        self._counted_from = self.native.instructions

    def _look_beside(self) -> None:
        """The last of the writes counted is that of the instruction at EIP: regions with it do such writes in place.

        If nothing comes of that, it is asked for less and less.
        """
        state = self.native
        physical = self._place_of_code(state.eip)
        changed = []
        if physical is not None and state.instructions - self._counted_from <= _COMMON * self._counted:
            changed = [unit for unit in self.translations.regions(state.mode, physical)
                       if not unit.queued and unit.translation is not None and not unit.translation.beside]
        for unit in changed:
            if not self._adopt(unit, True):
                blocks = {block.eip: block for block in unit.blocks}
                self.tiers.submit(Job(unit, blocks, self._setting(True, True)))
        self._count_beside(_BESIDE * self.thresholds.hot if changed else min(2 * self._counted, 1 << 62))

    def _look_at(self, version: Version) -> None:
        """Rewritten code that runs often and stays as it is becomes code like any other."""
        block = version.block
        unit = self.translations.find(self.native.mode, block.physical, block.eip)
        if unit is None or not version.code:
            return
        if version.look(self.memory) >= _STEADY:
            self.translations.calm(unit, block)
            return
        # an odd number, so that code that alternates is not taken for steady
        relapses = self.translations.rewritten.relapses(block)
        times = (_ENTERED * self.thresholds.hot << min(4 * relapses, 12)) + 1
        ctypes.c_uint32.from_address(version.counter).value = min(times, 1 << 30)

    def _runs(self, unit: Unit) -> int:
        """How often a block has run, until it was hot."""
        runs = unit.seen
        if unit.counter:
            left: int = ctypes.c_int32.from_address(unit.counter).value
            # more than at first: it has been hot before
            runs += abs(self.thresholds.hot - left)
        elif unit.code:
            runs += self.thresholds.hot
        return runs

    def _is_in_place(self, block: Block) -> bool:
        """Whether the bytes a block has in the next page are where they were."""
        return block.second is None or block.second == self._place_of_code(block.end & ~0xFFF)

    def _reachable(self, head: Unit) -> dict[int, Block]:
        state = self.native
        blocks = {head.block.eip: head.block}
        todo, total = [head.block], head.instructions
        while todo and total < self.thresholds.region_instructions:
            block = todo.pop(0)
            for target in (*block.successors, *((block.returns_to,) if block.returns_to is not None else ())):
                if target in blocks:
                    continue
                physical = self._place_of_code(target)
                known = None if physical is None else self.translations.find(state.mode, physical, target)
                if known is None or known.versions is not None or known.refused or not self._is_in_place(known.block):
                    continue
                if self._runs(known) < self.thresholds.hot // _COLD:
                    continue
                known.claimed = head
                blocks[target] = known.block
                todo.append(known.block)
                total += known.instructions
        return blocks
