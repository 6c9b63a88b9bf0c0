"""What the commands print, write and answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import sim.rtlmachine
from sim.comparison import Undecided
from sim.rtlmachine import RtlMachine
from tests.sim import guests
from tests.vmm.cli.command import guest_file, invoke
from vmm.cli import check, trace
from vmm.cli.status import Status
from vmm.cli.techniques import TECHNIQUES
from vmm.engine.interpreter import Interpreter
from vmm.statistics import Statistics


@pytest.fixture(scope="session")
def machine() -> RtlMachine:
    return RtlMachine(ram_bytes=16 << 20)


@pytest.fixture
def built(machine: RtlMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands share one machine: making the engine ready takes longer than these runs."""
    def again(*, engine: str, ram_bytes: int = 0, console: object = None, ram: np.ndarray | None = None) -> RtlMachine:
        assert engine == "native"
        if ram is not None:
            return RtlMachine(ram=ram)
        machine.reset()
        machine.breakpoints = set()
        machine.console = console or (lambda _data: None)  # type: ignore[assignment]
        return machine

    for module in (sim.rtlmachine, check, trace):
        monkeypatch.setattr(module, "RtlMachine", again)


@pytest.fixture
def guest(tmp_path: Path) -> Callable[[bytes], str]:
    return partial(guest_file, tmp_path)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize(("code", "status"), [
    (guests.leave(0), 0), (guests.leave(1), 3), (guests.leave(21), 43), (guests.leave(0x80), 1),
    (guests.TRIPLE_FAULT, Status.TRIPLE_FAULT), (guests.HALT, Status.HALT_FOREVER), (guests.RESET, Status.RESET),
    (guests.FOREVER, Status.LIMIT), (guests.DOORBELL, 0),
])
def test_exit_statuses(built: None, guest, technique: str, code: bytes, status: int) -> None:
    assert invoke("run", guest(code), "--technique", technique, "--max-cycles", "3000").exit_code == status


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_console_and_summary(built: None, guest, technique: str) -> None:
    result = invoke("run", guest(guests.say("hello\n") + guests.leave(0)), "--technique", technique)
    assert result.stdout == "hello\n"
    assert re.fullmatch(r"gigogne: [\d,]+ instructions, [\d,]+ cycles, CPI [\d.]+, [\d.]+ s, .*\n", result.stderr)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_an_end_that_is_not_the_guests_is_explained(built: None, guest, technique: str) -> None:
    result = invoke("run", guest(guests.TRIPLE_FAULT), "--technique", technique)
    assert "gigogne: triple fault at 00100013: ud2" in result.stderr
    assert "EAX=2BADB002" in result.stderr and "IDTR base 00000000 limit 0000" in result.stderr


def test_statistics(built: None, guest) -> None:
    assert re.search(r"instructions +\d+", invoke("run", guest(guests.count(9) + guests.leave(0)), "--stats").stderr)


def test_statistics_of_the_engine(guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Interpreter, "statistics", lambda _self: Statistics(blocks=1234))
    told = invoke("run", guest(guests.leave(0)), "--technique", "emulate", "--stats").stderr
    assert re.search(r"gigogne: blocks +1,234\n", told) and "regions" not in told


def test_save_and_load(built: None, guest, tmp_path: Path) -> None:
    path, state = guest(guests.say("a") + guests.count(3000) + guests.say("b") + guests.leave(0)), f"{tmp_path}/state"
    first = invoke("run", path, "--max-cycles", "2000", "--save", state)
    assert (first.exit_code, first.stdout) == (Status.LIMIT, "a")
    for technique in ("native", "emulate", "dbt"):
        second = invoke("run", path, "--load", state, "--technique", technique)
        assert (second.exit_code, second.stdout) == (0, "b")


def test_check_agrees(built: None, guest) -> None:
    result = invoke("check", guest(guests.count(9) + guests.leave(0)))
    assert result.exit_code == 0
    assert re.search(r"39 retirements equal, [\d,]+ cycles, guest exit", result.stderr)


