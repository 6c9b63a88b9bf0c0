"""Whole guests that begin on a software engine and end on the RTL do what they do on the RTL alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware.expectation import expectation
from sim.image import Image
from sim.rtlmachine import RtlMachine
from sim.sampling import SamplePlan, Sampler
from sim.stop import Reason, Stop
from sim.switching import parse_place, run_to, switch
from vmm.cli.emulated import Emulated
from vmm.engine.dbt.translator import Translator
from vmm.engine.interpreter import Interpreter

#: Guests that do not look at the time, and places in them.
GUESTS = [("strings", "main"), ("syscalls", "3k"), ("selfmod", "9k"), ("tests/faults", "10k"), ("tests/tasks", "main"),
          ("tests/paging", "15k"), ("tests/code_change", "5k")]
PROCESSORS = (Interpreter, Translator)


@pytest.fixture(scope="module")
def rtl(computers: Callable[[int], RtlMachine]) -> RtlMachine:
    return computers(16 << 20)


def image_of(name: str, built: dict[str, Path]) -> tuple[Image, str]:
    expected = expectation(name)
    assert expected.memory == 16
    return Image.load(built[name]), expected.append


@pytest.fixture(scope="module")
def alone(built: dict[str, Path], rtl: RtlMachine) -> Any:
    """A run on the RTL from the start: stop, console, memory. Each is run once."""
    known: dict[str, tuple[Stop, bytes, np.ndarray]] = {}

    def run(name: str) -> tuple[Stop, bytes, np.ndarray]:
        if name not in known:
            image, append = image_of(name, built)
            heard = bytearray()
            rtl.reset()
            rtl.console = heard.extend
            rtl.load(image, append)
            stop = rtl.run(8_000_000)
            known[name] = stop, bytes(heard), rtl.memory_image()
        return known[name]

    return run


def started(image: Image, append: str, rtl: RtlMachine, processor: type[Interpreter]) -> tuple[Emulated, bytearray]:
    """The software engine at the start of a guest, on the RAM of the RTL."""
    heard = bytearray()
    rtl.reset()
    software = Emulated(ram=rtl.ram, console=heard.extend, processor=processor)
    rtl.console = software.console
    software.load(image, append)
    return software, heard


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize(("name", "place"), GUESTS)
def test_fast_forward(name: str, place: str, processor: type[Interpreter], built: dict[str, Path], rtl: RtlMachine,
                      alone: Any) -> None:
    whole, said, memory = alone(name)
    assert whole.reason is Reason.GUEST_EXIT
    image, append = image_of(name, built)
    software, heard = started(image, append, rtl, processor)
    assert run_to(software, parse_place(place, image.symbols)) is None
    assert 0 < software.instructions < whole.instructions
    assert switch(software, rtl) is None
    stop = rtl.run(8_000_000)
    assert (stop.reason, stop.value, stop.instructions) == (whole.reason, whole.value, whole.instructions)
    assert stop.state == whole.state | {"tsc_offset": stop.state["tsc_offset"]}
    assert heard == said
    assert np.array_equal(rtl.memory_image(), memory)


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("name", ["syscalls", "selfmod", "tests/code_change"])
def test_sampling_changes_nothing(name: str, processor: type[Interpreter], built: dict[str, Path], rtl: RtlMachine,
                                  alone: Any) -> None:
    whole, said, memory = alone(name)
    image, append = image_of(name, built)
    software, heard = started(image, append, rtl, processor)
    sampler = Sampler(software, rtl, SamplePlan(500, 3000, 300))
    stop = sampler.run(2 * whole.instructions)
    assert len(sampler.samples) > 1
    assert (stop.reason, stop.value, stop.instructions) == (whole.reason, whole.value, whole.instructions)
    assert stop.state == whole.state | {"tsc_offset": stop.state["tsc_offset"]}
    assert heard == said
    assert np.array_equal(sampler.current.memory_image(), memory)


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize(("name", "instructions"), [
    ("timer", "20k"), ("tests/rep", "2k"), pytest.param("kernel", "20k", marks=pytest.mark.slow)])
def test_guests_driven_by_a_timer_end_alike(name: str, instructions: str, processor: type[Interpreter],
                                            built: dict[str, Path], rtl: RtlMachine) -> None:
    """Their interrupts come at other instructions, so that only what they say and how they exit can be the same."""
    expected = expectation(name)
    image, append = image_of(name, built)
    software, heard = started(image, append, rtl, processor)
    assert run_to(software, parse_place("main", image.symbols)) is None
    assert run_to(software, parse_place(instructions, image.symbols)) is None
    assert switch(software, rtl) is None
    stop = rtl.run(8_000_000)
    assert (stop.reason, stop.value) == (Reason.GUEST_EXIT, expected.status)
    assert heard.decode("latin-1").replace("\r", "") == expected.output
