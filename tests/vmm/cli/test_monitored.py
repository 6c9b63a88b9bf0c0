"""`--technique svm` with a fast-forward and saved states, and what a guest sees of a monitor where there is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import sim.rtlmachine
from rtl.isa.cpuid import HYPERVISOR_LEAF
from sim.rtlmachine import RtlMachine
from sim.savefile import read_state_file
from tests.sim import guests
from tests.vmm.cli.command import guest_file, invoke
from vmm.cli import switched
from vmm.cli.status import Status

RAM = 4 << 20
CODE = guests.say("a") + guests.count(3000) + guests.say("b") + guests.leave(1)
WHOLE = 2 + 1 + 4 * 3000 + 2 + 2


@pytest.fixture(autouse=True)
def built(computers: Callable[[int], RtlMachine], monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands share the machines: making the engine ready takes longer than these runs. So does translating."""
    def again(*, engine: str = "native", ram: np.ndarray | None = None, ram_bytes: int = RAM,
              console: Callable[[bytes], None] | None = None) -> RtlMachine:
        assert engine == "native"
        machine = computers(ram_bytes if ram is None else ram.nbytes)
        machine.reset()
        machine.console = console or (lambda _data: None)
        return machine

    monkeypatch.setattr(switched, "FAST", "emulate")
    monkeypatch.setattr(sim.rtlmachine, "RtlMachine", again)


@pytest.fixture
def guest(tmp_path: Path) -> Callable[[bytes], str]:
    return partial(guest_file, tmp_path)


def run(*arguments: str) -> Result:
    return invoke("run", *arguments, "-m", "4")


def instructions(result: Result) -> int:
    """Those of the summary."""
    found = re.search(r"^gigogne: ([\d,]+) instructions, ", result.stderr, re.MULTILINE)
    assert found is not None, result.stderr
    return int(found[1].replace(",", ""))


def test_fast_forward(guest: Callable[[bytes], str]) -> None:
    result = run(guest(CODE), "--technique", "svm", "--fast-forward-to", "10k", "--stats")
    assert (result.exit_code, result.stdout) == (3, "ab")
    assert "gigogne: fast-forward by emulate to 10k: 10,000 instructions in " in result.stderr
    assert instructions(result) == WHOLE - 10_000 and re.search(r"IOIO +2 ", result.stderr)


@pytest.mark.parametrize("technique", ("native", "emulate", "svm"))
def test_a_saved_guest_goes_on(guest: Callable[[bytes], str], tmp_path: Path, technique: str) -> None:
    path, state = guest(CODE), str(tmp_path / "state")
    first = run(path, "--technique", "svm", "--max-cycles", "5000", "--save", state)
    assert (first.exit_code, first.stdout) == (Status.LIMIT, "a")
    saved = read_state_file(state)
    assert len(saved.ram) * 4 == RAM and saved.cpu["instructions"] >= instructions(first)
    second = run(path, "--technique", technique, "--load", state)
    assert (second.exit_code, second.stdout) == (3, "b")
    assert saved.cpu["instructions"] + instructions(second) == WHOLE


def test_a_guest_of_the_rtl_goes_on_under_a_monitor(guest: Callable[[bytes], str], tmp_path: Path) -> None:
    path, state = guest(CODE), str(tmp_path / "state")
    first = run(path, "--max-cycles", "5000", "--save", state)
    second = run(path, "--technique", "svm", "--load", state)
    assert (first.stdout + second.stdout, second.exit_code) == ("ab", 3)


def test_a_guest_that_uses_svm(guest: Callable[[bytes], str], tmp_path: Path) -> None:
    """MOV ECX, C0000080h; MOV EAX, 1000h; XOR EDX, EDX; WRMSR."""
    path, state = guest(bytes.fromhex("B9800000C0 B800100000 31D2 0F30") + guests.FOREVER), str(tmp_path / "state")
    assert run(path, "--technique", "emulate", "--max-cycles", "100", "--save", state).exit_code == Status.LIMIT
    result = run(path, "--technique", "svm", "--load", state)
    assert result.exit_code == Status.BAD_INPUT
    assert "The guest cannot go on under svm: a guest of the hardware has no SVM" in result.stderr


@pytest.mark.parametrize(("technique", "leaf", "status"), [
    ("native", 0, Status.TRIPLE_FAULT), ("emulate", 0, Status.TRIPLE_FAULT), ("dbt", 0, Status.TRIPLE_FAULT),
    ("svm", HYPERVISOR_LEAF + 1, 2 * 1 + 1)])
def test_only_a_monitor_announces_itself_and_answers(guest: Callable[[bytes], str], technique: str, leaf: int,
                                                     status: int) -> None:
    """CPUID 40000000h; CPUID 1; then VMMCALL 0, with no table for its #UD. The result is the exit status."""
    told = (b"\xB8" + HYPERVISOR_LEAF.to_bytes(4, "little") + bytes.fromhex("0FA2 A3 00201000")
            + bytes.fromhex("B801000000 0FA2 890D 04201000"))
    calls = guests.TRIPLE_FAULT[:7] + bytes.fromhex("31C0 0F01D9 E6F4 F4")
    state = str(Path(guest(told + calls)).with_name("state"))
    result = run(guest(told + calls), "--technique", technique, "--save", state)
    assert result.exit_code == status
    ram = read_state_file(state).ram
    assert (int(ram[0x10_2000 // 4]), int(ram[0x10_2004 // 4]) >> 31) == (leaf, int(leaf != 0))
