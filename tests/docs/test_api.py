"""The example of docs/api.md runs and prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.test_imports import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text()
_CODE, _OUTPUT = re.findall(r"^```(?:python)?\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True,
                          timeout=900)  # a processor may have to be built first
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("engine", ["dbt", "emulate", "svm"])
def test_the_example_prints_what_it_says(engine: str) -> None:
    assert 'create_vcpu("dbt")' in _CODE
    assert run(_CODE.replace('"dbt"', f'"{engine}"')) == _OUTPUT


def test_the_example_is_short() -> None:
    lines = [line for line in _CODE.splitlines() if line and not line.startswith(("from", "import"))]
    assert len(lines) <= 30


def test_every_exit_is_in_the_table() -> None:
    from vmm import exits

    names = {name for name in vars(exits) if name.endswith("Exit") and name != "Exit"}
    assert names and set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == names
