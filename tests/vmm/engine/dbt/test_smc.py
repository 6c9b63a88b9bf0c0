"""Code that rewrites itself: the translator must be in the interpreter's state wherever a run is cut."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.vmm.engine.boot import boot
from tests.vmm.engine.dbt.lockstep import VARIANTS, Difference, Pair, translator
from tests.vmm.engine.dbt.rewriting import BODY, RAM, prepare, surround, walked
from vmm.engine.dbt.layout import Kind
from vmm.engine.dbt.translator import Translator
from vmm.engine.emulate import EmulatedMachine, StopReason

_VARIANTS = [name for name in VARIANTS if name != "background"]


def _run(pair: Pair, limit: int) -> None:
    try:
        outcome = pair.run(limit)
    finally:
        pair.tested.cpu.close()  # type: ignore[attr-defined]
    assert not isinstance(outcome, Difference), outcome
    assert outcome.reason in (StopReason.GUEST_EXIT, StopReason.LIMIT)


@pytest.mark.parametrize("variant", _VARIANTS)
@pytest.mark.parametrize("name, options", [
    ("selfmod", "iterations=150"), ("sharedpage", "iterations=1 data=line"), ("sharedpage", "iterations=1 data=page"),
    ("tests/code_change", ""), ("tests/code_corners", "")])
def test_guests(name: str, options: str, variant: str, built: dict[str, Path]) -> None:
    machines = EmulatedMachine(2 << 20), EmulatedMachine(2 << 20, processor=translator(VARIANTS[variant]))
    for machine in machines:
        boot(built[name], options, machine=machine)
    _run(Pair(*machines, random.Random(name)), 60_000)


def random_pair(seed: int, variant: str, paging: bool) -> Pair:
    machines = EmulatedMachine(RAM), EmulatedMachine(RAM, processor=translator(replace(VARIANTS[variant], warm=2)))
    for machine in machines:
        prepare(machine, seed, paging)
    return Pair(*machines, random.Random(seed))


@pytest.mark.parametrize("variant", _VARIANTS)
@pytest.mark.parametrize("paging", [False, True])
def test_random(variant: str, paging: bool) -> None:
    for seed in (1, 2, 4):
        _run(random_pair(seed, variant, paging), 2500)


def test_a_walk_that_changes_the_next_instruction() -> None:
    machines = EmulatedMachine(RAM), EmulatedMachine(RAM, processor=translator(VARIANTS["blocks"]))
    for machine in machines:
        walked(machine)
    _run(Pair(*machines, random.Random(1)), 1500)
    assert sum(unit.versions is not None for unit in machines[1].cpu.translations.units)  # type: ignore[attr-defined]


def test_a_page_whose_code_had_all_gone_is_looked_at_again() -> None:
    """A write to new code was not noticed: its page had been put in the tables while it had none."""
    machine = EmulatedMachine(RAM, processor=translator(VARIANTS["blocks"]))
    surround(machine, False)
    cpu, page = machine.cpu, BODY >> 12
    assert isinstance(cpu, Translator)
    machine.memory.load_blob(BODY, b"\xEB\xFE")
    cpu.state.eip = BODY
    cpu.state_changed()
    machine.run(10)
    machine.memory.load_blob(BODY, b"\x90\xEB\xFD")
    cpu.mmu.flush_all()
    cpu.mmu.translate(BODY, True, False)
    assert cpu.context.tables[Kind.WRITE][page]
    machine.run(10)
    cpu.close()
    assert not cpu.context.tables[Kind.WRITE][page]


def test_random_program_whose_code_goes_and_comes_back() -> None:
    _run(random_pair(141, "blocks", False), 2500)


def test_rewriting_stays_native(built: dict[str, Path]) -> None:
    """Python is asked about rewritten code until it is known to be, and then no more."""
    machine = EmulatedMachine(2 << 20, processor=translator(replace(VARIANTS["blocks"], warm=3, entered=50)))
    boot(built["selfmod"], "iterations=3000", machine=machine)
    outcome = machine.run(1_000_000)
    machine.cpu.close()  # type: ignore[attr-defined]
    assert outcome.reason is StopReason.GUEST_EXIT
    statistics = machine.cpu.statistics()
    assert statistics.invalidations < 60
    assert machine.cpu.steps - statistics.native_steps < 4000 < machine.cpu.steps // 20
