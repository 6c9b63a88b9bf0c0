"""Random nested page tables over the memory of one guest, and the host frames each of them reaches."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from rtl.isa.paging import LARGE_PAGE_SIZE, PAGE_SIZE, PTE_A, PTE_D, PTE_G, PTE_P, PTE_PCD, PTE_PS, PTE_RW, PTE_US
from rtl.isa.platform import REGION

from . import layout

_ALL = PTE_P | PTE_RW | PTE_US
_WORDS = 1024
_BEYOND = 0x1000_0000                    #: no RAM: all ones
_LARGE_FRAMES = LARGE_PAGE_SIZE // PAGE_SIZE


class Frames(NamedTuple):
    """Host frames that nested tables let a guest read, and write."""

    read: frozenset[int]
    write: frozenset[int]


@dataclass
class NestedTables:
    """Nested tables in host memory.

    Members
    -------
    roots : values of N_CR3 that make sense, the last of them the wildest.
    frames : by root, the host frames that a guest under it can reach.
    memory : the tables' bytes by address.
    """

    roots: list[int] = field(default_factory=list)
    frames: dict[int, Frames] = field(default_factory=dict)
    memory: dict[int, bytes] = field(default_factory=dict)


def draw(rng: random.Random, place: list[int]) -> NestedTables:
    """Tables over a guest whose frame number n is the host's frame `place[n]`."""
    straight = place == list(range(place[0], place[0] + len(place)))
    made = NestedTables()
    for number in range(4):
        root = layout.NESTED + number * 2 * PAGE_SIZE
        # The lower, the fewer pages are missing or have fewer rights.
        holes = (0, 0.01, 0.05, 0.2)[number]
        table = [place[page] << 12 | _rights(rng, 0 if page >> 4 == 0x10 and rng.random() < 0.9 else holes)
                 for page in range(len(place))]
        directory = [0] * _WORDS
        directory[0] = root + PAGE_SIZE | _rights(rng, holes / 10)
        if straight and number in (1, 3) and rng.random() < 0.5:
            # Reserved bits now and then: a #NPF with RSV.
            reserved = 1 << rng.randrange(12, 22) if rng.random() < 0.1 else 0
            directory[0] = place[0] << 12 | _rights(rng, 0) | PTE_PS | reserved
        if number == 3:
            _spoil(rng, root, directory, table)
        made.roots.append(root)
        tables = {root: directory, root + PAGE_SIZE: table}
        made.frames[root] = Frames(_reached(tables, root, PTE_P | PTE_US), _reached(tables, root, _ALL))
        made.memory[root] = struct.pack("<1024I", *directory)
        made.memory[root + PAGE_SIZE] = struct.pack("<1024I", *table)
    return made


def _rights(rng: random.Random, holes: float) -> int:
    flags = _ALL | sum(bit for bit in (PTE_A, PTE_D, PTE_PCD, PTE_G) if rng.random() < 0.2)
    return flags & ~(rng.choice((PTE_P, PTE_RW, PTE_RW, PTE_US)) if rng.random() < holes else 0)


def _spoil(rng: random.Random, root: int, directory: list[int], table: list[int]) -> None:
    """Entries that lead out of RAM, into devices, or round in circles; none lets a guest write what is not its own."""
    for _ in range(8):
        table[rng.randrange(_WORDS)] = _BEYOND | _ALL
    for entry in (root | PTE_P | PTE_US, _BEYOND | _ALL, REGION["IO_APIC"].base | PTE_P | PTE_US):
        if rng.random() < 0.3:
            directory[rng.choice((2, 3, rng.randrange(1, _WORDS)))] = entry
    if rng.random() < 0.1:
        directory[0] = rng.choice((root, _BEYOND, REGION["LOCAL_APIC"].base)) | PTE_P | PTE_US


def _reached(tables: dict[int, list[int]], root: int, wanted: int) -> frozenset[int]:
    """Frames whose entries have all of `wanted`; directory entries for 4 MiB count as such."""
    found: set[int] = set()
    for entry in tables[root]:
        if entry & wanted != wanted:
            continue
        if entry & PTE_PS:
            first = entry >> 22 << 10
            found.update(range(first, first + _LARGE_FRAMES))
        elif entry & ~0xFFF == _BEYOND:
            # A table of all ones, flags included.
            found.add(0xF_FFFF)
        else:
            found.update(word >> 12 for word in tables.get(entry & ~0xFFF, ()) if word & wanted == wanted)
    return frozenset(found)
