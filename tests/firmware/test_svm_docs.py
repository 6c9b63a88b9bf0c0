"""docs/svm-suite.md tells of every program of the suite, and of nothing that is not there."""

import re
from pathlib import Path

from firmware.build import svm_images

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "svm-suite.md").read_text()


def test_every_program_has_its_line() -> None:
    rows = re.findall(r"^\| `(svm/[a-z_]+)` \|", TEXT, re.MULTILINE)
    assert sorted(rows) == sorted(svm_images())
