"""Every guest image on the RTL computer, in lockstep with the golden model, does what its header says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from firmware.build import images
from firmware.expectation import expectation
from sim.image import Image
from sim.lockstep import Lockstep
from sim.randprog import generate
from sim.rtlmachine import RtlMachine
from sim.stop import Reason
from vmm.cli.reference import GoldenReference

QUICK = {"strings", "syscalls", "timer", "selfmod"}
NAMES = [pytest.param(name, marks=() if name.startswith("tests/") or name in QUICK else pytest.mark.slow)
         for name in sorted(images())]
CAMPAIGN = 1_000_000


@pytest.mark.parametrize("name", NAMES)
def test_image_in_lockstep(name: str, built: dict[str, Path], computers: Callable[[int], RtlMachine]) -> None:
    expected = expectation(name)
    machine = computers(expected.memory << 20)
    machine.reset()
    heard = bytearray()
    machine.console = heard.extend
    machine.load(Image.load(built[name]), expected.append)
    outcome = Lockstep(machine, GoldenReference).run(8_000_000)
    assert outcome.divergence is None, outcome.divergence.describe()
    assert outcome.stop is not None
    assert (outcome.stop.reason, outcome.stop.value) == (Reason.GUEST_EXIT, expected.status)
    assert heard.decode("latin-1").replace("\r", "") == expected.output


@pytest.mark.slow
def test_campaign_of_random_programs() -> None:
    machine = RtlMachine(ram_bytes=generate(0).ram_bytes)
    seed, total = 10_000, 0
    while total < CAMPAIGN:
        machine.reset()
        machine.load(generate(seed).image)
        outcome = Lockstep(machine, GoldenReference).run(60_000)
        assert outcome.divergence is None, f"seed {seed}: {outcome.divergence.describe()}"
        total += outcome.retirements
        seed += 1
