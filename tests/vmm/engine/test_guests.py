"""Whole guests on the emulated machine print what their headers expect, as they do under QEMU."""

from pathlib import Path

import pytest

from firmware.build import images
from firmware.expectation import expectation
from tests.vmm.engine.boot import boot
from vmm.engine.emulate import StopInfo, StopReason

_NAMES = sorted(images())
_LIMIT = 8_000_000


@pytest.mark.parametrize("name", _NAMES)
def test_guest(name: str, built: dict[str, Path]) -> None:
    expected = expectation(name)
    machine = boot(built[name], expected.append, expected.memory)
    stop = machine.run(_LIMIT)
    assert machine.platform.console_out.decode() == expected.output
    assert stop == StopInfo(StopReason.GUEST_EXIT, expected.status)


@pytest.mark.parametrize("capacity", [1, 7])
def test_tlb_size_does_not_matter(capacity: int, built: dict[str, Path]) -> None:
    """Guests that invalidate what they change run alike with any TLB."""
    from vmm.engine.emulate import EmulatedMachine

    expected = expectation("tests/paging")
    machine = boot(built["tests/paging"], machine=EmulatedMachine(16 << 20, tlb_capacity=capacity))
    assert machine.run(_LIMIT).value == expected.status
    assert machine.platform.console_out.decode() == expected.output