@pytest.mark.parametrize(("code", "status"), [
    (guests.leave(21), 43), (guests.TRIPLE_FAULT, Status.TRIPLE_FAULT), (guests.HALT, Status.HALT_FOREVER),
    (guests.RESET, Status.RESET), (guests.FOREVER, Status.LIMIT),
])
def test_check_ends_with_the_status_of_the_run(built: None, guest, code: bytes, status: int) -> None:
    result = invoke("check", guest(code), "--max-cycles", "3000")
    assert result.exit_code == status
    assert "retirements equal" in result.stderr


def test_check_of_random_programs(built: None) -> None:
    result = invoke("check", "--random", "1", "--count", "2", "--max-cycles", "20000")
    assert result.exit_code == 0, result.stderr
    assert "2 random programs from 1: " in result.stderr


def test_check_of_random_guests(built: None) -> None:
    result = invoke("check", "--random-guests", "5", "--seed", "3")
    assert result.exit_code == 0, result.stderr
    assert re.search(r"\d+ guest entries of 1 random hosts from 3: [\d,]+ retirements equal", result.stderr)
    assert re.search(r"isolation: [\d,]+ stores and [\d,]+ translations of guests", result.stderr)


def test_check_of_random_guests_that_are_never_entered(built: None) -> None:
    """Once, it went from host to host for ever."""
    result = invoke("check", "--random-guests", "3", "--max-cycles", "5")
    assert (result.exit_code, result.stderr) == (Status.BAD_INPUT, "gigogne: Random host 1 does not come to enter a "
                                                 "guest in 5 cycles; give it more by --max-cycles\n")


