"""Reading the headers of guest programs."""

import pytest

from firmware.build import images
from firmware.expectation import ExpectationError, expectation, parse

HEADER = """/* name: what it is.
 *
 * Prose that ends in a colon: it is not a key.
 *
 * append: iterations=3
 * status: 0x2
 * memory: 4
 * console: serial
 * expect: first
 * expect:
 *   second
 *     indented
 * expect: third
 * qemu-deviation: check-a: it does not
 */
int x; /* expect: not this */
"""


def test_header_is_read() -> None:
    found = parse(HEADER, "x.c")
    assert found.output == "first\nsecond\n  indented\nthird\n"
    assert (found.status, found.append, found.memory, found.serial) == (2, "iterations=3", 4, True)
    assert found.deviations == {"check-a": "it does not"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("int x;\n", "x.c: the source must open with a comment"),
        ("/* nothing\n */\n", "x.c: the opening comment expects no output"),
        ("/*\n * expect: a\n * qemu-deviation: b\n */\n", "x.c: `qemu-deviation: b` gives no reason"),
        ("/*\n * expect: a\n * status: no\n */\n", "x.c: invalid literal for int() with base 0: 'no'"),
    ],
)
def test_bad_header_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ExpectationError) as caught:
        parse(text, "x.c")
    assert str(caught.value) == sentence


@pytest.mark.parametrize("name", sorted(images()))
def test_every_image_has_an_expectation_it_could_miss(name: str) -> None:
    found = expectation(name)
    checks = {line.split()[1] for line in found.output.splitlines() if line.startswith("PASS ")}
    assert found.output and found.status == 0
    assert set(found.deviations) <= checks
