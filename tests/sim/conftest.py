"""The computer on the native engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.rtlmachine import RtlMachine


@pytest.fixture
def rtl(computers: Callable[[int], RtlMachine]) -> RtlMachine:
    """A machine at cycle 0 with 4 MiB of RAM."""
    machine = computers(4 << 20)
    machine.reset()
    machine.breakpoints = set()
    machine.console = lambda _data: None
    return machine
