"""Firmware images on both engines, cut at random places: an interrupt or a stop can come anywhere."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from firmware.build import images
from firmware.expectation import expectation
from tests.vmm.engine.boot import boot
from tests.vmm.engine.dbt.lockstep import VARIANTS, Difference, Pair, translator
from vmm.engine.emulate import EmulatedMachine

#: A double fault through a task gate: the delivery that gave up left the second fault in place of the first.
#: STI before MOV SS: the end of one shadow was taken for the end of the next.
#: A search for the highest bit: LLVM made a vector loop of it, and kept a frame pointer where EAX is passed.
_QUICK = ("tests/double_fault", "tests/shadow", "tests/library")


@pytest.mark.parametrize("name", [
    *_QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in sorted(images()) if name not in _QUICK)])
def test_guest(name: str, built: dict[str, Path]) -> None:
    expected = expectation(name)
    size = expected.memory << 20
    machines = EmulatedMachine(size), EmulatedMachine(size, processor=translator(VARIANTS["regions"]))
    for machine in machines:
        boot(built[name], expected.append, machine=machine)
    longest, limit = (300, 5000 if name == "tests/library" else 26_000) if name in _QUICK else (20_000, 1_200_000)
    outcome = Pair(*machines, random.Random(1)).run(limit, longest, memory_every=200)
    assert not isinstance(outcome, Difference), outcome
