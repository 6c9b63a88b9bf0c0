"""Generated files: the reference tables are up to date, the includes assemble and agree with each other."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rtl.isa import emit, reference

ROOT = Path(__file__).parents[3]


def test_docs_reference_is_up_to_date() -> None:
    for name, text in reference.pages().items():
        path = ROOT / "docs" / "reference" / name
        assert path.read_text(encoding="utf-8") == text, f"run python -m rtl.isa.emit --docs docs/reference ({name})"


def test_names_are_unique_and_both_includes_agree() -> None:
    names = [name for _, constants in emit.sections() for name, _ in constants]
    assert len(names) == len(set(names))
    header = dict(re.findall(r"^#define (\w+) (\w+)$", emit.c_header(), re.MULTILINE))
    include = dict(re.findall(r"^\.set (\w+), (\w+)$", emit.as_include(), re.MULTILINE))
    assert header == include and set(header) == set(names)


@pytest.mark.parametrize(("name", "value"), [
    ("GIG_PORT_UART", "0x3f8"), ("GIG_PORT_DEBUGCON", "0xe9"), ("GIG_PORT_EXIT", "0xf4"), ("X86_CR0_PG", "0x80000000"),
    ("X86_VEC_PF", "0xe"), ("X86_PTE_P", "1"), ("GIG_MULTIBOOT_BOOT_MAGIC", "0x2badb002"),
    ("X86_VECTORS_WITH_ERROR_CODE", "0x27d00"), ("X86_TSS32_ESP0", "4"),
])
def test_header_constants(name: str, value: str) -> None:
    assert f"#define {name} {value}\n" in emit.c_header()


def test_includes_are_accepted_by_the_tools(tmp_path: Path) -> None:
    if shutil.which("gcc") is None or shutil.which("as") is None:
        pytest.skip("no gcc and GNU as here")
    emit.write(tmp_path, {"gigogne.h": emit.c_header(), "gigogne.inc": emit.as_include()})
    source = tmp_path / "a.c"
    source.write_text('#include "gigogne.h"\n_Static_assert(X86_CR0_PG == 1u << 31 && GIG_PORT_UART == 1016, "");\n')
    subprocess.run(["gcc", "-Wall", "-Werror", "-fsyntax-only", source], check=True)
    subprocess.run(["as", "--fatal-warnings", "-o", tmp_path / "a.o", tmp_path / "gigogne.inc"], check=True)


def test_command_line_writes_files_and_keeps_unchanged_ones(tmp_path: Path) -> None:
    assert emit.main(["--include", str(tmp_path / "inc"), "--docs", str(tmp_path / "docs")]) == 0
    header = tmp_path / "inc" / "gigogne.h"
    before = header.stat().st_mtime_ns
    assert emit.main(["--include", str(tmp_path / "inc")]) == 0
    assert header.stat().st_mtime_ns == before
    assert sorted(path.name for path in (tmp_path / "inc").iterdir()) == ["gigogne.h", "gigogne.inc"]


def test_command_line_without_work_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        emit.main([])
    assert caught.value.code == 2
    assert "nothing to do: give --include DIR, --docs DIR or both" in capsys.readouterr().err


def test_unwritable_output_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    obstacle = tmp_path / "file"
    obstacle.write_text("")
    assert emit.main(["--include", str(obstacle)]) == 2
    assert capsys.readouterr().err == f"cannot write {obstacle}: File exists\n"


def test_isa_is_the_ground_floor() -> None:
    """Importing all of rtl.isa imports nothing else of ours."""
    program = (
        "import sys, pkgutil, importlib, rtl.isa\n"
        "for module in pkgutil.iter_modules(rtl.isa.__path__): importlib.import_module('rtl.isa.' + module.name)\n"
        "ours = [n for n in sys.modules if n.split('.')[0] in ('rtl', 'sim', 'vmm', 'firmware', 'tests')]\n"
        "print([n for n in ours if n != 'rtl' and not n.startswith('rtl.isa')])\n")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
