"""`gigogne trace`: where the window is put, and a waveform of a guest under the monitor."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from rtl.isa.exitcodes import ExitCode
from sim.engines import EngineError
from sim.rtlmachine import RtlMachine
from sim.seek import leaves_for, reaches
from sim.stop import Reason, Stop
from tests.sim import guests
from vmm.cli.monitored import Monitored
from vmm.cli.options import BadInput
from vmm.cli.tracesubject import Subject, exit_code
from vmm.monitor.area import AREA_BYTES

SIZE = 4 << 20
#: Two exits, a loop between them.
IMAGE = guests.image(guests.say("a") + guests.count(50) + guests.leave(0))
LOOP = guests.START + 4 + 5


@pytest.fixture(scope="module")
def computer() -> RtlMachine:
    return RtlMachine(ram=np.zeros((SIZE + AREA_BYTES) // 4, dtype=np.uint32))


def subject(machine: RtlMachine | Monitored) -> Subject:
    made = Subject(machine, IMAGE, "", [])
    made.load()
    return made


def test_exit_codes_by_name_and_number() -> None:
    assert (exit_code("npf"), exit_code("7Bh"), exit_code("400")) == (ExitCode.NPF, ExitCode.IOIO, ExitCode.NPF)
    with pytest.raises(BadInput, match="'XY' is neither the name of an exit code, as NPF or IOIO, nor a hexadecimal"):
        exit_code("XY")


def test_seeking(computer: RtlMachine) -> None:
    computer.reset()
    alone = subject(computer)
    reached = alone.seek(reaches(LOOP))
    assert isinstance(reached, int)
    alone.restart()
    computer.breakpoints = {LOOP}
    assert computer.run().cycle == reached
    computer.breakpoints = set()
    alone.restart()
    assert isinstance(missed := alone.seek(leaves_for(ExitCode.IOIO)), Stop) and missed.reason is Reason.GUEST_EXIT

    hosted = subject(Monitored(host=computer))
    left = hosted.seek(leaves_for(ExitCode.IOIO))
    hosted.restart()
    inside = hosted.seek(reaches(LOOP))
    assert isinstance(left, int) and isinstance(inside, int) and left < inside


def test_a_waveform_changes_nothing_and_goes_through_exits(computer: RtlMachine, tmp_path: Path) -> None:
    hosted = subject(Monitored(host=computer))
    assert hosted.machine.run().value == 0
    end = hosted.cycle
    hosted.restart()
    begin = hosted.cycle
    assert hosted.write(tmp_path / "w.vcd", end + 1000, everything=False) == end
    text = (tmp_path / "w.vcd").read_text()
    assert int(re.findall(r"^#(\d+)", text, re.MULTILINE)[-1]) // 30 == end - 1
    assert text.count("sIOIO ") == 2 and "sguest," in text and "shost," in text and "sdoorbell " in text
    assert hosted.machine.instructions > 150 and begin < 100
    assert (tmp_path / "w.gtkw").exists()


def test_an_empty_window(computer: RtlMachine, tmp_path: Path) -> None:
    hosted = subject(Monitored(host=computer))
    with pytest.raises(EngineError, match="is empty"):
        hosted.write(tmp_path / "w.vcd", hosted.cycle, everything=False)
    assert list(tmp_path.iterdir()) == []
