"""The translation cache, as the command line has it: where it is, and how a process ends while LLVM is at work."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from sim.engines.cache import default_dir

if TYPE_CHECKING:
    from vmm.cli.techniques import Computer
    from vmm.engine.dbt.diskcache import DiskCache

translation_cache_option = click.option(
    "--translation-cache/--no-translation-cache", default=True, show_default=True,
    help="Use what earlier runs of IMAGE under '--technique dbt' have translated, and add to it; so do "
         "--fast-forward-to and --sample.")


def translations_dir() -> Path:
    """Where translations are kept."""
    return default_dir() / "translations"


def cache_of(image: Path, devices: str | None) -> DiskCache:
    """The translations of an image on a computer with such devices."""
    from vmm.engine.dbt.diskcache import DiskCache

    return DiskCache(translations_dir(), f"{hashlib.sha256(image.read_bytes()).hexdigest()} {devices}")


def leave(machine: Computer) -> bool:
    """Keep what the machine keeps from run to run; whether it is still compiling. The RTL does neither."""
    is_compiling: bool = getattr(machine, "leave", bool)()
    return is_compiling


def end_process(status: int, is_compiling: bool) -> NoReturn:
    """End with a status: at once if LLVM is at work, which can be neither interrupted nor taken down.

    Where this is not all of the process, as under a test, waiting for it is left to who ends that.
    """
    if is_compiling and sys.stdout is sys.__stdout__:
        print(end="", flush=True)
        print(end="", flush=True, file=sys.stderr)
        os._exit(status)
    raise SystemExit(status)
