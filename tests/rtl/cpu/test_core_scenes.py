"""The microprograms in the pipeline: the processor and the golden model do the same in the same scenes."""
import pytest

from tests.rtl.cpu.core_scenes import WITHOUT, CoreRunner, differences
from tests.rtl.cpu.core_sequences import difference
from tests.rtl.cpu.test_microcode import CASES

SCENES = range(2)


@pytest.fixture(scope="module")
def runner():
    return CoreRunner()


@pytest.mark.parametrize("name", [name for name in CASES if name not in WITHOUT])
def test_core_matches_golden_model(runner, name):
    for number in SCENES:
        found = differences(runner, name, number)
        assert not found, f"{name} {number}, golden model against RTL: {found}"


@pytest.mark.parametrize("first", range(0, 20, 5))
def test_core_matches_golden_model_over_programs(runner, first):
    for number in range(first, first + 5):
        found = difference(runner, number)
        assert found is None, f"program {number}: {found}"
