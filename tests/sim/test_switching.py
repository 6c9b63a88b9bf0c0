"""Places to stop at, and runs that change the machine on the way."""

from __future__ import annotations

import numpy as np
import pytest

from sim.machine import MachineError
from sim.rtlmachine import RtlMachine
from sim.stop import Reason
from sim.switching import Place, parse_count, parse_place, run_to, switch
from sim.symbols import Symbol, SymbolTable
from tests.sim import guests
from vmm.cli.emulated import Emulated

SYMBOLS = SymbolTable.of([Symbol(0x10_0010, 4, "main"), Symbol(0x20_0000, 0, "10M")])


@pytest.mark.parametrize(("text", "place"), [
    ("main", (0x10_0010, 0)), ("0x100123", (0x10_0123, 0)), ("100123h", (0x10_0123, 0)), ("0FFFFFFFFh", (2**32 - 1, 0)),
    ("1000000", (None, 1_000_000)), ("1e6", (None, 1_000_000)), ("2.5M", (None, 2_500_000)), ("3k", (None, 3000)),
    ("10M", (0x20_0000, 0)),
])
def test_places(text: str, place: tuple[int | None, int]) -> None:
    assert parse_place(text, SYMBOLS) == Place(text, *place)


@pytest.mark.parametrize("text", ["mian", "", "0x", "-5", "1.5", "0", "0x123456789", "1FFFFFFFFh", "1e6k", "12 k", "٣"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(MachineError) as caught:
        parse_place(text, SYMBOLS)
    assert str(caught.value) == (f"'{text}' is neither a symbol of the image, nor an address as 0x100000, nor a number "
                                 "of instructions as 1000000 or 10M")


def test_counts() -> None:
    assert [parse_count(text) for text in ("7", "1.25k", "1e3", "1.0001k", "k")] == [7, 1250, 1000, None, None]


def test_run_to() -> None:
    machine = Emulated(ram_bytes=4 << 20)
    machine.load(guests.image(b"\x90\x90\x43" + guests.leave(3)))
    assert run_to(machine, Place("here", guests.START)) is None and machine.instructions == 0
    assert run_to(machine, Place("one", None, 1)) is None and machine.instructions == 1
    assert run_to(machine, Place("there", guests.START + 3)) is None and machine.instructions == 3
    assert not machine.breakpoints
    stop = run_to(machine, Place("nowhere", 0))
    assert stop is not None and (stop.reason, stop.value) == (Reason.GUEST_EXIT, 3)


@pytest.mark.parametrize("place", [Place("1", None, 1), Place("100", None, 100), Place("loop", guests.START + 5)])
def test_the_end_is_that_of_a_run_on_the_rtl(rtl: RtlMachine, place: Place) -> None:
    image = guests.image(guests.count(300) + guests.say("done") + guests.leave(4))
    heard = bytearray()
    rtl.console = heard.extend
    rtl.load(image)
    whole, memory, said = rtl.run(20_000), rtl.memory_image(), bytes(heard)
    heard.clear()
    rtl.reset()
    software = Emulated(ram=rtl.engine.ram, console=heard.extend)
    software.load(image)
    assert run_to(software, place) is None
    assert switch(software, rtl) is None
    stop = rtl.run(20_000)
    assert (stop.reason, stop.value, stop.instructions, heard) == (whole.reason, whole.value, whole.instructions, said)
    assert stop.state == whole.state and stop.cycle <= whole.cycle
    assert np.array_equal(rtl.memory_image(), memory)
