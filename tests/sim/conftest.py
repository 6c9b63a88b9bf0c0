"""The computer on the native engine, built once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sim.rtlmachine import RtlMachine


@pytest.fixture(scope="session")
def built_machine() -> RtlMachine:
    return RtlMachine(ram_bytes=4 << 20)


@pytest.fixture
def rtl(built_machine: RtlMachine) -> Iterator[RtlMachine]:
    """A machine at cycle 0 with 4 MiB of RAM."""
    built_machine.reset()
    built_machine.breakpoints = set()
    built_machine.console = lambda _data: None
    yield built_machine
