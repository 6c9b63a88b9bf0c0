"""Finds a compiler for 32-bit x86 among those a machine may have.

The search order is fixed, so that a machine always builds with the same compiler; `GIGOGNE_CC` names another
one explicitly (a whole command line, flags that select 32-bit x86 included).
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

HOW_TO_GET_ONE = (
    "install one of i686-elf-gcc, gcc-i686-linux-gnu, gcc with gcc-multilib, clang with lld or GNU ld, "
    "or run `pip install ziglang`"
)

_ELF_32 = b"\x7fELF\x01"


class Family(Enum):
    """Whose options a compiler takes."""

    GCC = "gcc"
    CLANG = "clang"
    ZIG = "zig"


class ToolchainError(Exception):
    """No compiler can build 32-bit x86 code, or the one asked for cannot."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A working compiler driver for 32-bit x86.

    Members
    -------
    name : str
        What a person calls it, for reports.
    command : tuple[str, ...]
        The driver and the options that select the target.
    family : Family
        Whose options it takes.
    version : str
        First line of its `--version`; part of every content hash.
    """

    name: str
    command: tuple[str, ...]
    family: Family
    version: str


_COMMON_FLAGS = (
    "-std=gnu11", "-O2", "-ffreestanding", "-fno-pic", "-fno-stack-protector", "-fno-asynchronous-unwind-tables",
    "-fomit-frame-pointer", "-fno-common", "-fno-ident", "-ffunction-sections", "-fdata-sections",
    "-mno-sse", "-mno-mmx", "-Wall", "-Wextra", "-Werror",
)  # fmt: skip

_FAMILY_FLAGS = {
    Family.GCC: ("-march=i586", "-mtune=i486", "-msoft-float", "-fno-pie", "-fcf-protection=none",
                 "-fno-tree-loop-distribute-patterns"),
    Family.CLANG: ("-march=i586", "-msoft-float", "-fno-pie", "-mstack-alignment=4", "-fcf-protection=none",
                   "-Wno-unused-command-line-argument"),
    Family.ZIG: ("-mcpu=i586", "-msoft-float", "-fno-pie", "-mstack-alignment=4", "-fno-sanitize=all", "-g0",
                 "-Wno-unused-command-line-argument"),
}  # fmt: skip

LINK_FLAGS = ("-nostdlib", "-static", "-no-pie", "-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,-z,noexecstack")


def compile_flags(family: Family) -> tuple[str, ...]:
    """The options of every compilation: freestanding i586 without x87, MMX, SSE, nor calls into libgcc's floats."""
    return _COMMON_FLAGS + _FAMILY_FLAGS[family]


def _candidates() -> Iterator[tuple[str, tuple[str, ...], Family]]:
    chosen = os.environ.get("GIGOGNE_CC")
    if chosen:
        command = tuple(shlex.split(chosen))
        if "zig" in chosen:
            family = Family.ZIG
        else:
            family = Family.CLANG if "clang" in chosen else Family.GCC
        yield chosen, command, family
        return
    yield "i686-elf-gcc", ("i686-elf-gcc",), Family.GCC
    yield "i686-linux-gnu-gcc", ("i686-linux-gnu-gcc",), Family.GCC
    yield "gcc -m32", ("gcc", "-m32"), Family.GCC
    yield "clang", ("clang", "--target=i686-linux-gnu"), Family.CLANG
    yield (
        "python -m ziglang cc",
        (sys.executable, "-m", "ziglang", "cc", "-target", "x86-freestanding-none"),
        Family.ZIG,
    )


def _works(command: tuple[str, ...], family: Family) -> bool:
    """Compile and link one function: a gcc without multilib, or a clang without a linker, says no here."""
    source = "void probe(void); void probe(void) { for (;;); }\n"
    with tempfile.TemporaryDirectory() as scratch:
        product = Path(scratch) / "probe"
        flags = [*compile_flags(family), *LINK_FLAGS, "-Wl,-e,probe"]
        arguments = [*command, *flags, "-x", "c", "-", "-o", str(product)]
        try:
            done = subprocess.run(arguments, input=source, text=True, capture_output=True, timeout=300)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0 and product.exists() and product.read_bytes()[:5] == _ELF_32


def _version(command: tuple[str, ...]) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    base = command[: command.index("cc") + 1] if "cc" in command else command[:1]
    try:
        done = subprocess.run([*base, "--version"], text=True, capture_output=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else None


def find_toolchain() -> Toolchain:
    """The first compiler of the search order that builds a 32-bit freestanding program.

    Raises
    ------
    ToolchainError
        None does; the message says what was tried and how to get one.
    """
    tried = []
    for name, command, family in _candidates():
        tried.append(name)
        version = _version(command)
        if version is not None and _works(command, family):
            return Toolchain(name, command, family, version)
    raise ToolchainError(f"no compiler builds 32-bit x86 code here (tried {', '.join(tried)}): {HOW_TO_GET_ONE}")
