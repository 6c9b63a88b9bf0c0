"""`gigogne explain`: what the translator made of the guest's code at a place; `gigogne explain walk`: a page walk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sim.bootinfo import Module
from sim.disassembly import disassemble
from sim.image import Image, ImageError
from sim.machine import MachineError
from sim.stop import Reason
from sim.switching import parse_count
from sim.symbols import SymbolTable
from vmm.cli.emulated import Emulated
from vmm.cli.hostcode import listing
from vmm.cli.options import (
    BadInput,
    append_option,
    image_argument,
    initrd_option,
    load_image,
    load_modules,
    memory_option,
    note,
    place_of,
)
from vmm.cli.progress import Progress
from vmm.cli.status import Status
from vmm.cli.walk import walk
from vmm.engine.access import IoPorts
from vmm.engine.dbt.pool import Translation
from vmm.engine.dbt.show import Shown, in_use, show, translations_at
from vmm.engine.dbt.translator import Thresholds, Translator
from vmm.memory import PhysicalMemory
from vmm.paging.mmu import DEFAULT_CAPACITY

_PARTS = ("guest", "ir", "host")


class InPlace(Translator):
    """A translator that keeps its IR, and compiles in place: what is translated when depends on the guest alone."""

    def __init__(self, memory: PhysicalMemory, io: IoPorts | None = None, tlb_capacity: int = DEFAULT_CAPACITY):
        super().__init__(memory, io, tlb_capacity, Thresholds(background=False))
        self.compiler.kept = {}


class _Explain(click.Command):
    """With `walk` for its first word, another command."""

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None,
                     **extra: Any) -> click.Context:
        if args[:1] == [walk.name]:
            return walk.make_context(f"{info_name} {walk.name}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=_Explain)
@image_argument
@memory_option
@append_option
@initrd_option
@click.option("--at", "place", required=True, metavar="PLACE",
              help="The code to explain, by one of its instructions: main, main+1Ah, 101e40.")
@click.option("--instructions", default="10M", show_default=True, metavar="N",
              help="Look after so many instructions, or at the end of the guest.")
@click.option("--only", type=click.Choice(_PARTS), default=None,
              help="Print one part: the guest's code, the IR given to LLVM, or the host's machine code.")
def explain(image: Path, memory: int, append: str, initrd: str, place: str, instructions: str,
            only: str | None) -> None:
    """Run IMAGE by the translator and show what it made of the code at a place.

    `gigogne explain walk --help` tells of page walks.
    """
    count = parse_count(instructions)
    if not count:
        raise BadInput(f"'{instructions}' is not a number of instructions as 1000000 or 10M")
    loaded, modules = load_image(image), load_modules(initrd)
    address = place_of(loaded, place)
    translator, done = _run(loaded, memory, append, modules, count)
    found = translations_at(translator, address)
    if not found:
        raise BadInput(f"No translation has {place} after {done:,} instructions of the guest: "
                       "code that runs a few times is interpreted")
    try:
        shown = show(found[0], translator.compiler.kept or {})
    except ValueError as error:
        raise BadInput(f"Cannot show the translation: {error}") from None
    note(f"{place} is in {_sentence(found[0], loaded.symbols)}, after {done:,} instructions of the guest")
    for other in _neighbours(translator, found[0], loaded.symbols):
        note(f"see also {_sentence(other, loaded.symbols)}")
    parts = {"guest": _guest(shown, loaded.symbols), "ir": shown.ir.splitlines(), "host": listing(shown)}
    for name in _PARTS if only is None else (only,):
        if only is None:
            click.echo(f"\n{name}, {len(shown.code):,} bytes\n" if name == "host" else f"\n{name}\n")
        click.echo("\n".join(parts[name]))


def _run(image: Image, memory: int, append: str, modules: list[Module], count: int) -> tuple[Translator, int]:
    """Execute the guest; its translator, and how many instructions it has executed."""
    progress = Progress()
    try:
        machine = Emulated(ram_bytes=memory, processor=InPlace)
        machine.load(image, append, modules)
    except (ImageError, MachineError) as error:
        raise BadInput(str(error)) from None
    progress.text = lambda: f"{machine.instructions:,} instructions"
    machine.on_slice = progress.look
    with progress:
        stop = machine.run(count)
    if stop.reason is Reason.USER_INTERRUPT:
        raise SystemExit(Status.INTERRUPTED)
    translator = machine.machine.cpu
    assert isinstance(translator, Translator)
    return translator, machine.instructions


def _sentence(made: Translation, symbols: SymbolTable) -> str:
    """What a translation is, in some words."""
    count = sum(len(block.guests) for block in made.blocks)
    return (f"a {'region' if made.hot else 'block'} entered at {symbols.describe(made.blocks[0].eip)} "
            f"({count} instructions, blocks: {len(made.blocks)})")


def _neighbours(translator: Translator, made: Translation, symbols: SymbolTable) -> list[Translation]:
    """The regions entered in the function in which a translation is entered."""
    function = symbols.find(made.blocks[0].eip)
    return [other for other in in_use(translator) if other.hot and other is not made
            and function is not None and symbols.find(other.blocks[0].eip) == function]


def _guest(shown: Shown, symbols: SymbolTable) -> list[str]:
    """The blocks, disassembled, with where they lead to."""
    lines: list[str] = []
    for block in shown.blocks:
        lines.append(f"{symbols.describe(block.eip)}:")
        at = 0
        for guest in block.guests:
            code = block.code[at:at + guest.insn.length]
            text, _size = disassemble(code, guest.eip, shown.big)
            lines.append(f"  {guest.eip:08X}  {code.hex():<20}  {text}")
            at += guest.insn.length
        following = ", ".join(f"{eip:08X}" for eip in block.successors) or "computed"
        lines.append(f"  then {following}")
    return lines
