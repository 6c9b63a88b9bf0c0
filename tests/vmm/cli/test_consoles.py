"""What a guest writes to several consoles comes out in the order of writing, whoever executes it."""

from __future__ import annotations

import struct

import pytest

from rtl.isa.platform import PORT
from sim.stop import Reason
from tests.sim import guests
from vmm.cli.techniques import TECHNIQUES, make_computer
from vmm.timing.costs import default_costs
from vmm.timing.machine import Timing

_SERIAL = b"\x66\xBA" + struct.pack("<H", PORT["UART"].base) + b"\xB0A\xEE"  # MOV DX, 3F8h; MOV AL, 'A'; OUT DX, AL
_DEBUG = guests.say("b")


def loop(times: int, body: bytes) -> bytes:
    """MOV ECX, n; again: body; DEC ECX; JNZ again."""
    return b"\xB9" + struct.pack("<I", times) + body + b"\x49\x75" + struct.pack("b", -len(body) - 3)


def output(code: bytes, technique: str, times: int) -> str:
    heard = bytearray()
    timing = Timing(default_costs()) if technique == "timed" else None
    machine = make_computer("dbt" if timing else technique, engine="native", ram_bytes=2 << 20, console=heard.extend,
                            timing=timing)
    machine.load(guests.image(loop(times, code) + guests.leave(0)))
    assert machine.run(2_000_000).reason is Reason.GUEST_EXIT
    return heard.decode("latin-1")


@pytest.mark.parametrize("technique", [*TECHNIQUES, "timed"])
def test_serial_port_and_debug_console(technique: str) -> None:
    assert output(_SERIAL + _DEBUG, technique, 60) == "Ab" * 60


def test_serial_port_and_hypercall() -> None:
    """XOR EAX, EAX; INC EAX; MOV EBX, text; PUSH ECX; MOV ECX, EAX; VMMCALL; POP ECX."""
    text = struct.pack("<I", 0x100008)
    call = b"\x31\xC0\x40\xBB" + text + b"\x51\x89\xC1\x0F\x01\xD9\x59"
    said = output(b"\xBC\x00\x00\x11\x00" + _SERIAL + call, "svm", 5)
    assert len(said) == 10 and said == said[:2] * 5 and said[0] == "A"
