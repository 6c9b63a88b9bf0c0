"""What is known of guest code at one place, with or without native code of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from vmm.engine.dbt.frontend import PAGE, Block
from vmm.engine.dbt.pool import Translation
from vmm.engine.dbt.rewritten import Versions


@dataclass(slots=True, eq=False)
class Unit:
    """What is known of the code at one physical address under one mode.

    Members
    -------
    code : entry point, or 0. seen : times it was met without. refused : native code cannot do its first instruction.
    queued : waits to be compiled. alive : can be found; the guest has not written to it. claimed : head of a region it
        is in.
    blocks : what the code was made from. translation : whose `code` it is.
    counter : address of the count of executions to go until it is hot, or 0.
    versions : of a unit that the guest rewrites, whose code is that of its first version; else None.
    born : instructions done before it was met. incoming : chain slots that lead to it.
    place : in the block table, while it has code.
    """

    mode: int
    block: Block
    code: int = 0
    seen: int = 0
    refused: bool = False
    queued: bool = False
    alive: bool = True
    claimed: Unit | None = None
    blocks: tuple[Block, ...] = ()
    counter: int = 0
    translation: Translation | None = None
    versions: Versions | None = None
    born: int = 0
    incoming: set[int] = field(default_factory=set)
    place: int = 0

    @property
    def instructions(self) -> int:
        return len(self.block.guests)

    @property
    def is_system(self) -> bool:
        return self.block.is_system

    def touches(self, low: int, high: int) -> bool:
        """Whether its code was made from a byte of these."""
        return any(start < high and low < start + size for start, size in spans(self.blocks))

    def stays_in_page(self) -> bool:
        """Whether all it was made from lies in the page of its head."""
        page = self.block.physical >> 12
        return all(block.second is None and block.physical >> 12 == page for block in self.blocks)

    def move(self, distance: int) -> None:
        """The page that all of it lies in is at another frame now."""
        self.blocks = tuple([block.moved(block.physical + distance, None) for block in self.blocks])
        self.block = self.blocks[0]


@dataclass(slots=True)
class Rest:
    """A block from one of its instructions on, entered in its middle; almost always an interrupt came there."""

    block: Block
    number: int

    @property
    def instructions(self) -> int:
        return len(self.block.guests) - self.number

    @property
    def is_system(self) -> bool:
        return self.block.is_system


def spans(blocks: tuple[Block, ...]) -> Iterator[tuple[int, int]]:
    """Where the bytes lie that make blocks what they are: physical addresses and sizes."""
    for block in blocks:
        size = len(block.code)
        if block.second is None:
            yield block.physical, size + len(block.behind)
        else:
            first = PAGE - block.physical % PAGE
            yield block.physical, first
            yield block.second, size - first
