"""The judge of the SVM suite, and the file of deviations."""

import pytest

from firmware.build import svm_images
from tests.firmware import svm_suite
from tests.firmware.svm_suite import Deviation, deviations, excuse, judge

END = "pause: 10 checks"
GOOD = "".join(f"PASS check_{number}\n" for number in range(10)) + END + "\n"


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [Deviation("odd", "pause", ("check_3",), "1.2", "why"), Deviation("lame", "pause", ("*",), "1.3", "no")]
    monkeypatch.setattr(svm_suite, "deviations", lambda: entries)


def test_all_passing_is_right() -> None:
    assert judge("pause", GOOD, 0, "any") == []


@pytest.mark.parametrize(
    ("output", "status", "peer", "wrong"),
    [
        ("", None, "any", [f"the last line is '', not {END!r}"]),
        ("SKIP no SVM\n", 0, "any", [f"the last line is 'SKIP no SVM', not {END!r}"]),
        (GOOD, 1, "any", ["the exit value is 1, not 0"]),
        (GOOD.replace("PASS check_4", "FAIL check_4 got 1 wanted 2"), 1, "any", ["FAIL check_4 got 1 wanted 2"]),
        (GOOD.replace("PASS check_4", "SKIP check_4"), 0, "any", ["SKIP check_4"]),
        (GOOD.replace("PASS check_4", "hello"), 0, "any", ["not a check: 'hello'", f"9 checks for {END!r}"]),
        (GOOD.replace("check_4", "check_5"), 0, "any", ["check_5 is checked twice", f"9 checks for {END!r}"]),
        (GOOD, 0, "odd", ["check_3 passes although it is a known deviation"]),
        (GOOD.replace("PASS check_3\n", ""), 0, "odd",
         [f"9 checks for {END!r}", "check_3 is a known deviation and was never checked"]),
    ],
)
def test_wrong_output_is_named(output: str, status: int | None, peer: str, wrong: list[str]) -> None:
    assert judge("pause", output, status, peer) == wrong


def test_a_known_deviation_and_a_skip_are_right() -> None:
    output = GOOD.replace("PASS check_3", "FAIL check_3").replace("PASS check_4", "SKIP check_4")
    assert judge("pause", output, 1, "odd", skips=True) == []


def test_excuses_name_the_section() -> None:
    assert excuse("lame", "pause") == "no (1.3)"
    assert excuse("odd", "pause") is None


def test_deviations_are_of_programs_that_exist() -> None:
    found = deviations()
    assert found
    for entry in found:
        assert f"svm/{entry.program}" in svm_images()
        assert entry.peer in ("qemu", "bochs")
        assert entry.checks and entry.section and entry.reason
