"""Ctrl-C between slices of a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """SIGINT is noted instead of raised; the function given tells whether one came.

    Engines note interrupts that come while they run by themselves; this covers the time between their calls. Outside
    the main thread signals are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pending: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _frame: pending.append(number))
    try:
        yield lambda: bool(pending)
    finally:
        signal.signal(signal.SIGINT, previous)
