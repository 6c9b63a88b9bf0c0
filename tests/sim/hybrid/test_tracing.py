"""A waveform shows what RTL devices do under an emulated processor, and changes nothing in the run."""

from __future__ import annotations

from pathlib import Path

from sim.hybrid.platform import RtlPlatform
from sim.hybrid.tracing import write_device_waveform
from tests.sim import guests
from vmm.engine.emulate import EmulatedMachine, StopReason

_SETUP = b"".join(bytes([0xB0, value, 0xE6, port]) for port, value in (
    (0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xFE), (0x43, 0x34), (0x40, 3), (0x40, 0)))
#: The timer runs while a loop counts; then one byte and the end.
_CODE = _SETUP + guests.count(200) + guests.say("x") + guests.leave(0)


def machine() -> EmulatedMachine:
    made = EmulatedMachine(4 << 20, platform=RtlPlatform())
    made.memory.load_blob(guests.START, _CODE)
    made.cpu.state.eip = guests.START
    return made


def values(text: str, name: str) -> list[int]:
    """What a signal of one word becomes, in order."""
    code = next(line.split()[3] for line in text.splitlines() if line.startswith("$var") and line.split()[4] == name)
    found = [line for line in text.splitlines() if line.startswith(("b", "0", "1")) and (
        line.split()[1] if line[0] == "b" else line[1:]) == code]
    return [int(line.split()[0][1:], 2) if line[0] == "b" else int(line[0]) for line in found]


def trace(path: Path, last: int, everything: bool = True) -> tuple[EmulatedMachine, int]:
    made = machine()
    hardware = made.platform
    assert isinstance(hardware, RtlPlatform)
    end = write_device_waveform(hardware, lambda: made.run(100_000).reason is StopReason.LIMIT, path, last,
                                everything=everything)
    return made, end


def test_it_shows_accesses_time_and_interrupts(tmp_path: Path) -> None:
    made, end = trace(tmp_path / "devices.vcd", 100_000)
    text = (tmp_path / "devices.vcd").read_text()
    untraced = machine()
    assert untraced.run(100_000).reason is StopReason.GUEST_EXIT
    assert made.platform.cycles == untraced.platform.cycles and end > made.platform.cycles
    now = values(text, "now")
    assert now == list(range(now[0], now[-1] + 1)) and now[-1] == made.platform.cycles - 1
    # Nobody acknowledges, and the line of a timer of rate 3 falls at each third tick: the request goes and comes.
    assert values(text, "intr")[:5] == [0, 1, 0, 1, 0]
    assert ord("x") in values(text, "debug_data")
    assert "top.intr" in (tmp_path / "devices.gtkw").read_text()
    assert made.cpu.state.to_dict() == untraced.cpu.state.to_dict()


def test_a_window_ends_at_its_cycle(tmp_path: Path) -> None:
    made, end = trace(tmp_path / "devices.vcd", 300, everything=False)
    assert made.platform.cycles == 300 <= end < 500
    text = (tmp_path / "devices.vcd").read_text()
    assert "chip0" in text and "rx_fifo" not in text
