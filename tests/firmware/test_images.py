"""Every image prints under QEMU what its header says. Where QEMU departs from the manual, the header says that too."""

from pathlib import Path

import pytest

from firmware.build import images
from firmware.expectation import Expectation, expectation
from tests.firmware import qemu


def deviate(expected: Expectation, output: str) -> str:
    """The output with the failures QEMU is known for turned into passes."""
    lines = []
    for line in output.splitlines():
        words = line.split(maxsplit=2)
        if len(words) >= 2 and words[0] == "FAIL" and words[1].rstrip(":") in expected.deviations:
            line = f"PASS {words[1].rstrip(':')}"
        lines.append(f"{line}\n")
    return "".join(lines)


@qemu.needs_qemu
@pytest.mark.parametrize("name", sorted(images()))
def test_image_does_what_its_header_says(name: str, built: dict[str, Path]) -> None:
    expected = expectation(name)
    if expected.qemu_skip:
        pytest.skip(expected.qemu_skip)
    outcome = qemu.run(built[name], expected.append, expected.memory, expected.serial)
    assert deviate(expected, outcome.output) == expected.output
    failed = any(line.startswith("FAIL ") for line in outcome.output.splitlines())
    assert outcome.value == (1 if failed else expected.status)


@qemu.needs_qemu
@pytest.mark.parametrize("name", ["crc32", "sieve"])
def test_workloads_fit_in_four_mebibytes(name: str, built: dict[str, Path]) -> None:
    expected = expectation(name)
    assert qemu.run(built[name], memory=4).output == expected.output


@qemu.needs_qemu
@pytest.mark.parametrize("memory", [4, 5, 100, 1500])
def test_kernel_boots_with_any_memory(memory: int, built: dict[str, Path]) -> None:
    expected = expectation("kernel")
    assert qemu.run(built["kernel"], expected.append, memory, serial=True).output == expected.output


@qemu.needs_qemu
def test_iterations_come_from_the_command_line(built: dict[str, Path]) -> None:
    assert qemu.run(built["sieve"], "iterations=1").output != qemu.run(built["sieve"], "iterations=2").output
    assert qemu.run(built["sieve"], "iterations=0x3").output == expectation("sieve").output


@qemu.needs_qemu
def test_serial_console_prints_the_same(built: dict[str, Path]) -> None:
    assert qemu.run(built["crc32"], "console=serial", serial=True).output == expectation("crc32").output


@qemu.needs_qemu
def test_pvh_entry_boots_too(built: dict[str, Path], tmp_path: Path) -> None:
    """QEMU prefers the Multiboot header, so the copy has its magic number spoiled."""
    data = built["sieve"].read_bytes()
    magic = (0x1BADB002).to_bytes(4, "little")
    assert data.count(magic) == 1
    image = tmp_path / "pvh.elf"
    image.write_bytes(data.replace(magic, bytes(4)))
    assert qemu.run(image).output == expectation("sieve").output
    assert qemu.run(image, "iterations=1").output == qemu.run(built["sieve"], "iterations=1").output
