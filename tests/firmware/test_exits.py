"""The trace of entries and exits, with a monitor and of a guest that is one; the cost of an exit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtl.isa.exitcodes import ExitCode
from rtl.isa.platform import PORT
from sim.image import Image
from sim.rtlmachine import RtlMachine
from sim.seek import leaves_for
from sim.stop import Reason
from tests.sim import guests
from vmm.cli.exits import ExitLog
from vmm.cli.monitored import Monitored
from vmm.cli.tracesubject import Subject
from vmm.monitor.area import AREA_BYTES

SIZE = 16 << 20


@pytest.fixture(scope="module")
def computer() -> RtlMachine:
    return RtlMachine(ram=np.zeros((SIZE + AREA_BYTES) // 4, dtype=np.uint32))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_under_the_monitor(computer: RtlMachine, tmp_path: Path) -> None:
    """Two ports. The cycles of a guest and of the ways in and out are those of the counters."""
    guest = Monitored(host=computer)
    guest.load(guests.image(guests.say("a") + guests.leave(0)))
    log = ExitLog(guest, tmp_path / "exits.jsonl")
    guest.run()
    log.write()
    events = lines(tmp_path / "exits.jsonl")
    assert [(event["event"], event.get("detail")) for event in events] == [
        ("vmrun", None), ("vmexit", f"out port {PORT['DEBUGCON'].base:X}h, 1 byte"),
        ("vmrun", None), ("vmexit", f"out port {PORT['EXIT'].base:X}h, 1 byte")]
    assert [event["eip"] for event in events] == [
        guests.START, guests.START + 2, guests.START + 4, guests.START + 6]
    assert {event["vmcb"] for event in events} == {SIZE + 0x2000}
    first, left, again, last = events
    assert first["cycle"] < left["cycle"] < again["cycle"] < last["cycle"] < guest.host.cycle
    assert (left["reason"], left["instructions"]) == ("IOIO", 1)
    assert left["guest"] + left["switch"] == left["cycle"] - first["cycle"]


def test_a_guest_that_runs_guests(built: dict[str, Path], computer: RtlMachine, tmp_path: Path) -> None:
    computer.reset()
    computer.load(Image.load(built["svm/nested_faults"]))
    log = ExitLog(computer, tmp_path / "exits")
    assert computer.run(5_000_000).reason is Reason.GUEST_EXIT
    log.write()
    text = (tmp_path / "exits").read_text().splitlines()
    entries, exits = [line for line in text if " vmrun " in line], [line for line in text if " vmexit " in line]
    assert len(text) == len(entries) + len(exits) and len(entries) == len(exits) >= 20
    assert any("NPF" in line and "of a guest table at" in line for line in exits)


def test_a_vmrun_that_fails(built: dict[str, Path], computer: RtlMachine, tmp_path: Path) -> None:
    computer.reset()
    computer.load(Image.load(built["svm/consistency"]))
    log = ExitLog(computer, tmp_path / "exits.jsonl")
    assert computer.run(5_000_000).reason is Reason.GUEST_EXIT
    log.write()
    events = lines(tmp_path / "exits.jsonl")
    refused = [event for event in events if event.get("reason") == "INVALID"]
    entries = [event for event in events if event["event"] == "vmrun"]
    assert len(events) == 2 * len(entries) + len(refused) and len(refused) > 10
    assert {(event["guest"], event["instructions"]) for event in refused} == {(0, 0)}


def test_the_cost_of_an_exit(computer: RtlMachine) -> None:
    """It comes on top of what the run takes without; the guest sees it in its time-stamp counter."""
    said: list[int] = []
    image = guests.image(guests.say("abc") + bytes.fromhex("0F31") + b"\xE6" + bytes([PORT["DEBUGCON"].base])
                         + guests.leave(0))
    heard = bytearray()
    for cost in (0, 1 << 20):
        guest = Monitored(host=computer, exit_cost=cost, console=heard.extend)
        guest.load(image)
        said.append(guest.run().cycle)
        assert guest.counters()["monitor_cycles"] == 5 * cost
    assert said[1] - said[0] == 5 << 20
    assert heard[:3] == b"abc" and len(heard) == 8 and heard[3] == heard[7]


def test_a_cost_delays_no_interrupt(built: dict[str, Path], computer: RtlMachine) -> None:
    """A guest driven by its timer says the same."""
    said = []
    for cost in (0, 500):
        heard = bytearray()
        guest = Monitored(host=computer, exit_cost=cost, console=heard.extend)
        guest.load(Image.load(built["timer"]), "iterations=3")
        assert guest.run(20_000_000).reason is Reason.GUEST_EXIT
        said.append(bytes(heard))
    assert said[0] == said[1]


def test_the_nested_walk_in_a_waveform(built: dict[str, Path], computer: RtlMachine, tmp_path: Path) -> None:
    """The entries read before the first exit of the course's example: each of a guest's behind its nested one."""
    computer.reset()
    subject = Subject(computer, Image.load(built["svm/nested_walk"]), "", [])
    subject.load()
    left = subject.seek(leaves_for(ExitCode.VMMCALL))
    assert isinstance(left, int)
    subject.restart()
    subject.advance(left - 1000)
    subject.write(tmp_path / "w.vcd", left, everything=False)
    entries = [line.split()[0][1:].replace("\\x20", " ") for line in (tmp_path / "w.vcd").read_text().splitlines()
               if line.startswith("s") and "entry" in line]
    guest = [place for place, text in enumerate(entries) if not text.startswith("nested")]
    assert len(guest) >= 2 and "nested directory entry" in entries[0]
    for place in guest:
        assert entries[place - 1].startswith("nested table entry")
    assert "Nested walk" in (tmp_path / "w.gtkw").read_text()
