"""Bad input gets one sentence and status 2, and leaves nothing behind."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from sim.machine import MachineError
from sim.savefile import read_state_file, write_state_file
from tests.sim import guests
from tests.sim.elf import BASE, Elf, multiboot_header
from vmm.cli.emulated import Emulated
from vmm.cli.main import main


def fails(*arguments: str) -> str:
    """What the command says; it must be one sentence, with status 2."""
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 2, result.output
    assert result.stdout == "" and result.stderr.count("\n") == 1
    return result.stderr.removeprefix("gigogne: ").rstrip("\n")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "guest.elf"
    path.write_bytes(guests.elf(guests.leave(0)))
    return path


@pytest.mark.parametrize("command", ["run", "check", "compare", "trace"])
def test_every_command_says_what_is_wrong_with_an_image(command: str, tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("hello")
    assert fails(command, str(path)) == f"'{path}' is not an ELF file: it begins with 68 65 6c 6c"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("command", ["run", "check", "compare", "trace"])
def test_missing_image(command: str, tmp_path: Path) -> None:
    path = tmp_path / "nothing"
    assert fails(command, str(path)) == f"Cannot read '{path}': No such file or directory"


@pytest.mark.parametrize(("data", "sentence"), [
    (Elf(elf_class=2).bytes(), "is a 64-bit little-endian ELF file; the computer boots 32-bit little-endian ones"),
    (Elf(machine=62).bytes(), "is for ELF machine 62; the computer is an Intel 80386 (machine 3)"),
    (Elf([(BASE, b"\xF4", 16)]).bytes(), "has neither a Multiboot header in its first 8192 bytes nor a PVH note"),
    (Elf([(BASE, multiboot_header() + b"\xF4", 64), (BASE + 32, b"", 64)]).bytes(), "overlap"),
    (Elf().bytes()[:90], "is truncated: a segment ends at byte 99 of a file of 90"),
])
def test_wrong_images(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = tmp_path / "x.elf"
    path.write_bytes(data)
    assert sentence in fails("run", str(path), "--technique", "emulate")


def test_segment_outside_ram(tmp_path: Path) -> None:
    path = tmp_path / "x.elf"
    path.write_bytes(Elf([(0x100_0000, multiboot_header() + b"\xF4", 64)], entry=0x100_000C).bytes())
    assert fails("run", str(path), "--technique", "emulate") == (
        f"A segment of '{path}' ends at 1000040h, after the 16 MiB of RAM; try -m 17")


@pytest.mark.parametrize(("size", "sentence"), [
    ("1", "Memory size '1' is out of range: from 2 to 3072 MiB"),
    ("99999999", "Memory size '99999999' is out of range: from 2 to 3072 MiB"),
    ("plenty", "Memory size 'plenty' is not a number of MiB, with or without a suffix K, M or G"),
])
def test_memory_size(image: Path, size: str, sentence: str) -> None:
    assert fails("run", str(image), "-m", size) == sentence


def test_missing_module(image: Path, tmp_path: Path) -> None:
    assert fails("run", str(image), "-initrd", f"{tmp_path}/disk ro") == (
        f"Cannot read module '{tmp_path}/disk': No such file or directory")


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["run", "x", "--spped", "3"], "No such option '--spped'"),
    (["run", "x", "--technique", "magic"], "Invalid value for '--technique': 'magic' is not one of"),
    (["run", "x", "--engine", "steam"], "Invalid value for '--engine': 'steam' is not one of"),
    (["run", "x", "--max-cycles", "0"], "Invalid value for '--max-cycles': 0 is not in the range x>=1"),
    (["run"], "Missing argument 'IMAGE'"),
    (["launch"], "No such command 'launch'"),
])
def test_wrong_options(arguments: list[str], sentence: str) -> None:
    assert sentence in fails(*arguments)


@pytest.mark.parametrize(("command", "option"), [
    (["trace", "IMAGE"], "-o"), (["compare", "IMAGE"], "--json"), (["check", "IMAGE"], "--waveform"),
    (["run", "IMAGE"], "--save"), (["export"], "-o"),
])
def test_unwritable_output_is_noticed_before_the_run(image: Path, tmp_path: Path, command: list[str],
                                                     option: str) -> None:
    arguments = [str(image) if word == "IMAGE" else word for word in command]
    assert fails(*arguments, option, f"{tmp_path}/no/out") == (
        f"Cannot write '{tmp_path}/no/out': there is no folder '{tmp_path}/no'")
    assert fails(*arguments, option, str(tmp_path)) == f"Cannot write '{tmp_path}': it is a folder"
    assert list(tmp_path.iterdir()) == [image]


def test_check_wants_an_image_or_a_seed(image: Path) -> None:
    sentence = "Give either an image, --random SEED or --random-guests N to check"
    assert fails("check") == sentence
    assert fails("check", str(image), "--random", "1") == sentence


def test_window_is_placed_once(image: Path) -> None:
    assert fails("trace", str(image), "--from", "5", "--at", "main") == (
        "Give only one of --from, --at, --at-exit and --fast-forward-to to place the window")


def test_unknown_place(image: Path, tmp_path: Path) -> None:
    assert fails("trace", str(image), "-o", f"{tmp_path}/x.vcd", "--at", "nowhere") == (
        f"'nowhere' is neither a symbol of '{image}' nor a hexadecimal address")


def test_saved_state_that_is_none(image: Path) -> None:
    assert fails("run", str(image), "--technique", "emulate", "--load", str(image)) == (
        f"'{image}' is not a saved state of this computer, or is damaged")


def test_a_device_is_no_output_file(image: Path) -> None:
    """Replacing the file at the end would put a plain file in the place of the device."""
    assert fails("compare", str(image), "--json", "/dev/null") == "Cannot write '/dev/null': it is not a regular file"


def test_waveform_and_savefile_have_two_names(image: Path, tmp_path: Path) -> None:
    assert fails("trace", str(image), "-o", f"{tmp_path}/x.gtkw") == (
        f"Cannot write '{tmp_path}/x.gtkw': a waveform needs another name than its GTKWave savefile")
    (tmp_path / "y.gtkw").mkdir()
    assert fails("trace", str(image), "-o", f"{tmp_path}/y.vcd") == (
        f"Cannot write '{tmp_path}/y.gtkw': it is a folder")


@pytest.mark.parametrize("place", ["-5", "1_0", "1FFFFFFFF", "h"])
def test_place_outside_of_the_address_space(image: Path, tmp_path: Path, place: str) -> None:
    assert fails("trace", str(image), "-o", f"{tmp_path}/x.vcd", "--at", place) == (
        f"'{place}' is neither a symbol of '{image}' nor a hexadecimal address")


@pytest.mark.parametrize("part", ["cpu", "devices"])
def test_saved_state_that_lacks_a_part(image: Path, tmp_path: Path, part: str) -> None:
    path = tmp_path / "state"
    saved = Emulated(ram_bytes=16 << 20).save()
    getattr(saved, part).popitem()
    write_state_file(path, saved)
    assert fails("run", str(image), "--technique", "emulate", "--load", str(path)) == (
        f"'{path}' is not a saved state of this computer, or is damaged")


def test_saved_state_with_damaged_bytes(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_state_file(path, Emulated(ram_bytes=2 << 20).save())
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + b"\xFF\x00\xFF\x07" + whole[place + 4:])
        with contextlib.suppress(MachineError):
            read_state_file(path)


def test_command_line_that_is_no_text(image: Path) -> None:
    """Bytes that are not UTF-8 reach the guest as they are."""
    result = CliRunner().invoke(main, ["run", str(image), "--technique", "emulate", "-append", "\udcff"])
    assert result.exit_code == 0, result.output
