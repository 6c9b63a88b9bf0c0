"""`run` of the engines whose loop is native code."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from .base import RunResult, Why
from .common import full_tap
from .interrupt import Interrupt

#: Wall time between two looks at a pending Ctrl-C.
_SLICE = 0.05


class _Loop(Protocol):
    """What the engine provides: its native loop, and what that has left behind."""

    TAP_CAPACITY: int
    _chunk: int

    @property
    def stop(self) -> int: ...
    def _advance(self, cycles: int) -> int: ...
    def _tap_counts(self) -> Mapping[str, int]: ...
    def _take_full(self) -> bool: ...


class Bursts:
    """`Engine.run` and `Engine.burst`.

    1. Native code runs for some cycles at a time, as many as take about as long as a Ctrl-C may wait.
    2. `_advance` runs up to so many cycles, fewer if the guest stops or a tap is full, and says how many;
       `_take_full` says whether a tap was, once.
    """

    _chunk = 1000

    def run(self: _Loop, max_cycles: int) -> RunResult:
        done = 0
        if full_tap(self._tap_counts(), self.TAP_CAPACITY) is not None:
            return RunResult(0, 0, Why.TAP_FULL)
        with Interrupt() as interrupt:
            while done < max_cycles:
                before = time.perf_counter()
                ran = self._advance(min(self._chunk, max_cycles - done))
                elapsed = time.perf_counter() - before
                done += ran
                full = self._take_full()
                if self.stop:
                    return RunResult(done, self.stop, Why.STOP)
                if full:
                    return RunResult(done, 0, Why.TAP_FULL)
                if interrupt.pending:
                    return RunResult(done, 0, Why.INTERRUPTED)
                if ran == self._chunk and elapsed < _SLICE / 2:
                    self._chunk *= 2
                elif elapsed > 2 * _SLICE:
                    self._chunk = max(self._chunk // 2, 1)
        return RunResult(done, 0, Why.LIMIT)

    def burst(self: _Loop, max_cycles: int) -> int:
        ran = self._advance(max_cycles)
        self._take_full()
        return ran
