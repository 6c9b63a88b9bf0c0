"""Code that rewrites itself, with the timing model: native code, and still the very record of the interpreter."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.vmm.engine.boot import boot
from tests.vmm.engine.dbt import rewriting
from tests.vmm.engine.dbt.lockstep import BLOCKS, CachingCompiler
from tests.vmm.engine.dbt.test_timed import machines, run_both
from tests.vmm.timing.code import COSTS
from vmm.engine.dbt import translator as module
from vmm.engine.dbt.checked import live_bytes
from vmm.engine.dbt.frontend import Block, cut
from vmm.engine.dbt.timed import TimedTranslator
from vmm.engine.dbt.timedruns import plan, telling_bytes
from vmm.engine.emulate import StopReason

BODY, DATA = rewriting.BODY, rewriting.DATA
JUMP, LOAD = b"\xE9", b"\x8B\x1D"


@pytest.fixture(autouse=True)
def caching(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "Compiler", CachingCompiler)
    yield


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 6, 7, 141])
def test_random_programs(seed: int) -> None:
    """Also under paging, where the walk of a load may write."""
    golden, tested = machines(rewriting.RAM, replace(BLOCKS, warm=1 + seed % 3))
    for machine in (golden, tested):
        rewriting.prepare(machine, seed, bool(seed & 2))
    assert run_both(golden, tested, random.Random(seed), 4000) is StopReason.LIMIT


def _word(value: int) -> bytes:
    return struct.pack("<I", value & 0xFFFF_FFFF)


def _run(code: bytes) -> TimedTranslator:
    """A loop of some code, ended by a jump to its start; ECX points to data."""
    golden, tested = machines(rewriting.RAM, BLOCKS)
    for machine in (golden, tested):
        rewriting.surround(machine, False)
        machine.memory.load_blob(BODY, code + JUMP + _word(-(len(code) + 5)))
        machine.cpu.state.gpr[1], machine.cpu.state.eip = DATA, BODY
        machine.cpu.state_changed()
    assert run_both(golden, tested, random.Random(1), 6000) is StopReason.LIMIT
    assert isinstance(tested.timed, TimedTranslator)
    return tested.timed


def test_a_walk_that_writes_to_the_code_behind_it() -> None:
    golden, tested = machines(rewriting.RAM, BLOCKS)
    for machine in (golden, tested):
        rewriting.walked(machine)
    assert run_both(golden, tested, random.Random(1), 3000) is StopReason.LIMIT


def test_a_displacement_that_decides_whether_a_load_waits_for_a_store() -> None:
    """It is not loaded at run time as others are: the load would cost the same wherever it is."""
    turn = b"\x80\x35" + _word(BODY + 13) + b"\x04\xEB\x00"
    # SMSW ends the run: a jump would make up for the wait
    cpu = _run(turn + b"\x89\x01\x8B\x59\x00\x0F\x01\xE0")
    assert cpu.statistics().native_steps > 5000


def test_a_run_that_has_changed_what_is_behind_it_is_resumed_as_it_was() -> None:
    """Two instructions become one, so that the run ends elsewhere; then comes one that is the interpreter's."""
    turn, enter_leave = b"\x80\x35" + _word(BODY) + b"\xF6", b"\xC8\x08\x00\x02\xC9"
    # the load waits for its address only in the run of the instruction before it
    cpu = _run(b"\x66\x90" + turn + enter_leave + b"\x89\xC8\x8B\x18" * 16)
    assert cpu.statistics().native_exits["interpret"] > 100


def test_what_follows_a_run_decides_where_it_ends() -> None:
    """REP MOVSB is a run of its own; LODSB waits for ESI in the run that loads it."""
    loads = b"\xB9\x01\x00\x00\x00\xBF" + _word(DATA + 64) + b"\xBB" + _word(DATA) + b"\xEB\x00"
    waiting = b"\x40\x40\x40\x89\xDE"
    turn = b"\x80\x35" + _word(BODY + 7 + len(loads + waiting)) + bytes((0xF3 ^ 0xAC,))
    _run(turn + loads + waiting + b"\xF3\xA4\x0F\x01\xE0")


def test_code_that_is_rewritten_is_native(built: dict[str, Path]) -> None:
    """It is compiled once, and neither dropped nor left to the interpreter when it is written to."""
    _golden, tested = machines(2 << 20, BLOCKS)
    boot(built["selfmod"], "iterations=400", machine=tested)
    assert tested.run(1_000_000).reason is StopReason.GUEST_EXIT
    tested.cpu.close()  # type: ignore[attr-defined]
    found = tested.timed.statistics()
    assert found.invalidations < 30 and found.native_exits["interpret"] < 50


def test_other_bytes_in_fields_that_tell_nothing_cost_the_same() -> None:
    rng, changed = random.Random(1), 0
    for _ in range(1000):
        code = b"".join(rng.choice((
            b"\xA3" + rng.randbytes(4), LOAD + rng.randbytes(4), b"\x05" + rng.randbytes(4),
            b"\x8B\x43" + rng.randbytes(1), b"\x89\x43" + rng.randbytes(1),
            b"\xC7\x05" + rng.randbytes(8), b"\x83\x45" + rng.randbytes(2),
            b"\x68" + rng.randbytes(4), b"\x8D\x40" + rng.randbytes(1))) for _ in range(rng.randrange(1, 6)))
        code += rng.choice((b"\x74", b"\xEB")) + rng.randbytes(1)
        block = _block(code)
        where = telling_bytes(block, True)
        assert where or code[-2] == 0xEB
        fixed = {at for at in range(len(code)) if at in where or not _is_field(block, at)}
        other = _block(bytes(byte if at in fixed else rng.getrandbits(8) for at, byte in enumerate(code)))
        changed += other.code != block.code
        assert plan(COSTS, other.guests, True) == [
            replace(one, shape=two.shape) for one, two in zip(
                plan(COSTS, block.guests, True), plan(COSTS, other.guests, True), strict=True)]
    assert changed > 600


def _block(code: bytes) -> Block:
    block = cut(BODY, BODY, code, None, True)
    assert block is not None and block.code == code
    return block


def _is_field(block: Block, at: int) -> bool:
    return at in live_bytes(block, {block.physical + at})
