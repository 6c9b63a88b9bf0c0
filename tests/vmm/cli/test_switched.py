"""`--fast-forward-to` and `--sample`: what they print, write and answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import Result

import sim.rtlmachine
from sim.rtlmachine import RtlMachine
from sim.savefile import read_state_file
from tests.sim import guests
from tests.vmm.cli.command import guest_file, invoke
from vmm.cli import switched
from vmm.cli.emulated import Emulated
from vmm.cli.status import Status
from vmm.cli.techniques import make_computer
from vmm.cli.translations import cache_of

if TYPE_CHECKING:
    from vmm.cli.techniques import Computer
    from vmm.engine.dbt.diskcache import DiskCache

CODE = guests.say("a") + guests.count(3000) + guests.say("b") + guests.leave(1)


@pytest.fixture(scope="module")
def machine() -> RtlMachine:
    return RtlMachine(ram_bytes=4 << 20)


@pytest.fixture(autouse=True)
def built(machine: RtlMachine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands share one machine: making the engine ready takes longer than these runs. So does translating."""
    def again(*, engine: str, ram: np.ndarray, console: Callable[[bytes], None]) -> RtlMachine:
        assert engine == "native"
        machine.reset()
        machine.engine.ram = ram
        machine.console = console
        return machine

    monkeypatch.setattr(switched, "FAST", "emulate")
    monkeypatch.setattr(sim.rtlmachine, "RtlMachine", again)
    yield


@pytest.fixture
def guest(tmp_path: Path) -> str:
    return guest_file(tmp_path, CODE)


def small(*arguments: str) -> Result:
    """On a computer with little RAM."""
    return invoke(*arguments, "-m", "4")


def last_figures(text: str) -> tuple[int, int]:
    """Instructions and cycles of the summary."""
    found = re.search(r"^gigogne: ([\d,]+) instructions, ([\d,]+) cycles, CPI", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1].replace(",", "")), int(found[2].replace(",", ""))


@pytest.mark.parametrize(("place", "skipped"), [("10k", 10_000), (hex(guests.START + 9), 3), ("7", 7)])
def test_fast_forward(guest: str, place: str, skipped: int) -> None:
    result = small("run", guest, "--fast-forward-to", place)
    assert (result.exit_code, result.stdout) == (3, "ab")
    assert re.search(rf"^gigogne: fast-forward by emulate to {place}: {skipped:,} instructions in \d", result.stderr,
                     re.MULTILINE)
    instructions, cycles = last_figures(result.stderr)
    assert skipped + instructions == 2 + 1 + 4 * 3000 + 2 + 2 and cycles > instructions


def test_max_cycles_count_from_the_place(guest: str) -> None:
    result = small("run", guest, "--fast-forward-to", "1000", "--max-cycles", "500")
    assert result.exit_code == Status.LIMIT
    assert last_figures(result.stderr)[1] == 500


