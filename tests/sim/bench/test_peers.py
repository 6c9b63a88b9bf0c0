"""Peers run what they are given, or say why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from firmware.expectation import expectation
from sim.bench.peers import Gigogne, Host, Peer, Qemu, Unable, Unicorn, everyone, instructions
from sim.bench.process import Ran
from tests.sim import guests


@pytest.fixture(scope="module")
def images(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real workload, and small guests that print and leave."""
    folder = tmp_path_factory.mktemp("images")
    shutil.copy(built["syscalls"], folder)
    (folder / "good.elf").write_bytes(guests.elf(guests.say("hi\n") + guests.leave(0)))
    (folder / "bad.elf").write_bytes(guests.elf(guests.leave(3)))
    return folder


MAKERS: dict[str, Callable[[Path], Peer]] = {
    "qemu": Qemu, "unicorn": Unicorn, "emulate": lambda images: Gigogne("emulate", images, images / "cache")}


@pytest.mark.parametrize("name", MAKERS)
def test_a_guest_that_ends_well(name: str, images: Path) -> None:
    if name == "qemu" and shutil.which("qemu-system-i386") is None:
        pytest.skip("qemu-system-i386 is not installed")
    peer = MAKERS[name](images)
    ran = peer.run("good", "")
    assert peer.name == name and ran.output == "hi\n"
    if peer.counts:
        assert instructions(ran) == 8
    with pytest.raises(Unable):
        peer.run("bad", "")


def test_what_needs_a_computer_is_not_for_unicorn(images: Path) -> None:
    with pytest.raises(Unable, match=r"^Unicorn does not run this guest: .*UC_ERR_EXCEPTION"):
        Unicorn(images).run("syscalls", "")


def test_the_host_runs_the_same_code(images: Path) -> None:
    host = Host(images)
    try:
        assert host.run("strings", "").output == expectation("strings").output
    except Unable as error:
        if "cannot be started" not in str(error):
            raise
        pytest.skip(str(error))
    with pytest.raises(Unable, match="^it needs ring 0$"):
        host.run("syscalls", "")


def test_absent_peers(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.delenv("GIGOGNE_CC", raising=False)
    with pytest.raises(Unable, match="^qemu-system-i386 is not installed$"):
        Qemu(images).run("good", "")
    with pytest.raises(Unable, match="^the package unicorn is not installed$"):
        Unicorn(images).run("good", "")
    with pytest.raises(Unable, match="^there is no technique quantum$"):
        Gigogne("quantum", images, images).run("good", "")


def test_a_host_without_compiler(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIGOGNE_CC", "no-such-cc")
    with pytest.raises(Unable, match="^no compiler builds 32-bit x86 code here"):
        Host(images).run("strings", "")


def test_an_image_that_is_not_there(images: Path) -> None:
    with pytest.raises(Unable, match="^gigogne: .*nothing.elf"):
        Gigogne("emulate", images, images).run("nothing", "")


def test_a_run_that_does_not_count() -> None:
    with pytest.raises(Unable, match="^the run does not say how many instructions it was$"):
        instructions(Ran(0, "", "", 1, 1))


def test_everyone_begins_with_the_bar(images: Path) -> None:
    assert [peer.name for peer in everyone(images, images)] == ["qemu", "dbt", "host", "unicorn", "emulate"]
