"""Imports run downhill.

    rtl.isa <- rtl.bus <- rtl.mmu, rtl.cache, rtl.irq, rtl.dev, rtl.svm <- rtl.cpu <- rtl.board <- sim <- vmm <- vmm.cli

Of the hardware `sim` sees only the boards and the ground floor. `vmm` sees the ground floor, the face machines share,
and how they defer Ctrl-C.
The command line, the benchmarks, the calibration and the virtual machine of the API put everything together, and
nothing imports them.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("rtl", "sim", "vmm", "firmware", "tests")

_GROUND = ("rtl.isa",)
_MIDDLE = ("rtl.isa", "rtl.bus", "rtl.mmu", "rtl.cache", "rtl.irq", "rtl.dev", "rtl.svm")
_ALL = ("rtl", "sim", "vmm", "firmware")

#: What the modules of a package may import of ours; the longest matching name counts.
MAY_SEE: dict[str, tuple[str, ...]] = {
    "rtl.isa": _GROUND,
    "rtl.bus": ("rtl.isa", "rtl.bus"),
    "rtl.mmu": _MIDDLE,
    "rtl.cache": _MIDDLE,
    "rtl.irq": _MIDDLE,
    "rtl.svm": _MIDDLE,
    "rtl.dev": _MIDDLE,
    "rtl.cpu": (*_MIDDLE, "rtl.cpu"),
    "rtl.board": (*_MIDDLE, "rtl.cpu"),
    "rtl.devboard": _MIDDLE,
    "sim": ("rtl.isa", "rtl.board", "rtl.devboard", "sim"),
    "sim.bench": _ALL,
    "sim.calibration": _ALL,
    "vmm": ("rtl.isa", "sim.interrupts", "sim.machine", "sim.stop", "vmm"),
    "vmm.cli": _ALL,
    "vmm.vm": _ALL,
    "firmware": ("rtl.isa", "firmware"),
}
#: What is put together there is used from nowhere else.
ROOTS = ("sim.bench", "sim.calibration", "vmm.cli", "vmm.vm")
#: Packages of others: the ground floor is data, the hardware is hardware. Methods of structures that serve hardware and
#: Python alike are built in one module, which tells the two apart.
FOREIGN = {"rtl.isa": (),
           "rtl.isa.layout": ("amaranth.hdl", "amaranth.lib.data"), "rtl": ("amaranth",)}
FORBIDDEN = {"rtl": ("amaranth.sim", "amaranth.back", "amaranth.vendor")}


def within(name: str, packages: tuple[str, ...]) -> bool:
    """Is the module one of the packages, or inside one?"""
    return any(name == package or name.startswith(package + ".") for package in packages)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    """Every module of ours but the tests, by name."""
    return {module_name(path): path for package in OURS if package != "tests"
            for path in sorted((ROOT / package).rglob("*.py"))}


def imports(source: str, name: str, is_package: bool, known: frozenset[str]) -> Iterator[str]:
    """Modules that a module imports, wherever the statement stands; submodules by their full name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = name.split(".")[:len(name.split(".")) - node.level + is_package]
                base = ".".join([*parents, *([base] if base else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in known or base in ("amaranth", "amaranth.lib") else base


def rule_for(name: str, rules: dict[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """The entry of the longest package the module is in."""
    matching = [package for package in rules if within(name, (package,))]
    return rules[max(matching, key=len)] if matching else None


def violations(source: str, name: str, is_package: bool = False, known: frozenset[str] = frozenset()) -> list[str]:
    """Imports of a module that the rule does not allow."""
    found = []
    allowed = rule_for(name, MAY_SEE)
    foreign = rule_for(name, FOREIGN)
    for target in imports(source, name, is_package, known):
        if target.split(".")[0] in OURS:
            own_root = next((root for root in ROOTS if within(name, (root,))), None)
            above = within(target, tuple(root for root in ROOTS if root != own_root)) and own_root is None
            bad = allowed is None or above or not within(target, allowed)
        elif target.split(".")[0] in sys.stdlib_module_names:
            bad = False
        else:
            bad = foreign is not None and not within(target, foreign) or (
                within(target, rule_for(name, FORBIDDEN) or ()))
        if bad:
            found.append(f"{name} imports {target}")
    return found


def test_imports_run_downhill() -> None:
    table = modules()
    known = frozenset(table)
    assert len(table) > 150
    found = [text for name, path in table.items()
             for text in violations(path.read_text(), name, path.name == "__init__.py", known)]
    assert found == []


def test_every_package_has_a_rule() -> None:
    assert [name for name in modules() if name != "rtl" and rule_for(name, MAY_SEE) is None] == []


def test_no_two_modules_import_each_other() -> None:
    """Packages of one floor may see each other, so what forbids a circle there is this."""
    table = modules()
    known = frozenset(table)
    edges = {name: {target for target in imports(path.read_text(), name, path.name == "__init__.py", known)
                    if target in known and target != name} for name, path in table.items()}
    # A package that gathers its modules, and modules that import it, are no circle unless one needs the other.
    settled: set[str] = set()
    while ready := {name for name, targets in edges.items() if name not in settled and targets <= settled}:
        settled |= ready
    assert sorted(set(edges) - settled) == []


@pytest.mark.parametrize(("name", "line"), [
    ("rtl.isa.paging", "from rtl.bus import memory"),
    ("rtl.isa.paging", "import numpy"),
    ("rtl.isa.paging", "from amaranth.lib import wiring"),
    ("rtl.isa.paging", "from amaranth.lib import enum"),
    ("rtl.bus.dram", "from rtl.cache.port import RequestPort"),
    ("rtl.dev.uart", "from rtl.cpu.core import Core"),
    ("rtl.cpu.core", "from ..board import Board"),
    ("rtl.cpu.core", "def f():\n    from amaranth.sim import Simulator"),
    ("rtl.board", "import sim.machine"),
    ("sim.rtlmachine", "from rtl.cpu.core import Core"),
    ("sim.lockstep", "from vmm.engine.interpreter import Interpreter"),
    ("vmm.engine.interpreter", "from sim.rtlmachine import RtlMachine"),
    ("vmm.engine.interpreter", "from vmm.cli.run import run"),
    ("vmm.computer", "from vmm.vm import Vm"),
    ("vmm.engine.interpreter", "from rtl.mmu.config import MmuConfig"),
    ("firmware.build", "from sim.image import Image"),
    ("vmm.cli.run", "from tests import anything"),
])
def test_what_the_rule_forbids(name: str, line: str) -> None:
    assert len(violations(line, name)) == 1


@pytest.mark.parametrize(("name", "line"), [
    ("rtl.isa.paging", "import enum\nimport struct\nfrom . import layout"),
    ("rtl.cpu.core", "from amaranth.hdl import Module\nfrom rtl.mmu.config import MmuConfig\nfrom .uop import Uop"),
    ("sim.rtlmachine", "from rtl.board import Board\nimport numpy"),
    ("vmm.engine.emulate", "from sim.machine import Machine"),
    ("vmm.cli.run", "from sim.rtlmachine import RtlMachine\nfrom vmm.cli.options import note"),
])
def test_what_the_rule_allows(name: str, line: str) -> None:
    assert violations(line, name) == []
