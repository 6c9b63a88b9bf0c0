"""Handing a computer over between the RTL and the software engine, on one RAM buffer."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sim.rtlmachine import RtlMachine
from sim.savefile import SavedState, read_state_file, write_state_file
from sim.stop import Reason, Stop
from tests.sim import guests
from vmm.cli.emulated import Emulated

#: Three times: PUSHA, DIV, REP STOSB, ENTER, CPUID, POPA, which are microprograms with branches, and a byte said.
BUSY = (b"\xBC" + struct.pack("<I", guests.BASE + 0x3F00) + b"\xBD\x03\0\0\0"                    # mov esp; mov ebp, 3
        + b"\x60\x31\xD2\xB9\x07\0\0\0\xF7\xF1\x50\x59\x83\xE1\x0F\xBF"                          # again: ...
        + struct.pack("<I", guests.BASE + 0x3000) + b"\xF3\xAA\xC8\x10\0\x01\xC9\x0F\xA2\x61"
        + guests.say("x") + b"\x01\xC8\x4D\x75\xD9")


@pytest.fixture
def pair(rtl: RtlMachine) -> Iterator[tuple[RtlMachine, Emulated, bytearray]]:
    """Both machines on one RAM buffer, and what they say."""
    software = Emulated(ram=rtl.engine.ram)
    heard = bytearray()
    rtl.console = software.console = heard.extend
    yield rtl, software, heard


def test_at_any_cycle(pair: tuple[RtlMachine, Emulated, bytearray]) -> None:
    """A pipeline stopped in the middle of a microprogram, or with a byte on its way to the host, once lost them."""
    rtl, software, heard = pair
    image = guests.image(BUSY + guests.leave(0))
    software.load(image)
    whole = software.run(10_000)
    expected = software.memory_image()
    assert (whole.reason, heard) == (Reason.GUEST_EXIT, b"xxx")
    for cycle in range(1, 600, 3):
        heard.clear()
        rtl.reset()
        rtl.load(image)
        assert rtl.run(cycle).reason is Reason.CYCLE_LIMIT
        handed = rtl.hand_over()
        if isinstance(handed, Stop):
            stop = handed
        else:
            software.restore(handed)
            stop = software.run(10_000)
        assert (stop.reason, stop.instructions, heard) == (Reason.GUEST_EXIT, whole.instructions, b"xxx"), cycle
        assert stop.state == whole.state | {"tsc_offset": stop.state["tsc_offset"]}, cycle
        assert isinstance(handed, Stop) or np.array_equal(software.ram, expected)


def test_back_and_forth(pair: tuple[RtlMachine, Emulated, bytearray]) -> None:
    rtl, software, heard = pair
    image = guests.image(BUSY + guests.count(100) + guests.leave(7))
    software.load(image)
    whole = software.run(10_000)
    expected = software.memory_image()
    heard.clear()
    software = Emulated(ram=rtl.engine.ram, console=heard.extend)
    rtl.engine.ram[:] = 0
    software.load(image)
    stop = software.run(5)
    turns = 0
    while stop.reason is Reason.CYCLE_LIMIT:
        rtl.restore(software.hand_over())
        assert rtl.run(53).reason is Reason.CYCLE_LIMIT
        handed = rtl.hand_over()
        if isinstance(handed, Stop):
            stop = handed
            break
        software.restore(handed)
        stop = software.run(5)
        turns += 1
    assert turns > 10
    assert (stop.reason, stop.value, stop.instructions, heard) == (Reason.GUEST_EXIT, 7, whole.instructions, b"xxx")
    assert np.array_equal(software.ram, expected)


def test_the_guest_ends_the_run_on_the_way(pair: tuple[RtlMachine, Emulated, bytearray]) -> None:
    """Between the last cycle of a run and rest, a guest may still exit or ask for a reset: that is not lost."""
    rtl = pair[0]
    for code, reason, value in ((guests.leave(9), Reason.GUEST_EXIT, 9), (guests.RESET, Reason.RESET, None),
                                (guests.TRIPLE_FAULT, Reason.TRIPLE_FAULT, None)):
        rtl.load(guests.image(code))
        end = rtl.run(3000).cycle
        found = False
        for early in range(1, 20):
            rtl.reset()
            rtl.load(guests.image(code))
            assert rtl.run(end - early).reason is Reason.CYCLE_LIMIT
            handed = rtl.hand_over()
            if isinstance(handed, Stop):
                assert (handed.reason, handed.value) == (reason, value)
                found = True
            else:
                found |= handed.cpu["shutdown"]
        assert found
        rtl.reset()


def test_code_changed_by_the_other_machine(pair: tuple[RtlMachine, Emulated, bytearray]) -> None:
    """The software engine knew MOV AL, 1 at `target`; the RTL writes 2 into it."""
    rtl, software, _heard = pair
    # again: MOV AL, 1; CMP EBX, 1; JE end; JMP again; end: OUT F4h, AL
    code = b"\xBB\0\0\0\0" + b"\xB0\x01\x83\xFB\x01\x74\x02\xEB\xF7\xE6\xF4\xF4"
    software.load(guests.image(code))
    assert software.run(50).reason is Reason.CYCLE_LIMIT
    saved = software.hand_over()
    memory = software.machine.memory
    memory.bytes[guests.START + 6] = 2
    saved.cpu["gpr"][3] = 1
    saved.cpu["eip"] = guests.START + 5
    software.restore(saved)
    assert software.run(50).value == 2
    other = Emulated(ram_bytes=4 << 20)
    other.load(guests.image(code))
    other.run(50)
    other.restore(SavedState(saved.cycle, saved.cpu, saved.devices, software.memory_image()))
    assert other.run(50).value == 2


def test_nothing_said_is_lost_in_a_saved_state(rtl: RtlMachine, tmp_path: Path) -> None:
    """What is in flight when a state is saved says its byte before it is at rest."""
    heard = bytearray()
    rtl.console = heard.extend
    counts = set()
    for cycle in range(40, 90):
        heard.clear()
        rtl.reset()
        rtl.load(guests.image(guests.say("abc") + guests.count(50) + guests.leave(0)))
        rtl.run(cycle)
        write_state_file(tmp_path / "state", rtl.save())
        counts.add(len(heard))
        software = Emulated(ram_bytes=4 << 20, console=heard.extend)
        software.restore(read_state_file(tmp_path / "state"))
        assert software.run(1000).reason is Reason.GUEST_EXIT and heard == b"abc"
    assert len(counts) > 1
