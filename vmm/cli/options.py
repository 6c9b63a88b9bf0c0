"""Options and helpers several commands share."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sim.bootinfo import Module
from sim.engines import ENGINES
from sim.image import Image, ImageError
from sim.machine import MachineError, parse_ram_size

Command = TypeVar("Command", bound=Callable[..., Any])


class BadInput(click.ClickException):
    """One sentence on stderr and status 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"gigogne: {self.message}", file=file or sys.stderr)


class RamSize(click.ParamType):
    """A memory size in QEMU's notation."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_ram_size(value)
        except MachineError as error:
            raise BadInput(str(error)) from None


image_argument = click.argument("image", type=click.Path(path_type=Path))
optional_image_argument = click.argument("image", type=click.Path(path_type=Path), required=False)
memory_option = click.option("-m", "memory", type=RamSize(), default="16", show_default=True, metavar="SIZE",
                             help="RAM in MiB, or with a suffix K, M, G.")
append_option = click.option("-append", "--append", "append", default="", metavar="TEXT",
                             help="Command line for the guest.")
initrd_option = click.option("-initrd", "--initrd", "initrd", default="", metavar="FILES",
                             help="Modules for the guest: 'file args,file args'.")
engine_option = click.option("--engine", type=click.Choice(ENGINES), default="native", show_default=True,
                             help="Simulation engine.")
cycles_option = click.option("--max-cycles", type=click.IntRange(min=1), default=None, metavar="N",
                             help="Stop after so many cycles.")


def load_image(path: Path) -> Image:
    """The image, or BadInput."""
    try:
        return Image.load(path)
    except ImageError as error:
        raise BadInput(str(error)) from None


def place_of(image: Image, text: str) -> int:
    """The address a user means by a symbol or a hexadecimal number."""
    address = image.symbols.address_of(text)
    if address is not None:
        return address
    digits = text.removesuffix("h").removeprefix("0x")
    if re.fullmatch("[0-9A-Fa-f]{1,8}", digits):
        return int(digits, 16)
    raise BadInput(f"'{text}' is neither a symbol of '{image.name}' nor a hexadecimal address")


def load_modules(text: str) -> list[Module]:
    """The files of an `-initrd` option."""
    modules = []
    for part in filter(None, text.split(",")):
        name, _blank, arguments = part.partition(" ")
        try:
            modules.append(Module(Path(name).name, Path(name).read_bytes(), arguments))
        except OSError as error:
            raise BadInput(f"Cannot read module '{name}': {error.strerror}") from None
    return modules


def check_writable(path: Path) -> None:
    """BadInput unless a file can be made at `path`; said before a long run rather than after it."""
    folder = path.parent
    if path.is_dir():
        raise BadInput(f"Cannot write '{path}': it is a folder")
    if path.exists() and not path.is_file():
        raise BadInput(f"Cannot write '{path}': it is not a regular file")
    if not folder.is_dir():
        raise BadInput(f"Cannot write '{path}': there is no folder '{folder}'")
    if not os.access(folder, os.W_OK) or path.exists() and not os.access(path, os.W_OK):
        raise BadInput(f"Cannot write '{path}': permission denied")


def check_waveform(path: Path) -> None:
    """`check_writable` for a VCD file and the savefile that will lie beside it."""
    if path.suffix == ".gtkw":
        raise BadInput(f"Cannot write '{path}': a waveform needs another name than its GTKWave savefile")
    check_writable(path)
    check_writable(path.with_suffix(".gtkw"))


def write_whole(path: Path, text: str) -> None:
    """A file that appears whole or not at all."""
    check_writable(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise BadInput(f"Cannot write '{path}': {error.strerror}") from None
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise BadInput(f"Cannot write '{path}': {error.strerror}") from None


def write_console(data: bytes) -> None:
    """Console bytes to standard output, at once."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def note(text: str) -> None:
    """A line for the person at the terminal, apart from the guest's output."""
    click.echo(f"gigogne: {text}", err=True)
