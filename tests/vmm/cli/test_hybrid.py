"""`gigogne run --devices`: emulated processors on the RTL devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim import guests
from tests.vmm.cli.command import guest_file, invoke
from vmm.cli.status import Status

#: A timer that runs, unmasked, while interrupts are off.
_TIMER = b"".join(bytes([0xB0, value, 0xE6, port]) for port, value in (
    (0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xFE), (0x43, 0x34), (0x40, 100), (0x40, 0)))


@pytest.fixture
def guest(tmp_path: Path) -> str:
    """Prints while it polls the transmitter."""
    poll = b"\x66\xBA\xFD\x03\xEC\xA8\x20\x74\xF7\x66\xBA\xF8\x03"
    text = b"".join(poll + bytes([0xB0, byte, 0xEE]) for byte in b"on the wire\n")
    return guest_file(tmp_path, _TIMER + text + guests.leave(3))


@pytest.mark.parametrize("technique", ["emulate", "dbt"])
def test_the_run_is_the_same(technique: str, guest: str) -> None:
    results = [invoke("run", guest, "--technique", technique, "--devices", devices)
               for devices in ("software", "rtl")]
    for result in results:
        assert (result.exit_code, result.stdout) == (3 << 1 | 1, "on the wire\n")
    counts = [result.stderr.partition(" cycles")[0] for result in results]
    assert counts[0] == counts[1] and "instructions" in counts[0]


def test_a_state_goes_from_rtl_devices_to_software(guest: str, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    first = invoke("run", guest, "--technique", "emulate", "--devices", "rtl", "--max-cycles", "500", "--save", state)
    assert first.exit_code == Status.LIMIT
    second = invoke("run", guest, "--technique", "emulate", "--load", state)
    assert (second.exit_code, first.stdout + second.stdout) == (7, "on the wire\n") and first.stdout


def test_the_rtl_processor_has_no_software_devices(guest: str) -> None:
    result = invoke("run", guest, "--devices", "software")
    assert result.exit_code == Status.BAD_INPUT
    assert result.stderr == (
        "gigogne: The RTL processor has RTL devices; --devices software needs another --technique\n")


def test_a_waveform_of_the_devices(guest: str, tmp_path: Path) -> None:
    output = tmp_path / "devices.vcd"
    result = invoke("trace", guest, "--technique", "emulate", "-o", str(output), "--from", "20", "--cycles", "300")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith(f"gigogne: cycles 20 to 319 in {output}, ")
    assert "channel0" in output.read_text() and "isa.pit.channel0" in output.with_suffix(".gtkw").read_text()


def test_a_waveform_around_a_place(guest: str, tmp_path: Path) -> None:
    output = tmp_path / "devices.vcd"
    place = f"{guests.START + len(_TIMER):X}"
    result = invoke("trace", guest, "--technique", "emulate", "-o", str(output), "--at", place, "--before", "5",
                    "--cycles", "8")
    assert result.exit_code == 0
    first, second = result.stderr.splitlines()
    assert first == f"gigogne: {place} is reached at cycle {len(_TIMER) // 2}"
    assert second.startswith("gigogne: cycles 11 to 18 in ")


def test_a_waveform_of_what_never_happens(guest: str, tmp_path: Path) -> None:
    output = tmp_path / "devices.vcd"
    for arguments, sentence in (
            (["--at", "200000"], "Execution never reaches 200000: guest exit at cycle "),
            (["--from", "1000000"], "The run ends before cycle 1000000: guest exit at cycle "),
            (["--from", "9", "--to", "9"], "The window from cycle 9 to 9 is empty"),
            (["--fast-forward-to", "10"], "--fast-forward-to goes on on the RTL: it needs technique 'native'")):
        result = invoke("trace", guest, "--technique", "emulate", "-o", str(output), *arguments)
        assert result.exit_code == Status.BAD_INPUT and not output.exists()
        assert result.stderr.startswith(f"gigogne: {sentence}")
