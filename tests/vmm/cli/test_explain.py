"""`gigogne explain`: the guest's code, the IR and the host's code of a translation."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result

from tests.sim import guests
from tests.vmm.cli.command import guest_file, invoke
from tests.vmm.engine.dbt.lockstep import CachingCompiler
from vmm.engine.dbt import translator as module

LOOP = guests.START + 5
ON_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="host code of x86-64")


@pytest.fixture(autouse=True)
def caching(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "Compiler", CachingCompiler)
    yield


@pytest.fixture
def guest(tmp_path: Path) -> str:
    return guest_file(tmp_path, guests.count(60000) + guests.leave(0))


def explain(*arguments: str) -> Result:
    return invoke("explain", *arguments, "-m", "4")


def test_all_parts_of_a_region(guest: str) -> None:
    result = explain(guest, "--at", f"{LOOP:x}")
    assert result.exit_code == 0
    assert re.match(rf"gigogne: {LOOP:x} is in a region entered at \S* ?\(4 instructions, blocks: 1\), after 240,00\d "
                    "instructions of the guest\n", result.stderr), result.stderr
    text = result.stdout
    assert [line for line in text.splitlines() if re.match(r"guest|ir|host", line)] == [
        "guest", "ir", next(line for line in text.splitlines() if line.startswith("host, "))]
    listing = [line.split(maxsplit=2)[2] for line in text.splitlines() if re.match(r"  00[0-9A-F]{6}  ", line)]
    assert listing == ["add eax, ecx", "mov dword ptr [0x103ffc], eax", "dec ecx", f"jne {LOOP:#x}"]
    assert f"  then {LOOP:08X}, {LOOP + 10:08X}" in text.splitlines()
    assert "define ghccc void @translation(ptr %c, i32 %r0," in text


def test_few_instructions_leave_a_block(guest: str) -> None:
    result = explain(guest, "--at", f"{LOOP + 2:x}", "--instructions", "1k", "--only", "guest")
    assert result.exit_code == 0 and "is in a block entered at" in result.stderr
    assert "ghccc" not in result.stdout and "jne" in result.stdout


@ON_X86
def test_host_code_has_labels_and_names_of_what_it_reaches(guest: str) -> None:
    lines = explain(guest, "--at", f"{LOOP:x}", "--only", "host").stdout.splitlines()
    assert lines[0].startswith("; on entry: context r13, eax rbp, ")
    remarks = {line.split(";")[1].strip() for line in lines[1:] if ";" in line}
    assert {"WRITE table", "store32s", "eip", "reason", "exit", f"slot for {LOOP + 10:08X}"} <= remarks
    jumps = {line.split()[-1] for line in lines if re.search(r"  j[a-z]+ L\d+", line)}
    assert jumps and jumps == {line.rstrip(":") for line in lines if re.fullmatch(r"L\d+:", line)}


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("--at", "nowhere!"), "'nowhere!' is neither a symbol of"),
    (("--at", "1"), "No translation has 1 after 240,00"),
    (("--at", "100000", "--instructions", "few"), "'few' is not a number of instructions as 1000000 or 10M"),
])
def test_bad_input(guest: str, arguments: tuple[str, ...], sentence: str) -> None:
    result = explain(guest, *arguments)
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith(f"gigogne: {sentence}") and result.stderr.count("\n") == 1
