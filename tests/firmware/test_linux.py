"""Workloads as programs for Linux: the same output and exit value as their images."""

import subprocess
from pathlib import Path

import pytest

from firmware.build import BuildError, build_linux
from firmware.expectation import expectation
from firmware.toolchain import ToolchainError

NAMES = ("dhry", "sieve", "matmul", "crc32", "sha256", "quicksort", "recursion", "bytecode", "chase", "strings",
         "selfmod", "sharedpage")


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    try:
        return build_linux(NAMES)
    except ToolchainError as error:
        pytest.skip(str(error))


def _run(program: Path, *options: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run([program, *options], capture_output=True, text=True, timeout=60)
    except OSError as error:
        pytest.skip(f"this host runs no 32-bit programs: {error}")


@pytest.mark.parametrize("name", NAMES)
def test_program_prints_what_its_image_prints(name: str, programs: dict[str, Path]) -> None:
    done = _run(programs[name])
    assert (done.stdout, done.stderr, done.returncode) == (expectation(name).output, "", 0)


def test_options_come_from_the_first_argument(programs: dict[str, Path]) -> None:
    assert _run(programs["chase"], "iterations=100 pages=256").stdout == expectation("chase").output
    assert _run(programs["chase"], "iterations=99").stdout != expectation("chase").output


def test_a_panic_is_the_status(programs: dict[str, Path]) -> None:
    done = _run(programs["chase"], "pages=0")
    assert (done.stdout, done.returncode) == ("panic: pages=0: wanted 1 to 1024\n", 63)


def test_what_needs_ring_0_makes_no_program() -> None:
    with pytest.raises(BuildError, match="^linux-syscalls: .* failed"):
        build_linux(["syscalls"])
    with pytest.raises(BuildError, match="^no image is called 'dry': "):
        build_linux(["dry"])