def test_check_says_why_it_is_undecided(built: None, guest, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unsure(check.GoldenReference):
        def step(self):
            raise Undecided("nobody knows")

    monkeypatch.setattr(check, "GoldenReference", Unsure)
    result = invoke("check", guest(guests.leave(0)))
    assert result.exit_code == Status.UNSUPPORTED
    assert "0 retirements equal, then undecided: nobody knows" in result.stderr


def test_check_shows_a_difference(built: None, guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(check.GoldenReference):
        def step(self):
            step = super().step()
            if self.cpu.state.gpr[1] == 3:
                self.cpu.state.gpr[6] = 1
            return step

    monkeypatch.setattr(check, "GoldenReference", Wrong)
    result = invoke("check", guest(guests.count(200) + guests.leave(0)), "--waveform", f"{tmp_path}/d.vcd")
    assert result.exit_code == Status.DIVERGENCE
    assert "ESI: RTL 00000000, reference 00000001" in result.stderr and "dec ecx" in result.stderr
    states = re.search(r"gigogne: RTL:\n(.*)gigogne: reference:\n(.*CR0[^\n]*\n)", result.stderr, re.S)
    assert states is not None
    rtl, reference = states.groups()
    assert "CR0=00000011" in rtl and "CS   0008 base" in rtl
    assert rtl.replace("ESI=00000000", "ESI=00000001") == reference
    assert "$var" in (tmp_path / "d.vcd").read_text() and (tmp_path / "d.gtkw").exists()
    first = int(re.search(r"^#(\d+)", (tmp_path / "d.vcd").read_text(), re.M)[1])
    cycle = int(re.search(r"cycle (\d+):", result.stderr)[1])
    assert first // 30 == cycle - 200


def test_trace_at_a_place(built: None, guest, tmp_path: Path) -> None:
    path = guest(guests.count(20) + guests.leave(0))
    result = invoke("trace", path, "-o", f"{tmp_path}/w.vcd", "--at", "100013", "--before", "10", "--cycles", "40")
    assert result.exit_code == 0, result.stderr
    text, save = (tmp_path / "w.vcd").read_text(), (tmp_path / "w.gtkw").read_text()
    cycle = int(re.search(r"reached at cycle (\d+)", result.stderr)[1])
    assert f"cycles {cycle - 10} to {cycle + 29} in" in result.stderr
    assert "sadd\\x20eax,\\x20ecx" in text or "sadd eax, ecx" in text
    for title in ("-Pipeline", "-Registers", "-MMU and caches", "-Page walks", "-Bus", "-Devices"):
        assert title in save
    assert 'text.instruction' in save and "core.regs.eax" in save


def test_groups_are_not_empty(machine: RtlMachine) -> None:
    from sim.tracing import signal_groups

    sizes = {title: len(members) for title, members, _closed in signal_groups(machine.engine.signals())}
    assert all(size >= 8 for size in sizes.values()), sizes


def test_trace_of_a_place_that_is_never_reached(built: None, guest, tmp_path: Path) -> None:
    result = invoke("trace", guest(guests.leave(0)), "-o", f"{tmp_path}/w.vcd", "--at", "200000")
    assert result.exit_code == 2
    assert "Execution never reaches 200000: guest exit at cycle" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["guest.elf"]


def test_compare_with_a_guest_of_the_hardware(built: None, guest, tmp_path: Path) -> None:
    result = invoke("compare", guest(guests.say("x") + guests.count(100) + guests.leave(0)), "--technique", "svm",
                    "--json", f"{tmp_path}/figures")
    assert result.exit_code == 0, result.stderr
    native, svm = json.loads((tmp_path / "figures").read_text())["runs"]
    assert (svm["technique"], svm["exits"]) == ("svm", {"IOIO": 2})
    assert svm["instructions"] == native["instructions"]
    assert svm["counters"]["guest_cycles"] + svm["counters"]["transition_cycles"] <= svm["cycles"]
    assert svm["exit_cycles"] == {"IOIO": svm["counters"]["transition_cycles"]}
    each = round(svm["exit_cycles"]["IOIO"] / 2)
    assert re.search(rf"transition cycles .*exit IOIO .* 2 │ {each} cycles each.*monitor's stub", result.stdout, re.S)


def test_hypercalls_of_a_guest(built: None, guest) -> None:
    """The console, then again with a text beyond RAM, which prints none."""
    calls = bytes.fromhex("B903000000 B801000000 0F01D9" "C1E308" "B801000000 0F01D9" "EB03")
    text = guests.START + 5 + len(calls)
    program = b"\xBB" + text.to_bytes(4, "little") + calls + b"hi\n" + guests.leave(0)
    result = invoke("run", guest(program), "--technique", "svm", "--stats")
    assert (result.exit_code, result.stdout) == (0, "hi\n")
    assert re.search(r"VMMCALL +2 ", result.stderr)
    counters = re.findall(r"^gigogne: \w+ +[\d,]+$", result.stderr, re.MULTILINE)
    assert len({len(line) for line in counters}) == 1 and any("nested_walk_cache_misses" in line for line in counters)


def test_compare(built: None, guest, tmp_path: Path) -> None:
    result = invoke("compare", guest(guests.say("x") + guests.count(100) + guests.leave(0)), "--json",
                    f"{tmp_path}/c.json")
    assert result.exit_code == 0, result.stderr
    native, emulated = json.loads((tmp_path / "c.json").read_text())["runs"]
    # The processor may complete what is in flight while the exit port takes effect.
    assert native["instructions"] == emulated["instructions"]
    assert native["cycles"] > native["instructions"] > 400
    assert native["counters"]["icache_misses"] > 0
    assert "CPI" in result.stdout and "native" in result.stdout


def test_info() -> None:
    text = invoke("info").stdout
    for word in ("16550", "3F8h-3FFh", "memory.latency", "B8000h-BFFFFh", "llvmlite", "33.409 MHz"):
        assert word in text


def test_export(tmp_path: Path) -> None:
    assert invoke("export", "-o", f"{tmp_path}/top.v").exit_code == 0
    text = (tmp_path / "top.v").read_text()
    assert re.search(r"^module \\?top", text, re.M) and "endmodule" in text
