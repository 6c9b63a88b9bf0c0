"""One test body for every machine: typed stops, console, state."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from sim.machine import MachineError
from sim.rtlmachine import RtlMachine
from sim.savefile import read_state_file, write_state_file
from sim.stop import Reason
from tests.sim import guests
from vmm.cli.emulated import Emulated

Machine = RtlMachine | Emulated


@pytest.fixture(params=["native", "emulate"])
def machine(request: pytest.FixtureRequest) -> Machine:
    if request.param == "native":
        return request.getfixturevalue("rtl")
    return Emulated(ram_bytes=4 << 20)


@pytest.mark.parametrize(("code", "reason", "value"), [
    (guests.leave(0), Reason.GUEST_EXIT, 0),
    (guests.leave(21), Reason.GUEST_EXIT, 21),
    (guests.HALT, Reason.HALT_FOREVER, None),
    (guests.TRIPLE_FAULT, Reason.TRIPLE_FAULT, None),
    (guests.RESET, Reason.RESET, None),
    (guests.FOREVER, Reason.CYCLE_LIMIT, None),
])
def test_a_run_stops_for_a_typed_reason(machine: Machine, code: bytes, reason: Reason, value: int | None) -> None:
    machine.load(guests.image(code))
    stop = machine.run(3000)
    assert (stop.reason, stop.value) == (reason, value)


def test_stop_tells_where(machine: Machine) -> None:
    machine.load(guests.image(b"\xBB\x78\x56\x34\x12" + guests.HALT))
    stop = machine.run(3000)
    assert stop.eip == guests.START + 7
    text = stop.describe()
    # Symptom: the place was that of the instruction after HLT. Cause: EIP points there while the processor halts.
    assert text.startswith("HLT with interrupts off at 00100012: hlt, cycle")
    assert "EBX=12345678" in text and "CR0=00000011" in text and "[PE ET]" in text


def test_stop_shows_the_next_instruction(machine: Machine) -> None:
    machine.load(guests.image(guests.FOREVER))
    assert machine.run(500).disassembly == f"jmp 0x{guests.START:x}"


def test_console(machine: Machine) -> None:
    heard = bytearray()
    machine.console = heard.extend
    machine.load(guests.image(guests.say("hello\n") + guests.leave(0)))
    machine.run(3000)
    assert heard == b"hello\n"


def test_state_and_memory(machine: Machine) -> None:
    machine.load(guests.image(guests.count(10) + guests.HALT))
    machine.run(3000)
    state = machine.state()
    total = (0x2BAD_B002 + 55) & 0xFFFF_FFFF
    assert state["gpr"][:2] == [total, 0] and state["halted"] and state["segments"]["cs"]["attributes"] == 0xC9B
    # The word is still dirty in the cache of the RTL.
    assert int(machine.memory_image()[(guests.BASE + 0x3FFC) // 4]) == total


def other(rtl: RtlMachine, name: str) -> Machine:
    if name == "emulate":
        return Emulated(ram_bytes=4 << 20)
    rtl.reset()
    return rtl


@pytest.mark.parametrize("source", ["native", "emulate"])
@pytest.mark.parametrize("target", ["native", "emulate"])
def test_any_machine_goes_on_from_any_other(rtl: RtlMachine, tmp_path: Path, source: str, target: str) -> None:
    first = other(rtl, source)
    first.load(guests.image(guests.say("a") + guests.count(1000) + guests.say("b") + guests.leave(5)))
    assert first.run(1500).reason is Reason.CYCLE_LIMIT
    write_state_file(tmp_path / "state", first.save())
    second = other(rtl, target)
    heard = bytearray()
    second.console = heard.extend
    second.restore(read_state_file(tmp_path / "state"))
    stop = second.run(20_000)
    assert (stop.reason, stop.value, heard) == (Reason.GUEST_EXIT, 5, b"b")
    assert stop.state["gpr"][1] == 0
    # EAX began as the Multiboot magic number, with "a" in its low byte.
    assert int(second.memory_image()[(guests.BASE + 0x3FFC) // 4]) == 0x2BAD_B061 + 1000 * 1001 // 2


def test_saving_does_not_disturb_a_run(rtl: RtlMachine) -> None:
    code = guests.image(guests.count(300) + guests.leave(0))
    rtl.load(code)
    plain = rtl.run(20_000).cycle
    rtl.reset()
    rtl.load(code)
    for _ in range(5):
        rtl.run(100)
        rtl.state()
    saved = rtl.save()
    assert rtl.run(20_000).cycle == plain
    rtl.restore(saved)
    assert (rtl.cycle, rtl.run(20_000).cycle) == (500, plain)


def test_what_is_wrong_with_a_saved_state(rtl: RtlMachine, tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"PK nonsense")
    with pytest.raises(MachineError, match=r"^'.*state' is not a saved state of this computer, or is damaged$"):
        read_state_file(path)
    with pytest.raises(MachineError, match=r"^Cannot read '.*none': No such file or directory$"):
        read_state_file(tmp_path / "none")
    with pytest.raises(MachineError, match=r"^The saved state has 8 MiB of RAM, this computer 4 MiB$"):
        rtl.restore(Emulated(ram_bytes=8 << 20).save())


def test_breakpoint_stops_before_the_instruction(machine: Machine) -> None:
    machine.load(guests.image(b"\x90\x90\x43" + guests.leave(0)))
    machine.breakpoints = {guests.START + 2}
    stop = machine.run(3000)
    assert (stop.reason, stop.eip, stop.disassembly) == (Reason.BREAKPOINT, guests.START + 2, "inc ebx")
    assert machine.instructions == 2
    machine.breakpoints = set()
    assert machine.run(3000).reason is Reason.GUEST_EXIT


def test_ctrl_c_stops_with_the_state_intact(machine: Machine) -> None:
    machine.load(guests.image(guests.FOREVER))
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    stop = machine.run()
    timer.join()
    assert (stop.reason, stop.eip) == (Reason.USER_INTERRUPT, guests.START)


def test_the_cycles_of_a_run_do_not_depend_on_its_slices(rtl: RtlMachine) -> None:
    code = guests.image(guests.count(200) + guests.leave(0))
    rtl.load(code)
    whole = rtl.run(9000).cycle
    rtl.reset()
    rtl.load(code)
    for _ in range(5):
        assert rtl.run(37).reason is Reason.CYCLE_LIMIT
    assert rtl.run(9000).cycle == whole


def test_every_machine_starts_in_the_same_state() -> None:
    """A guest that looks at CS, or at TR before it loads one, sees the same whatever executes it."""
    states = []
    for start in (RtlMachine, Emulated):
        machine = start(ram_bytes=2 << 20)
        machine.load(guests.image(guests.leave(0)))
        states.append(machine.state())
    assert states[0] == states[1]
