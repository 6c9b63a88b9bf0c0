"""Writes to data beside code: regions made for them look at the code map in place, and ask no accessor."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.vmm.engine.dbt.lockstep import (
    BLOCKS,
    REGIONS,
    CachingCompiler,
    Difference,
    Pair,
    memory_differs,
    states_differ,
)
from tests.vmm.engine.dbt.rewriting import RAM, prepare
from tests.vmm.engine.dbt.scenes import SCENES
from tests.vmm.engine.dbt.test_scenes import alike
from vmm.engine.dbt import translator as module
from vmm.engine.dbt.accesses import Accesses
from vmm.engine.dbt.contextfields import ContextFields
from vmm.engine.dbt.diskcache import DiskCache
from vmm.engine.dbt.frontend import cut
from vmm.engine.dbt.layout import CODE_MAP_AT, Context, Kind
from vmm.engine.dbt.recipes import Recipes
from vmm.engine.dbt.region import Region
from vmm.engine.dbt.runtime import PLACES
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.translator import Translator
from vmm.engine.dbt.values import Builder, known, named
from vmm.engine.emulate import EmulatedMachine
from vmm.engine.interpreter import Interpreter
from vmm.memory import PhysicalMemory
from vmm.semantics.ops import Mode

PLACE, SIZE = 0x1000, 1 << 20
APART, ON_PAGE = 0x5800, 0x1800
SETTING = Setting(Mode(flat=0x3F), False, False, True, False, PLACES, None, True)


@pytest.fixture(autouse=True)
def caching(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "Compiler", CachingCompiler)
    yield


class Everywhere(Translator):
    """All regions are made for writes beside code."""

    def _setting(self, is_region: bool, beside: bool = False) -> Setting:
        return super()._setting(is_region, is_region)


def counting(data: int, idle: int = 0) -> bytes:
    """mov edx, data; mov ecx, 2000; again: inc dword [edx]; add [edx+4], ecx; inc eax...; dec ecx; jnz again; hlt"""
    body = bytes.fromhex("ff02 014a04") + b"\x40" * idle + b"\x49"
    again = (-len(body) - 6).to_bytes(4, "little", signed=True)
    return b"\xBA" + data.to_bytes(4, "little") + bytes.fromhex("b9d0070000") + body + b"\x0F\x85" + again + b"\xF4"


def start(program: bytes, make: Callable[[PhysicalMemory], Interpreter], place: int = PLACE) -> Interpreter:
    memory = PhysicalMemory(SIZE)
    memory.load_blob(place, program)
    cpu = make(memory)
    cpu.state.eip = place
    cpu.state_changed()
    return cpu


def translated(program: bytes, steps: int, cache: DiskCache | None = None) -> Translator:
    """The translator after so many steps, where it agrees with the interpreter."""
    golden = start(program, Interpreter)
    tested = start(program, partial(Translator, thresholds=REGIONS, cache=cache))
    assert isinstance(tested, Translator)
    for cpu in (golden, tested):
        cpu.run(steps)
    assert not states_differ(golden, tested) + memory_differs(golden, tested)
    return tested


def regions(cpu: Translator) -> list[bool]:
    """Of the regions in use, whether they are made for writes beside code."""
    found = [unit.translation for unit in cpu.translations.units]
    return [one.beside for one in found if one is not None and one.hot]


def test_in_steady_state_no_accessor_is_called() -> None:
    cpu = translated(counting(ON_PAGE), 3000)
    counted = cpu.native.beside
    cpu.run(4000)
    assert cpu.native.beside == counted and regions(cpu) == [True]


def test_only_a_region_for_such_writes_takes_the_place_of_one_that_is_not() -> None:
    cpu = translated(counting(ON_PAGE), 60)
    assert regions(cpu) == [False]
    plain = next(one for one in cpu.translations.pool if one.hot)
    cpu.translations.pool.add(replace(plain, user=None))
    cpu.run(4000)
    assert regions(cpu) == [True]


def test_no_region_is_made_for_what_is_rare() -> None:
    cpu = translated(counting(ON_PAGE, idle=600), 100_000)
    assert cpu.native.beside and regions(cpu) and not any(regions(cpu))


def test_data_apart_has_a_region_as_ever() -> None:
    assert regions(translated(counting(APART), 5000)) == [False]


def test_a_region_left_by_another_run_does_not_stay(tmp_path: Path) -> None:
    """Symptom: data on the code's page ran at a tenth of the speed, for ever. Cause: a run with data apart had left a
    region of the same code on disk, which looks at nothing in place, and a region was never made anew. Fix: both are
    kept, and a region whose accessors write beside code gives way."""
    for data, modules in ((APART, True), (ON_PAGE, True), (ON_PAGE, False), (APART, False)):
        cpu = translated(counting(data), 5000, DiskCache(tmp_path, "guest"))
        cpu.close()
        assert bool(cpu.compiler.modules) is modules
        assert regions(cpu) == [data == ON_PAGE]


@pytest.mark.parametrize("paging", [False, True])
def test_code_that_rewrites_itself(paging: bool) -> None:
    for seed in (1, 4):
        machines = EmulatedMachine(RAM), EmulatedMachine(RAM, processor=_everywhere)
        for machine in machines:
            prepare(machine, seed, paging)
        outcome = Pair(*machines, random.Random(seed)).run(2500)
        assert not isinstance(outcome, Difference), outcome


def _everywhere(memory: PhysicalMemory, io: object = None, tlb_capacity: int = 0) -> Translator:
    return Everywhere(memory, io, thresholds=replace(REGIONS, warm=2))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in SCENES if "written" in name or "mapped" in name])
def test_scenes(name: str) -> None:
    alike(SCENES[name](Interpreter), SCENES[name](partial(Everywhere, thresholds=REGIONS)), 1, 400)


@pytest.mark.parametrize("make", [Translator, Everywhere])
def test_the_last_bytes_of_ram(make: type[Translator]) -> None:
    """Misaligned writes too, whose look reaches beyond the end of the code map."""
    writes = b"".join(code + (SIZE - back).to_bytes(4, "little") for code, backs in (
        (b"\xFF\x05", (4, 5, 6, 7, 11)), (b"\x66\xFF\x05", (2, 3)), (b"\xFE\x05", (1, 9))) for back in backs)
    body = writes + b"\x49"
    program = bytes.fromhex("b932000000") + body + b"\x0F\x85" + (-len(body) - 6).to_bytes(4, "little", signed=True)
    golden = start(program + b"\xF4", Interpreter, SIZE - 0x100)
    tested = start(program + b"\xF4", partial(make, thresholds=REGIONS), SIZE - 0x100)
    for cpu in (golden, tested):
        cpu.run(2000)
    assert golden.state.halted and not states_differ(golden, tested) + memory_differs(golden, tested)


def test_a_misaligned_write_that_ends_in_code() -> None:
    """The code begins where a word of the code map does; MOV [101Eh], ESI changes the
    immediate of its first instruction."""
    loop = bytes.fromhex("b000 01c3 89351e100000 81c600000001 49 75ed f4")
    program = bytes.fromhex("be0000b000 b964000000") + b"\x90" * 22 + loop
    for thresholds in (BLOCKS, REGIONS):
        golden = start(program, Interpreter)
        tested = start(program, partial(Translator, thresholds=thresholds))
        for cpu in (golden, tested):
            cpu.run(2000)
        assert golden.state.halted and not states_differ(golden, tested) + memory_differs(golden, tested)


def test_writes_are_checked_again_once_there_is_code_where_all_had_gone() -> None:
    """Symptom: code that rewrote itself was not seen to. Cause: its page had been put into the write tables while no
    code of it was known, and stayed there, since it was a watched page already. Fix: what counts is the code map."""
    cpu = start(counting(APART), Translator)
    assert isinstance(cpu, Translator)
    page, store, mmu = APART >> 12, cpu.translations, cpu.mmu
    for _ in range(2):
        store.cover(APART, 4)
        mmu.translate(APART, True, False)
        assert cpu.context.tables[Kind.CHECKED][page] and not cpu.context.tables[Kind.WRITE][page]
        store.written(APART, 4)
        mmu.flush_all()
        mmu.translate(APART, True, False)
        assert cpu.context.tables[Kind.WRITE][page]


def test_there_is_memory_behind_the_code_map() -> None:
    context = Context(0, SIZE, {})
    assert len(context._memory) >= CODE_MAP_AT + (SIZE >> 3) + 4


def test_a_write_looks_again_behind_a_change_by_another_instruction() -> None:
    """inc dword [1800h]; mov [1800h], eax; hlt"""
    block = cut(PLACE, PLACE, bytes.fromhex("ff0500180000 a300180000 f4"), None, True)
    assert block is not None
    text = Region("twice", block, {PLACE: block}, SETTING, Recipes(), []).text()
    assert text.count("ptr %at_table4, ") == 2


class _Instruction:
    def abort(self) -> str:
        return "abort"

    def begin_call(self) -> None:
        pass

    def end_call(self) -> None:
        pass


def test_what_is_changed_is_looked_at_once_and_what_comes_later_anew() -> None:
    b = Builder()
    accesses = Accesses(b, ContextFields(b, False), SETTING, _Instruction())
    linear, value = known(ON_PAGE, 32), named("%value", 32)

    def looks() -> int:
        return sum("ptr %at_table4" in line for line in b.main + b.cold)

    accesses.load(linear, 32, True)
    accesses.store(linear, value)
    assert looks() == 1
    accesses.begin()
    accesses.store(linear, value)
    assert looks() == 2
    with b.scope():
        accesses.load(linear, 32, True)
    # not all ways have come through that load
    accesses.store(linear, value)
    assert looks() == 4
