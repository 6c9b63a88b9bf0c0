"""The search for a compiler, and what the compilers it may find make of one source."""

from pathlib import Path

import pytest

from firmware import toolchain
from firmware.build import build
from firmware.expectation import expectation
from firmware.toolchain import Family, ToolchainError, find_toolchain
from tests.firmware import qemu


def test_first_working_candidate_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        wanted = find_toolchain()
    except ToolchainError as error:
        pytest.skip(str(error))
    candidates = [
        ("missing", ("gigogne-no-such-compiler",), Family.GCC),
        ("cannot", ("true",), Family.GCC),
        (wanted.name, wanted.command, wanted.family),
    ]
    monkeypatch.setattr(toolchain, "_candidates", lambda: iter(candidates))
    assert find_toolchain() == wanted


def test_no_compiler_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GIGOGNE_CC", raising=False)
    monkeypatch.setattr(toolchain, "_works", lambda command, family: False)
    with pytest.raises(ToolchainError) as caught:
        find_toolchain()
    assert str(caught.value) == (
        "no compiler builds 32-bit x86 code here (tried i686-elf-gcc, i686-linux-gnu-gcc, gcc -m32, clang, "
        "python -m ziglang cc): install one of i686-elf-gcc, gcc-i686-linux-gnu, gcc with gcc-multilib, "
        "clang with lld or GNU ld, or run `pip install ziglang`"
    )


def test_chosen_compiler_is_the_only_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIGOGNE_CC", "gigogne-no-such-compiler -m32")
    with pytest.raises(ToolchainError, match=r"\(tried gigogne-no-such-compiler -m32\)"):
        find_toolchain()


@qemu.needs_qemu
@pytest.mark.parametrize("command", ["gcc -m32", "clang --target=i686-linux-gnu"])
def test_every_compiler_gives_the_same_checksum(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIGOGNE_CC", command)
    try:
        find_toolchain()
    except ToolchainError as error:
        pytest.skip(str(error))
    for name, path in build(["dhry", "sha256"], tmp_path).items():
        assert qemu.run(path).output == expectation(name).output
