"""The translator with the timing model: native code that estimates cycles, exactly as `TimedInterpreter` does.

Rules:

1. Native code is entered and left between runs, but where it gives an instruction up; `resume` then finds the place in
   the run.
2. It comes back before the first run that begins at the deadline or later.
3. An instruction that is given up and done again by the interpreter makes its accesses again; those that the model has
   seen already it does not see twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from vmm.engine.access import IoPorts
from vmm.engine.dbt import runtime
from vmm.engine.dbt.arena import Arena, Timed
from vmm.engine.dbt.compiler import Effort
from vmm.engine.dbt.frontend import Block, cut
from vmm.engine.dbt.layout import Exit
from vmm.engine.dbt.rewritten import Rewritten, Version, places
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.tiers import TextBuilder
from vmm.engine.dbt.timednative import PLACES, text
from vmm.engine.dbt.timedregion import TimedRegion
from vmm.engine.dbt.timedruns import one_run
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


class _Unchecked(Rewritten):
    """Code that the guest rewrites is not checked by native code, for blocks are runs and do not end elsewhere: it is
    left to the interpreter, since compiling it costs more than it ever gives back.
    """

    def __init__(self) -> None:
        super().__init__()
        self._left: set[int] = set()

    def add(self, places: Iterable[int]) -> None:
        self._left.update(places)

    def leaves(self, block: Block) -> bool:
        """Whether a block is left to the interpreter."""
        return not self._left.isdisjoint(places(block))


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
        self._timed.deadline, self._timed.straight = _NEVER, _NOT_STRAIGHT
        self.model.adopt(TimingState.from_address(self.context.address + Arena.timing.offset))
        self.translations.rewritten = self._rewritten = _Unchecked()
        self.tiers.region = partial(TimedRegion, costs=costs, caches=caches)
        # the model's routines are no part of the interpreter: nothing can be done in their place
        self.tiers.after_routines = True
        self._sink = None

    @property
    def _is_watched(self) -> bool:
        # the model sees every access once, and its native code knows nothing of pages that are not in the tables
        return bool(self.native.dr[7] & 0xFF) or super()._is_watched

    @property
    def is_late(self) -> bool:
        return self.between_runs and self.model.cycles >= self._timed.deadline

    def burst(self, limit: int) -> None:
        timed = self._timed
        timed.deadline = _NEVER if self.deadline is None else self.deadline
        if self._shadowed or not self.between_runs:
            self.step()
        else:
            Translator.burst(self, limit)

    # translations

    def _compile_routines(self, build: TextBuilder, effort: Effort) -> None:
        names = [name for name in PLACES if name not in runtime.ACCESSORS]
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
        found = super()._block(eip, physical)
        if found is None or found[0].end in self._breakpoints:
            return None
        block = found[0]
        count = one_run(block, self._present.code32)
        if not count:
            return None
        length = block.guests[count - 1].next - block.eip & 0xFFFF_FFFF
        shorter = cut(eip, physical, block.code[:length], block.second, self._present.code32)
        return None if shorter is None else (shorter, False)

    def _adopt(self, unit: Unit, beside: bool = False) -> bool:
        unit.refused = unit.refused or self._rewritten.leaves(unit.block)
        return not unit.refused and super()._adopt(unit, beside)

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
            self.resume(timed.run)
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
