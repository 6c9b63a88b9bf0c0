"""The translation cache on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim import guests
from tests.test_imports import ROOT


def gigogne(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "vmm.cli.main", *arguments], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {"GIGOGNE_CACHE": str(cache)})


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "guest.elf"
    path.write_bytes(guests.elf(guests.say("x") + guests.leave(0)))
    return path


def test_runs_leave_translations_and_say_the_same(image: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for _ in range(2):
        result = gigogne("run", str(image), "--technique", "dbt", cache=cache)
        assert (result.stdout, result.returncode) == ("x", 0)
        assert list((cache / "translations").glob("runtime-*.native"))


def test_it_can_be_switched_off(image: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    result = gigogne("run", str(image), "--technique", "dbt", "--no-translation-cache", cache=cache)
    assert (result.stdout, result.returncode) == ("x", 0)
    assert not cache.exists()


@pytest.mark.parametrize("compiling, late", [(True, ""), (False, "late\n")])
def test_a_process_in_which_llvm_works_takes_nothing_down(compiling: bool, late: str) -> None:
    program = ("import atexit; atexit.register(print, 'late'); print('said', end=' '); "
               f"from vmm.cli.translations import end_process; end_process(5, {compiling})")
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (result.stdout, result.returncode) == (f"said {late}", 5)
