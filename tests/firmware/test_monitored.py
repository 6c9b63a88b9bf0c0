"""Every guest image under the hosted monitor does what its header says, as it does without one, wherever it begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from firmware.build import images
from firmware.expectation import expectation
from sim.image import Image
from sim.machine import MachineError
from sim.rtlmachine import RtlMachine
from sim.stop import Reason, Stop
from sim.switching import parse_place, run_to, switch
from vmm.cli.emulated import Emulated
from vmm.cli.monitored import Monitored
from vmm.engine.dbt.translator import Translator
from vmm.engine.interpreter import Interpreter
from vmm.monitor.area import AREA_BYTES

QUICK = {"timer", "selfmod", "syscalls", "tests/paging", "tests/tasks", "tests/gates", "tests/apic", "tests/debug"}
NAMES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(images())]


@pytest.mark.parametrize("name", NAMES)
def test_image_under_the_monitor(name: str, built: dict[str, Path], computers: Callable[[int], RtlMachine]) -> None:
    expected = expectation(name)
    heard = bytearray()
    guest = Monitored(host=computers((expected.memory << 20) + AREA_BYTES), console=heard.extend)
    guest.load(Image.load(built[name]), expected.append)
    stop = guest.run(20_000_000)
    assert heard.decode("latin-1").replace("\r", "") == expected.output
    assert (stop.reason, stop.value) == (Reason.GUEST_EXIT, expected.status)


SOFTWARE = {"emulate": Interpreter, "dbt": Translator}
Computer = RtlMachine | Emulated | Monitored
Start = Callable[[str], tuple[Computer, bytearray]]


@pytest.fixture
def start(computers: Callable[[int], RtlMachine]) -> Start:
    """A machine of a technique with 16 MiB of RAM, and what its guest says."""
    def started(technique: str) -> tuple[Computer, bytearray]:
        heard = bytearray()
        if technique == "svm":
            return Monitored(host=computers((16 << 20) + AREA_BYTES), console=heard.extend), heard
        if technique in SOFTWARE:
            return Emulated(console=heard.extend, processor=SOFTWARE[technique]), heard
        machine = computers(16 << 20)
        machine.reset()
        machine.console = heard.extend
        return machine, heard
    return started


def ends(name: str, machine: Computer, heard: bytearray) -> Stop:
    """Run to the end, which has to be the right one."""
    expected = expectation(name)
    stop = machine.run(20_000_000)
    assert heard.decode("latin-1").replace("\r", "") == expected.output
    assert (stop.reason, stop.value) == (Reason.GUEST_EXIT, expected.status)
    return stop


@pytest.mark.parametrize(("name", "place"), [
    ("syscalls", "3k"), ("tests/paging", "15k"), ("tests/tasks", "main"), ("timer", "20k")])
def test_fast_forward_into_guest_mode(name: str, place: str, built: dict[str, Path], start: Start) -> None:
    """The instructions are as many as under the monitor from the start, unless the guest looks at the time."""
    image, append = Image.load(built[name]), expectation(name).append
    whole, said = start("svm")
    whole.load(image, append)
    alone = ends(name, whole, said)
    fast, heard = start("dbt")
    fast.load(image, append)
    assert run_to(fast, parse_place(place, image.symbols)) is None
    slow, _ = start("svm")
    slow.console = fast.console
    assert switch(fast, slow) is None
    stop = ends(name, slow, heard)
    assert name == "timer" or stop.instructions == alone.instructions


@pytest.mark.parametrize(("first", "second"), [("svm", "native"), ("svm", "dbt"), ("svm", "svm"), ("native", "svm"),
                                               ("emulate", "svm")])
@pytest.mark.parametrize(("name", "length"), [("timer", 150_000), ("tests/apic", 30_000)])
def test_a_saved_state_goes_on_under_any_technique(name: str, length: int, first: str, second: str,
                                                   built: dict[str, Path], start: Start) -> None:
    machine, heard = start(first)
    machine.load(Image.load(built[name]), expectation(name).append)
    stop = machine.run(length if first in ("native", "svm") else length // 5)
    assert stop.reason is Reason.CYCLE_LIMIT
    saved, before = machine.save(), bytes(heard)
    assert saved.cpu["instructions"] > stop.instructions - 2
    ends(name, machine, heard)
    other, said = start(second)
    said += before
    other.restore(saved)
    ends(name, other, said)


def test_a_guest_that_uses_svm_cannot_go_on_under_it(built: dict[str, Path], start: Start) -> None:
    machine, _ = start("emulate")
    machine.load(Image.load(built["svm/basic"]))
    machine.run(60_000)
    saved = machine.save()
    assert saved.cpu["msrs"]
    other, _ = start("svm")
    with pytest.raises(MachineError, match="^The guest cannot go on under svm: a guest of the hardware has no SVM, "
                                           "and this state is of one that uses it$"):
        other.restore(saved)


def test_a_state_of_another_size(built: dict[str, Path], start: Start) -> None:
    machine, _ = start("svm")
    with pytest.raises(MachineError, match="^The saved state has 4 MiB of RAM, this computer 16 MiB$"):
        machine.restore(Emulated(ram_bytes=4 << 20).save())
