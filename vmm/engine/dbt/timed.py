"""The translator with the timing model: native code that estimates cycles, exactly as `TimedInterpreter` does.

Rules:

1. Native code is entered and left between runs, but where it gives an instruction up; `resume` then finds the place in
   the run.
2. It comes back before the first run that begins at the deadline or later.
3. Where a run ends is part of what a block is: also the bytes behind it are, where those decide that.
4. An instruction that is given up and done again by the interpreter makes its accesses again; those that the model has
   seen already it does not see twice.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from dataclasses import replace
from functools import partial

from rtl.isa.decoder import MAX_LENGTH, DecodeError, decode
from vmm.engine.access import IoPorts
from vmm.engine.dbt import runtime
from vmm.engine.dbt.arena import Arena, Timed
from vmm.engine.dbt.checked import live_bytes
from vmm.engine.dbt.compiler import Effort
from vmm.engine.dbt.frontend import PAGE, Block, cut
from vmm.engine.dbt.layout import Exit
from vmm.engine.dbt.rewritten import Version, places
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.tiers import TextBuilder
from vmm.engine.dbt.timednative import CALLS, PLACES, text
from vmm.engine.dbt.timedregion import TimedRegion
from vmm.engine.dbt.timedruns import ends_by_what_follows, one_run, telling_bytes
from vmm.engine.dbt.translator import Thresholds, Translator
from vmm.engine.dbt.unit import Rest, Unit
from vmm.engine.interpreter import Interpreter, Retired
from vmm.engine.interrupt import Source
from vmm.faults import Fault
from vmm.memory import PhysicalMemory
from vmm.timing.costs import Costs
from vmm.timing.observer import TimedInterpreter
from vmm.timing.record import TimingState

__all__ = ["TimedTranslator"]

_NEVER, _NOT_STRAIGHT = (1 << 64) - 1, 1
_M32 = 0xFFFF_FFFF


class _Steps(Interpreter):
    """What the translator leaves to the interpreter: step by step, and no further than to the end of the run."""

    @property
    def is_late(self) -> bool:
        """Whether something is due before the next run."""
        return False

    @property
    def between_runs(self) -> bool:
        """Whether the next instruction begins a run."""
        return True

    def burst(self, limit: int) -> None:
        if self.is_late:
            return
        for _ in range(limit):
            self.step()
            if self.between_runs or self.at_breakpoint:
                return


class TimedTranslator(TimedInterpreter, Translator, _Steps):
    """A translator that estimates cycles.

    Parameters
    ----------
    memory, io, costs, caches : see `TimedInterpreter`. thresholds : see `Translator`.
    """

    def __init__(self, memory: PhysicalMemory, io: IoPorts | None, costs: Costs, caches: bool = True,
                 thresholds: Thresholds | None = None) -> None:
        self._costs, self._caches = costs, caches
        self._seen = 0
        self._undelivered = False
        super().__init__(memory, io, costs, caches, thresholds=thresholds)
        self._timed = Timed.from_address(self.context.address)
        self._timed.straight = _NOT_STRAIGHT
        self.deadline = None
        self.model.adopt(TimingState.from_address(self.context.address + Arena.timing.offset))
        # the interpreter would come back to code behind a write to it again and again, and have every write watched
        self._cache.fleeting = self.translations.rewritten.touches
        self.tiers.region = partial(TimedRegion, costs=costs, caches=caches)
        # the model's routines are no part of the interpreter: nothing can be done in their place
        self.tiers.after_routines = True
        self._sink = None

    @property
    def _is_watched(self) -> bool:
        # the model sees every access once, and its native code knows nothing of pages that are not in the tables
        return bool(self.native.dr[7] & 0xFF) or super()._is_watched

    @property
    def deadline(self) -> int | None:
        due: int = self._timed.deadline
        return None if due == _NEVER else due

    @deadline.setter
    def deadline(self, due: int | None) -> None:
        self._timed.deadline = _NEVER if due is None else due

    @property
    def is_late(self) -> bool:
        return self.between_runs and self.model.cycles >= self._timed.deadline

    def burst(self, limit: int) -> None:
        if self._shadowed or not self.between_runs:
            self.step()
        else:
            Translator.burst(self, limit)

    # translations

    def _compile_routines(self, build: TextBuilder, effort: Effort) -> None:
        names = [*runtime.MACHINE, *CALLS]
        code = build(partial(text, self._costs, self._caches), names, effort).symbols
        for name in names:
            self.native.routines[PLACES[name]] = code[name]

    def _setting(self, is_region: bool, beside: bool = False) -> Setting:
        return replace(super()._setting(is_region, beside), routines=PLACES)

    def _at(self, eip: int) -> Unit | Rest | Version | None:
        if self._shadowed or not self.between_runs or self.is_late:
            return None
        return super()._at(eip)

    def _block(self, eip: int, physical: int, checked: bool = False) -> tuple[Block, bool] | None:
        found = super()._block(eip, physical, checked)
        if found is None or found[0].end in self._barred or not one_run(found[0], self._present.code32):
            return None
        block, checked = found
        if not ends_by_what_follows(block, self._present.code32):
            return found
        place = physical + len(block.code)
        behind = self.memory.blob(place, min(MAX_LENGTH, PAGE - place % PAGE))
        with suppress(DecodeError):
            behind = behind[:decode(behind, default32=self._present.code32).length]
        if checked or self.translations.rewritten.touches(place, len(behind)):
            return None
        return replace(block, behind=behind), False

    def _cut(self, eip: int, physical: int, code: bytes, second: int | None) -> Block | None:
        found = super()._cut(eip, physical, code, second)
        if found is None or not ends_by_what_follows(found, self._present.code32):
            return found
        # other bytes may have followed the same ones
        return cut(eip, physical, code, second, self._present.code32, self._barred)

    def _boundary(self, block: Block, checked: bool) -> tuple[bool, int | None]:
        """Blocks are runs, whoever writes to them: one with any rewritten byte is checked, also behind its writes."""
        near, count = self.translations.rewritten.near(block), one_run(block, self._present.code32)
        end = block.guests[count - 1].next
        if near and not checked:
            checked = not near.isdisjoint(places(block)[:end - block.eip & _M32])
        return checked, None if end == block.end else end

    def _live(self, block: Block) -> frozenset[int]:
        near = self.translations.rewritten.near(block)
        return live_bytes(block, near) - telling_bytes(block, self._present.code32)

    def _interpret(self, unit: Unit | Rest | Version, limit: int) -> bool:
        _Steps.burst(self, limit)
        return False

    def _finish(self, limit: int) -> None:
        _Steps.burst(self, limit)

    # native code and what comes behind it

    def _run(self, code: int, limit: int) -> int:
        state, timed = self.native, self._timed
        registers = (state.cr0, state.cr3, state.cr4)
        if registers != self._registers:
            self.model.control(*registers)
        timed.straight = _NOT_STRAIGHT
        if not state.eip & 31 and self._line == (state.eip >> 5) - 1:
            timed.straight = state.eip
        reason = super()._run(code, limit)
        self._registers = (state.cr0, state.cr3, state.cr4)
        if reason == Exit.INTERPRET:
            timed.timing.cycles -= timed.begun
            text = ctypes.string_at(timed.text, state.eip - timed.run & _M32) if timed.text else None
            self.resume(timed.run, text)
            self._shadowed = bool(timed.shadowed)
            if timed.fetched:
                self._line = self._fetched = timed.fetched - 1
            elif self._shadowed or timed.straight == state.eip:
                self._line = (state.eip - 1 & 0xFFFF_FFFF) >> 5
            else:
                self._line = -1
            self._seen = timed.charged
        elif reason == Exit.FAULT:
            self._undelivered = True
            self._seen = timed.charged
        else:
            self._end_run(True)
            self._shadowed = False
            if timed.straight == state.eip:
                self._line = (state.eip >> 5) - 1
        return reason

    def _deliver(self, fault: Fault, resume: bool, source: Source = Source.EXCEPTION) -> Retired:
        undelivered, self._undelivered = self._undelivered, False
        level = self.state.cpl
        retired = super()._deliver(fault, resume, source)
        if undelivered:
            self._seen = 0
            self._delivered(retired, level, False)
        return retired

    def step(self) -> Retired:
        retired = super().step()
        self._seen = 0
        return retired

    def pieces(self, linear: int, size: int, write: bool, user: bool) -> list[tuple[int, int]]:
        if self._seen:
            self._seen -= 1
            return super(TimedInterpreter, self).pieces(linear, size, write, user)
        return super().pieces(linear, size, write, user)
