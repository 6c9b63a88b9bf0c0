"""What the translator leaves on disk: used where it fits, ignored where it does not."""

from __future__ import annotations

import inspect
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.vmm.engine.dbt.lockstep import BLOCKS, REGIONS
from vmm.engine.dbt import diskcache
from vmm.engine.dbt.diskcache import DiskCache
from vmm.engine.dbt.native import BINDING
from vmm.engine.dbt.translator import Thresholds, Translator
from vmm.engine.interpreter import Interpreter
from vmm.memory import PhysicalMemory

PLACE, LOOP, COUNT = 0x1000, 5, 50
#: mov ecx, COUNT; again: add eax, ecx; dec ecx; jnz again; hlt
ADDS = bytes.fromhex("b932000000 01c8 49 75fb f4")
#: The same with a subtraction.
SUBTRACTS = bytes.fromhex("b932000000 29c8 49 75fb f4")
#: The loop runs 50 times compiled before it is a region.
THRESHOLDS = replace(REGIONS, hot=20)


def run(program: bytes, cache: DiskCache | None, thresholds: Thresholds = THRESHOLDS) -> Translator:
    """Run a program to its HLT, under the translator and under the interpreter, which must agree."""
    processors = []
    for kind in ("golden", "tested"):
        memory = PhysicalMemory(1 << 20)
        memory.load_blob(PLACE, program)
        cpu = Interpreter(memory) if kind == "golden" else Translator(memory, thresholds=thresholds, cache=cache)
        cpu.state.eip = PLACE
        cpu.state_changed()
        cpu.run(10_000)
        processors.append(cpu)
    golden, tested = processors
    assert isinstance(tested, Translator)
    tested.close()
    assert tested.state.to_dict() == golden.state.to_dict()
    return tested


def test_the_digest_covers_what_routines_are_made_from() -> None:
    tops = [BINDING.cls, *BINDING.objects.values(), *BINDING.records]
    files = {inspect.getsourcefile(cls) for top in tops for cls in top.__mro__ if cls.__module__.startswith("vmm.")}
    assert len(files) > 12
    assert {Path(str(name)).resolve() for name in files} <= {path.resolve() for path in diskcache.sources()}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a run has left."""
    folder = tmp_path_factory.mktemp("filled")
    run(ADDS, DiskCache(folder, "guest"))
    return folder


@pytest.fixture
def folder(filled: Path, tmp_path: Path) -> Path:
    """One of one's own."""
    for path in filled.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_the_next_run_compiles_nothing(folder: Path) -> None:
    again = run(ADDS, DiskCache(folder, "guest"))
    assert again.compiler.modules == 0
    assert again.statistics().native_steps > 0


def test_another_guest_has_its_own(folder: Path) -> None:
    assert run(ADDS, DiskCache(folder, "other")).compiler.modules > 0


def test_other_bytes_at_the_same_place_are_translated_anew(folder: Path) -> None:
    other = run(SUBTRACTS, DiskCache(folder, "guest"))
    assert other.compiler.modules > 0
    # and both are kept now
    for program in (ADDS, SUBTRACTS):
        assert run(program, DiskCache(folder, "guest")).compiler.modules == 0


def test_bytes_that_come_back_find_their_translation() -> None:
    """A guest that puts one program in the place of another and back is not compiled again."""
    golden, cpu = Interpreter(PhysicalMemory(1 << 20)), Translator(PhysicalMemory(1 << 20), thresholds=BLOCKS)
    modules = []
    for program in (ADDS, SUBTRACTS, ADDS):
        for one in (golden, cpu):
            one.memory.load_blob(PLACE, program)
            one.state.eip, one.state.halted, one.state.gpr[0], one.state.gpr[1] = PLACE + LOOP, False, 0, COUNT
            one.state_changed()
            one.run(10_000)
        assert cpu.state.gpr[0] == golden.state.gpr[0]
        modules.append(cpu.compiler.modules)
    assert modules[0] < modules[1] == modules[2]


def damage(path: Path, how: str) -> None:
    raw = bytearray(path.read_bytes())
    if how == "changed":
        raw[-1] ^= 1
    elif how == "truncated":
        del raw[len(raw) // 2:]
    elif how == "foreign":
        raw[:] = b"#!/bin/sh\n"
    else:
        raw.clear()
    path.write_bytes(raw)


@pytest.mark.parametrize("how", ["changed", "truncated", "foreign", "empty"])
def test_damaged_files_are_ignored_with_one_warning_and_replaced(
        folder: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    for path in folder.iterdir():
        damage(path, how)
    cache = DiskCache(folder, "guest")
    assert run(ADDS, cache).compiler.modules > 0
    said = capsys.readouterr().err
    assert said == f"gigogne: '{cache.path('runtime')}' is damaged and is made anew\n"
    assert run(ADDS, DiskCache(folder, "guest")).compiler.modules == 0
    assert capsys.readouterr().err == ""


def test_a_file_under_another_name_is_foreign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = DiskCache(tmp_path, "guest")
    cache.put("routines", b"body")
    cache.path("routines").rename(cache.path("runtime"))
    assert cache.get("runtime") is None
    assert "is damaged" in capsys.readouterr().err


def test_a_folder_in_the_place_of_a_file_is_named_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = DiskCache(folder, "guest")
    cache.path("guest").unlink()
    cache.path("guest").mkdir()
    assert run(ADDS, cache).compiler.modules > 0
    assert capsys.readouterr().err == f"gigogne: '{cache.path('guest')}' is a folder, so that nothing is kept there\n"
    assert list(folder.glob("*.tmp")) == []


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = DiskCache(tmp_path / "file" / "folder", "guest")
    assert cache.get("guest") is None
    cache.put("guest", b"body")
    assert cache.get("guest") is None


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DiskCache(tmp_path, "guest")
    cache.put("guest", b"first")

    def full(_from: str, _to: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    cache.put("guest", b"second")
    assert cache.get("guest") == b"first"
    assert [path.suffix for path in tmp_path.iterdir()] == [".native"]


def test_the_oldest_files_go_when_there_is_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diskcache, "LIMIT", 3000)
    caches = [DiskCache(tmp_path, str(n)) for n in range(4)]
    for age, cache in enumerate(caches):
        cache.put("guest", bytes(900))
        os.utime(cache.path("guest"), (age, age)) if cache.path("guest").exists() else None
    assert [cache.get("guest") is not None for cache in caches] == [False, True, True, True]


def test_code_for_another_sink_is_not_used() -> None:
    body = diskcache.pack([], 0xE9)
    assert diskcache.unpack(body, None) == diskcache.unpack(body, 0xE9) == []
    cpu = run(ADDS, None)
    translations = list(cpu.translations.pool)
    assert translations
    body = diskcache.pack(translations, 0xE9)
    assert diskcache.unpack(body, None) == []
    found = diskcache.unpack(body, 0xE9)
    assert {(one.mode, one.hot, one.blocks) for one in found} == {
        (one.mode, one.hot, tuple(replace(b, physical=b.eip & 0xFFF) for b in one.blocks)) for one in translations}
