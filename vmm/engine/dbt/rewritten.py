"""What is known of code that the guest rewrites: which bytes, and which instructions have been found there.

Rules:

1. A byte is *rewritten* once code that had not lived long was dropped for a write to it a few times. Blocks that begin
   with an instruction that has such a byte are kept as versions; no other block has one. With the timing model blocks
   do not end before such an instruction, and those that have one anywhere are kept as versions.
2. A version is what the block is while its fixed bytes are these. Bytes of fields that are loaded when the instruction
   runs are not fixed.
3. What has not changed for long is rewritten no more, and code again like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from vmm.engine.dbt.frontend import PAGE, Block
from vmm.memory import PhysicalMemory

#: Writes that make a byte a rewritten one, and the instructions code must have lived through for a write not to count.
_WRITES, _LIFE = 4, 1 << 20
_COMPILED, _CANDIDATES = 8, 16


class Rewritten:
    """The rewritten bytes of RAM."""

    def __init__(self) -> None:
        self._writes: dict[int, int] = {}
        self._pages: dict[int, set[int]] = {}
        self._calmed: dict[int, int] = {}

    def dropped(self, low: int, high: int, age: int) -> None:
        """Code that lived for `age` instructions is dropped because these bytes are written to."""
        if age >= _LIFE:
            return
        for byte in range(low, high):
            writes = self._writes[byte] = self._writes.get(byte, 0) + 1
            if writes == _WRITES:
                self.add((byte,))

    def add(self, places: Iterable[int]) -> None:
        for byte in places:
            self._pages.setdefault(byte >> 12, set()).add(byte)

    def compare(self, before: Block, after: Block) -> None:
        """A block has changed."""
        pairs = zip(places(after), before.code, after.code, strict=False)
        self.add(place for place, one, other in pairs if one != other)

    def calm(self, block: Block) -> None:
        """Nothing has changed in the block for long."""
        self._calmed[block.physical] = self.relapses(block) + 1
        for byte in places(block):
            self._writes.pop(byte, None)
            self._pages.get(byte >> 12, set()).discard(byte)

    def relapses(self, block: Block) -> int:
        """How often a block has been calm before."""
        return self._calmed.get(block.physical, 0)

    def of_page(self, page: int) -> set[int]:
        """The rewritten bytes of a frame."""
        return self._pages.get(page, set())

    def touches(self, physical: int, size: int) -> bool:
        """Whether one of some bytes of a page is rewritten."""
        return not self.of_page(physical >> 12).isdisjoint(range(physical, physical + size))

    def near(self, block: Block) -> set[int]:
        """The rewritten bytes of the pages of a block."""
        found = self.of_page(block.physical >> 12)
        return found if block.second is None else found | self.of_page(block.second >> 12)


def places(block: Block) -> list[int]:
    """The physical address of each byte of a block."""
    first = min(len(block.code), PAGE - block.physical % PAGE)
    found = list(range(block.physical, block.physical + first))
    if block.second is not None:
        found += range(block.second, block.second + len(block.code) - first)
    return found


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of memory, as a number, and what they are where the mask has ones."""

    offset: int
    physical: int
    size: int
    mask: int
    value: int


@dataclass(slots=True, eq=False)
class Version:
    """A block as it was found once.

    Members
    -------
    live : offsets of bytes that are loaded when their instruction runs. pieces : all other bytes.
    code : entry point of its own, or 0. next : address of the word that has the entry point of the next version.
    counter : see `Unit`. seen, refused, queued : see `Unit`. contents, steady : at the last look, and for how many.
    """

    block: Block
    live: frozenset[int]
    code: int = 0
    next: int = 0
    counter: int = 0
    seen: int = 0
    refused: bool = False
    queued: bool = False
    steady: int = 0
    contents: bytes = b""
    pieces: tuple[Piece, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.contents = self.block.code
        self.pieces = tuple(_pieces(self.block, self.live))

    @property
    def instructions(self) -> int:
        return len(self.block.guests)

    @property
    def is_system(self) -> bool:
        return self.block.is_system

    def fits(self, memory: PhysicalMemory) -> bool:
        """Whether memory has its fixed bytes."""
        return all(int.from_bytes(memory.blob(piece.physical, piece.size), "little") & piece.mask == piece.value
                   for piece in self.pieces)

    def look(self, memory: PhysicalMemory) -> int:
        """For how many looks in a row all its bytes, live ones included, have been the same."""
        contents = bytes(memory.bytes[place] for place in places(self.block))
        self.steady = self.steady + 1 if contents == self.contents else 0
        self.contents = contents
        return self.steady


def _pieces(block: Block, live: frozenset[int]) -> list[Piece]:
    where, found = places(block), []
    at = 0
    while at < len(where):
        size = 8
        while at + size > len(where) or where[at + size - 1] != where[at] + size - 1:
            size //= 2
        mask = sum(0xFF << 8 * n for n in range(size) if at + n not in live)
        if mask:
            value = int.from_bytes(block.code[at:at + size], "little") & mask
            found.append(Piece(at, where[at], size, mask, value))
        at += size
    return found


class Versions:
    """The versions of the block at one address, those that are compiled in the order native code tries them in."""

    def __init__(self) -> None:
        self._compiled: list[Version] = []
        self._candidates: list[Version] = []

    def __contains__(self, version: Version) -> bool:
        return any(version is other for other in self)

    def __iter__(self) -> Iterator[Version]:
        yield from (*self._compiled, *self._candidates)

    def fitting(self, memory: PhysicalMemory) -> Version | None:
        """The compiled version that native code would come to."""
        return next((version for version in self._compiled if version.fits(memory)), None)

    def candidate(self, block: Block, live: frozenset[int]) -> Version:
        """The version to be that the block is now."""
        pieces = tuple(_pieces(block, live))
        for version in self._candidates:
            if version.live == live and version.pieces == pieces and version.block.second == block.second:
                return version
        version = Version(block, live)
        self._candidates.append(version)
        if len(self._candidates) > _CANDIDATES:
            del self._candidates[0]
        return version

    def compiled(self, version: Version) -> list[Version]:
        """A candidate is compiled: all that are, in their new order."""
        self._candidates = [other for other in self._candidates if other is not version]
        self._compiled.insert(0, version)
        del self._compiled[_COMPILED:]
        return self._compiled
