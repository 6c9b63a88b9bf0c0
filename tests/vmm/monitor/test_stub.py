"""The stub as bytes is the stub as source."""

import subprocess
import sys
from pathlib import Path

from elftools.elf.elffile import ELFFile

from firmware.toolchain import compile_flags, find_toolchain
from tests.test_imports import ROOT
from vmm.monitor.stub import CODE


def test_the_bytes_are_those_of_the_source(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "rtl.isa.emit", "--include", str(tmp_path)], cwd=ROOT, check=True)
    toolchain, target = find_toolchain(), tmp_path / "stub.o"
    subprocess.run([*toolchain.command, *compile_flags(toolchain.family), "-I", str(tmp_path), "-c",
                    str(ROOT / "firmware/monitor/stub.S"), "-o", str(target)], check=True)
    with target.open("rb") as file:
        assert ELFFile(file).get_section_by_name(".text.monitor").data() == CODE
