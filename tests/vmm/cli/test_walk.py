"""`gigogne explain walk`: from an image at a place, from a saved state, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result

from tests.sim import guests
from tests.vmm.cli.command import guest_file, invoke


@pytest.fixture
def guest(tmp_path: Path) -> str:
    return guest_file(tmp_path, guests.count(60000) + guests.leave(0))


def walk(*arguments: str) -> Result:
    return invoke("explain", "walk", *arguments)


def test_live(guest: str) -> None:
    result = walk("1234", guest, "--at", "1000", "-m", "4")
    assert result.exit_code == 0 and result.stdout.splitlines()[-1] == "physical address 00001234; 0 references"


def test_a_saved_state(guest: str, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    invoke("run", guest, "--technique", "emulate", "--save", state, "--max-cycles", "99", "-m", "4")
    result = walk("FFFF0000", "--load", state, "--write")
    assert result.stdout.splitlines()[0].startswith("linear address FFFF0000, supervisor write: ")


@pytest.mark.parametrize("arguments, sentence", [
    (("1000",), "Give either an image with --at PLACE, or --load FILE, to say in which state to walk"),
    (("1000", "--load", "/none"), "Cannot read '/none': No such file or directory"),
    (("xyz", "--load", "/none"), "'xyz' is no hexadecimal address of 32 bits"),
    (("100000000", "--load", "/none"), "'100000000' is no hexadecimal address of 32 bits"),
])
def test_bad_input(arguments: tuple[str, ...], sentence: str) -> None:
    assert sentence in str(walk(*arguments).exception) + walk(*arguments).stderr


def test_the_image_before_the_address(guest: str) -> None:
    for arguments in ((guest, "1000"), (guest, "1000", "--at", "1000"), (guest,)):
        assert f"'{guest}' is a file and no address; the address comes first" in walk(*arguments).stderr


def test_a_place_that_is_never_reached(guest: str) -> None:
    result = walk("0", guest, "--at", "0x2000", "-m", "4")
    assert result.exit_code and "never reaches 0x2000" in str(result.exception) + result.stderr


def test_help() -> None:
    assert "entry by entry" in walk("--help").stdout
