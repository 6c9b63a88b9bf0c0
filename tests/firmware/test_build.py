"""The build: names, caching, concurrency, and what the images are made of."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from capstone import CS_ARCH_X86, CS_GRP_INVALID, CS_MODE_32, Cs, x86
from elftools.elf.elffile import ELFFile

from firmware import build as builder
from firmware.build import BuildError, build, images, main
from rtl.isa import platform

FORBIDDEN = {getattr(x86, f"X86_GRP_{name}"): name for name in ("FPU", "MMX", "SSE1", "SSE2", "CMOV", "MODE64")}


def test_every_workload_of_the_list_is_there() -> None:
    wanted = "dhry sieve matmul quicksort crc32 sha256 chase strings recursion bytecode"
    wanted += " syscalls pagefaults selfmod timer kernel"
    assert set(wanted.split()) <= set(images())


def test_unknown_name_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BuildError, match=r"^no image is called 'dry': the names are bytecode, chase, "):
        build(["dry"], tmp_path)
    assert main(["--out", str(tmp_path), "dry"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("firmware: no image is called 'dry'") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_second_build_runs_no_compiler(built: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, arguments: list[str], what: str) -> None:
        raise AssertionError(f"{what} was built again")

    before = {name: path.stat().st_mtime_ns for name, path in built.items()}
    monkeypatch.setattr(builder._Builder, "_run", refuse)
    again = build()
    assert {name: path.stat().st_mtime_ns for name, path in again.items()} == before


def test_compiler_words_reach_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "broken.c"
    source.write_text("int main(void) { return nothing; }\n")
    monkeypatch.setattr(builder, "images", lambda: {"broken": builder.Image("broken", (source,))})
    with pytest.raises(BuildError, match="'?nothing'?"):
        build(["broken"], tmp_path / "out")
    assert not (tmp_path / "out" / "broken.elf").exists()


def test_two_builds_at_once_agree(tmp_path: Path, built: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "firmware.build", "--out", str(tmp_path), "sieve", "crc32"]
    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(lambda _: subprocess.run(command, capture_output=True, text=True), range(2)):
            assert done.returncode == 0, done.stderr
    for name in ("sieve", "crc32"):
        assert (tmp_path / f"{name}.elf").read_bytes() == built[name].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "crc32.elf", "sieve.elf"]


def test_bytes_do_not_depend_on_the_directory(tmp_path: Path, built: dict[str, Path]) -> None:
    assert build(["kernel"], tmp_path)["kernel"].read_bytes() == built["kernel"].read_bytes()


@pytest.mark.parametrize("name", sorted(images()))
def test_image_is_a_bootable_elf(name: str, built: dict[str, Path]) -> None:
    data = built[name].read_bytes()
    header = data.index(platform.MULTIBOOT_HEADER_MAGIC.to_bytes(4, "little"))
    assert header % 4 == 0 and header + 12 <= platform.MULTIBOOT_SEARCH
    words = [int.from_bytes(data[header + n : header + n + 4], "little") for n in (0, 4, 8)]
    assert sum(words) % 2**32 == 0
    with built[name].open("rb") as file:
        elf = ELFFile(file)
        assert (elf.elfclass, elf["e_machine"], elf["e_type"]) == (32, "EM_386", "ET_EXEC")
        loads = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD"]
        assert loads[0]["p_paddr"] == 0x100000
        assert all(segment["p_paddr"] + segment["p_memsz"] <= 3 << 20 for segment in loads)
        (notes,) = (segment for segment in elf.iter_segments() if segment["p_type"] == "PT_NOTE")
        (note,) = notes.iter_notes()
        assert note["n_name"] == platform.PVH_NOTE_NAME


@pytest.mark.parametrize("name", [name for name in sorted(images()) if not name.startswith("tests/")])
def test_code_is_plain_i586(name: str, built: dict[str, Path]) -> None:
    """No x87, MMX, SSE, CMOV: the firmware also serves processors that lack them."""
    machine = Cs(CS_ARCH_X86, CS_MODE_32)
    machine.detail = True
    machine.skipdata = True
    with built[name].open("rb") as file:
        text = ELFFile(file).get_section_by_name(".text")
        code, address = text.data(), text["sh_addr"]
    seen = 0
    for insn in machine.disasm(code, address):
        if insn.id == 0:
            continue
        seen += 1
        bad = [FORBIDDEN[group] for group in insn.groups if group != CS_GRP_INVALID and group in FORBIDDEN]
        assert not bad, f"{insn.address:#x}: {insn.mnemonic} {insn.op_str} is {bad[0]}"
    assert seen > 500
