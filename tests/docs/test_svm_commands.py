"""The commands about guests of the hardware that the pages show run, and the page walk is as shown."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_imports import ROOT
from vmm.cli.status import Status

PAGES = {page.stem: page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))}
LINES = {name: re.findall(r"^    (gigogne .*)$", text, re.MULTILINE) for name, text in PAGES.items()}
#: Those of any page that run a guest of the SVM suite.
QUICK = list(dict.fromkeys(line for lines in LINES.values() for line in lines if "/svm/" in line))
#: A run that saves is cut.
_GOOD = (Status.OK, Status.LIMIT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, built: dict[str, Path]) -> Path:
    """A folder with the images where the pages have them."""
    found = tmp_path_factory.mktemp("pages")
    (found / "build").mkdir()
    (found / "build" / "firmware").symlink_to(built["kernel"].parent)
    return found


def run(line: str, folder: Path) -> str:
    """What it prints."""
    words = [sys.executable, "-m", "vmm.cli.main", *shlex.split(line)[1:]]
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode in _GOOD, (line, done.stderr)
    return done.stdout


def masked(text: str) -> list[str]:
    """The lines, without what depends on the compiler: where tables lie, between 1 and 2 MiB."""
    text = re.sub(r"\b001[0-9A-F]{5}\b", "place", text)
    return [line.strip() for line in re.sub(r"table entry 1[0-9A-F]{2}h", "table entry", text).splitlines()]


@pytest.mark.parametrize("line", QUICK)
def test_quick_command(line: str, folder: Path) -> None:
    said = run(line, folder)
    if "explain walk" in line:
        shown = re.search(rf"^    {re.escape(line)}\n\n(.*?)\n\n", PAGES["virtualization"], re.MULTILINE | re.DOTALL)
        assert shown is not None and masked(said) == masked(shown[1])
        assert masked(said)[-1] == "physical address 00017000; 8 references: 2 guest, 6 nested"


@pytest.mark.slow
def test_commands_of_the_monitors_page(folder: Path) -> None:
    """One after the other: the second of a pair loads what the first has saved."""
    for line in LINES["svm-technique"]:
        run(line, folder)
    shown = re.search(r"^```\n( +\d+ vmrun .*\n +\d+ vmexit .*)\n```$", PAGES["svm-technique"], re.MULTILINE)
    assert shown is not None
    trace = (folder / "exits.txt").read_text()
    assert _numberless(shown[1]) in _numberless(trace)


def _numberless(text: str) -> str:
    """Cycles and addresses of code depend on the compiler."""
    return re.sub(r"^ +\d+|\b[0-9A-Fa-f]{6,8}\b|\b\d+$", "", text, flags=re.MULTILINE)


def test_there_are_commands_to_run() -> None:
    assert len(QUICK) >= 5 and len(LINES["svm-technique"]) >= 7
