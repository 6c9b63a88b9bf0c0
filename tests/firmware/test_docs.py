"""docs/firmware.md tells of every image, and of nothing that is not there."""

import re
from pathlib import Path

from firmware.build import images
from tests.firmware.measure import default_iterations, workloads

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "firmware.md").read_text()


def test_every_image_has_its_line() -> None:
    rows = set(re.findall(r"^\| `([a-z0-9_/]+)` \|", TEXT, re.MULTILINE))
    assert rows == set(images()) - {"kernel"}
    assert "`kernel` is a small time-sharing system" in TEXT


def test_default_iterations_are_those_of_the_headers() -> None:
    found = dict(re.findall(r"^\| `([a-z0-9]+)` \| [^|]* \| (\d+) [a-z ]+ \|", TEXT, re.MULTILINE))
    assert found == {name: str(default_iterations(name)) for name in workloads()}


def test_programs_of_the_kernel_are_named() -> None:
    folder = Path(__file__).resolve().parents[2] / "firmware" / "kernel" / "programs"
    assert [path.stem for path in sorted(folder.glob("*.c")) if f"`{path.stem}`" not in TEXT] == []