def test_a_place_that_is_never_reached(guest: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    result = small("run", guest, "--fast-forward-to", "0x2000", "--save", str(state))
    assert (result.exit_code, result.stdout) == (Status.NOT_REACHED, "ab")
    assert "gigogne: Execution never reaches 0x2000: guest exit after 12,007 instructions\n" in result.stderr
    assert read_state_file(state).cpu["instructions"] == 12_007
    result = small("run", guest, "--fast-forward-to", "1M")
    assert result.exit_code == Status.NOT_REACHED
    assert "gigogne: The run ends before 1M instructions: guest exit after 12,007 instructions\n" in result.stderr


def test_from_a_saved_state(guest: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    small("run", guest, "--technique", "emulate", "--max-cycles", "1000", "--save", str(state))
    result = small("run", guest, "--load", str(state), "--fast-forward-to", "1000")
    assert (result.exit_code, result.stdout) == (3, "b")
    assert last_figures(result.stderr)[0] == 12_007 - 2000


def test_samples(guest: str) -> None:
    result = small("run", guest, "--sample", "200/2k", "--sample-warmup", "300", "--stats")
    assert (result.exit_code, result.stdout) == (3, "ab")
    found = re.search(r"^gigogne: CPI ([\d.]+) ± ([\d.]+) with 95 % confidence, 6 samples of about 200 cycles after "
                      r"300 of warm-up\ngigogne: 12,007 instructions, ([\d,]+) cycles estimated ± [\d.]+ %, "
                      r"([\d,]+) cycles simulated", result.stderr, re.MULTILINE)
    assert found is not None, result.stderr
    assert float(found[3].replace(",", "")) == pytest.approx(float(found[1]) * 12_007, rel=1e-3)
    counters = dict(re.findall(r"^gigogne: (\w+) +([\d,]+)$", result.stderr, re.MULTILINE))
    assert 6 * 100 < int(counters["cycles"].replace(",", "")) < 6 * 400


def test_no_sample(guest: str) -> None:
    result = small("run", guest, "--sample", "200/1G")
    assert result.exit_code == 3
    assert ("gigogne: 12,007 instructions, no sample: the run ended before the first window of one in 1,000,000,000 "
            "instructions was done\n") in result.stderr


def test_one_sample(guest: str) -> None:
    result = small("run", guest, "--sample", "200/12k", "--sample-warmup", "300", "--fast-forward-to", "10")
    assert re.search(r"CPI [\d.]+ with 95 % confidence, 1 samples|no sample", result.stderr), result.stderr


@pytest.mark.parametrize(("command", "arguments", "has_cache"), [
    ("run", ("--fast-forward-to", "1k"), True), ("run", ("--fast-forward-to", "1M"), True),
    ("run", ("--sample", "200/2k", "--sample-warmup", "300"), True),
    ("run", ("--sample", "200/1G", "--no-translation-cache"), False),
    ("trace", ("--fast-forward-to", "5000", "--cycles", "5", "--signals", "groups"), True),
])
def test_the_fast_machine_keeps_translations(guest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             command: str, arguments: tuple[str, ...], has_cache: bool) -> None:
    """Once, each such run translated the same anew. They are kept once, before the RTL takes over or at the end."""
    kept, left = [], []

    def make(technique: str, *, translations: DiskCache | None, **others: Any) -> Computer:
        kept.append(translations)
        return make_computer(technique, translations=translations, **others)

    monkeypatch.setattr(switched, "make_computer", make)
    monkeypatch.setattr(Emulated, "leave", lambda self: left.append(self.instructions) or False)
    small(command, guest, *arguments, *(["-o", str(tmp_path / "wave.vcd")] if command == "trace" else []))
    assert len(left) == len(kept) == 1
    assert kept[0] is None if not has_cache else kept[0].path("guest") == cache_of(Path(guest), None).path("guest")


def test_trace_begins_at_the_place(guest: str, tmp_path: Path) -> None:
    output = tmp_path / "wave.vcd"
    result = small("trace", guest, "-o", str(output), "--fast-forward-to", "5000", "--cycles", "50", "--signals",
                    "groups")
    assert result.exit_code == 0, result.stderr
    first, last = re.search(r"cycles (\d+) to (\d+) in", result.stderr).groups()  # type: ignore[union-attr]
    assert (int(first), int(last) - int(first)) == (5000, 49)
    assert output.is_file()
    result = small("trace", guest, "-o", str(tmp_path / "none.vcd"), "--fast-forward-to", "0x2000")
    assert result.exit_code == Status.BAD_INPUT and not (tmp_path / "none.vcd").exists()
    assert "Execution never reaches 0x2000: guest exit after 12,007 instructions" in result.stderr


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("--fast-forward-to", "nowhere"), "'nowhere' is neither a symbol of the image, nor an address as 0x100000, nor a "
                                       "number of instructions as 1000000 or 10M"),
    (("--fast-forward-to", "1k", "--technique", "emulate"),
     "--fast-forward-to goes on on the RTL: it needs technique 'native' or 'svm', not 'emulate'"),
    (("--sample", "1k"), "'1k' is not a sampling plan N/M: N cycles of every M instructions, as 10k/10M"),
    (("--sample", "1k/10k"), "1000 cycles after 40000 of warm-up do not fit in every 10000 instructions: take at least "
                             "41000"),
])
def test_bad_input(guest: str, arguments: tuple[str, ...], sentence: str) -> None:
    result = small("run", guest, *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (Status.BAD_INPUT, "", f"gigogne: {sentence}\n")
