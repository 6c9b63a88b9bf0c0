"""The command lines of the README run and end well."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from firmware.build import build
from tests.docs.pages import command_lines
from tests.test_imports import ROOT

LINES = [line for line in dict.fromkeys(command_lines((ROOT / "README.md").read_text()))
         if line.startswith("gigogne ")]
#: Those that neither build an engine nor the Verilog.
CHEAP = ("gigogne info", "gigogne run build/firmware/sieve.elf --technique emulate")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the guests that the README names, where it says they are."""
    found = tmp_path_factory.mktemp("readme")
    build(["kernel", "dhry", "sieve"], found / "build" / "firmware")
    return found


def run(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "vmm.cli.main", *shlex.split(line)[1:]]
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("line", [line if line in CHEAP else pytest.param(line, marks=pytest.mark.slow)
                                  for line in LINES])
def test_command_of_the_readme_runs(line: str, folder: Path) -> None:
    done = run(line, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout or done.stderr


def test_cheap_commands_are_in_the_readme() -> None:
    assert set(CHEAP) <= set(LINES)


def test_list_of_guests_names_those_of_the_readme(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "firmware.build", "--list"], cwd=ROOT, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0
    assert {"kernel", "dhry", "sieve"} <= set(done.stdout.split())
