"""Ctrl-C during a run: noted, so that the run ends at a cycle boundary."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interrupt:
    """Context in which SIGINT only sets ``pending``; outside the main thread signals are left alone."""

    def __init__(self) -> None:
        self.pending = False

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.pending = True

    def __enter__(self) -> Interrupt:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._previous)
