"""`gigogne explain walk`: a page walk, entry by entry, in both dimensions."""

from __future__ import annotations

from pathlib import Path

import click

from sim.image import Image, ImageError
from sim.machine import MachineError
from sim.savefile import SavedState, read_state_file
from sim.walks import Access, explain_walk
from vmm.cli.combinations import WALK, refuse_mute
from vmm.cli.options import (
    BadInput,
    append_option,
    initrd_option,
    load_image,
    load_modules,
    memory_option,
    optional_image_argument,
    place_of,
)
from vmm.cli.progress import Progress
from vmm.cli.status import Status
from vmm.cli.switched import fast_forward_to, make_fast, place_in

_HIGHEST = 0xFFFF_FFFF


@click.command()
@click.argument("address", metavar="ADDRESS")
@optional_image_argument
@memory_option
@append_option
@initrd_option
@click.option("--at", "place", default=None, metavar="PLACE",
              help="Run IMAGE to here first: a symbol, an address as 0x100000, or so many instructions.")
@click.option("--load", "saved", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Instead of running IMAGE, a state that `gigogne run --save` has written.")
@click.option("--write", is_flag=True, help="The walk of a write; else of a read.")
@click.option("--user", is_flag=True, help="The walk of an access at CPL 3; else of one at CPL 0.")
def walk(address: str, image: Path | None, memory: int, append: str, initrd: str, place: str | None,
         saved: Path | None, write: bool, user: bool) -> None:
    """Print what the page walk of a virtual address reads, entry by entry.

    ADDRESS is hexadecimal, or a symbol of IMAGE. In guest mode with nested paging the walk has two dimensions. The
    status is 0 whether the walk succeeds or faults.
    """
    if image is None or not image.is_file():
        _refuse_file(address)
    if image is None and (saved is None or place is not None) or place is None and saved is None:
        raise BadInput("Give either an image with --at PLACE, or --load FILE, to say in which state to walk")
    refuse_mute(WALK)
    loaded = None if image is None else load_image(image)
    linear = _address(loaded, address)
    if saved is not None:
        if place is not None:
            raise BadInput("Give either --at PLACE or --load FILE, not both")
        try:
            state = read_state_file(saved)
        except MachineError as error:
            raise BadInput(str(error)) from None
    else:
        assert loaded is not None and place is not None
        state = _state_at(loaded, place, memory, append, initrd)
    words = state.ram

    def read32(at: int) -> int:
        return int(words[at >> 2]) if at >> 2 < len(words) else _HIGHEST

    for line in explain_walk(read32, state.cpu, linear, Access(write, user)).lines:
        click.echo(line)


def _refuse_file(address: str) -> None:
    """BadInput for an image that stands before the address."""
    if Path(address).is_file():
        raise BadInput(f"'{address}' is a file and no address; the address comes first, and then the image")


def _address(image: Image | None, text: str) -> int:
    if image is not None:
        return place_of(image, text)
    try:
        value = int(text.removesuffix("h"), 16)
    except ValueError:
        value = -1
    if not 0 <= value <= _HIGHEST:
        raise BadInput(f"'{text}' is no hexadecimal address of 32 bits")
    return value


def _state_at(image: Image, place: str, memory: int, append: str, initrd: str) -> SavedState:
    """Where the fast engine is when execution comes to the place, or BadInput."""
    wanted = place_in(image, place)
    fast = make_fast(memory, lambda _data: None)
    try:
        fast.load(image, append, load_modules(initrd))
    except (ImageError, MachineError) as error:
        raise BadInput(str(error)) from None
    missed = fast_forward_to(fast, wanted, Progress())
    if missed is None:
        return fast.save()
    if missed.status == Status.INTERRUPTED:
        raise SystemExit(Status.INTERRUPTED)
    raise BadInput(missed.sentence())
