"""Random page tables in two dimensions, in host memory, and the walks through them that the reference makes."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from rtl.isa.paging import PTE_A, PTE_D, PTE_G, PTE_P, PTE_PCD, PTE_PS, PTE_RW, PTE_US
from tests.rtl.mmu.reference2d import Refused, Tables, two_dimensions

#: Frames that the nested tables map and guest tables lie in: some below 4 MiB, some in the next 4 MiB.
FRAMES = (*range(16), *range(0x400, 0x410))
NESTED_DIRECTORIES, NESTED_TABLES = (16, 17), (18, 19, 20)
INDEXES = range(16)             # entries in use of each table
REGIONS = range(4)              # entries in use of each directory
BEYOND = 0x8_0000               # no RAM there: all ones


class Memory:
    """Host memory of the reference, and the log of what it did with it."""

    def __init__(self, words: np.ndarray):
        self.words = words
        self.log: list[tuple[str, int]] = []

    def read(self, name: str, place: int) -> int:
        self.log.append((name, place))
        return int(self.words[place >> 2]) if place >> 2 < len(self.words) else 0xFFFF_FFFF

    def set(self, place: int, seen: int, bits: int) -> None:
        if seen | bits != seen:
            self.log.append(("write", place))
            if place >> 2 < len(self.words):
                self.words[place >> 2] |= bits


@dataclass
class Space:
    """What an address space translates with."""

    asid: int
    guest: Tables | None
    host: Tables

    def control(self) -> dict[str, int]:
        guest = self.guest or Tables(0, False)
        return {"paging": int(self.guest is not None), "wp": int(guest.wp), "pse": int(guest.pse), "pge": 1,
                "cr3_base": guest.root >> 12, "asid": self.asid, "nested": 1, "n_pse": int(self.host.pse),
                "n_cr3_base": self.host.root >> 12}


class World:
    """Tables at random. `sound` is the chance of each permission bit of an entry to be set.

    With `tangled`, nested entries may also map the nested tables themselves, so that one word is an entry of both.
    """

    def __init__(self, seed: int, words: np.ndarray, *, sound=0.97, tangled=False):
        self.random = random.Random(seed)
        self.words = words
        self.sound = sound
        self.frames = (*FRAMES, *NESTED_DIRECTORIES, *NESTED_TABLES) if tangled else FRAMES
        words[:] = 0
        for frame in FRAMES:
            for index in INDEXES:
                words[frame * 1024 + index] = self.guest_entry()
        for frame in NESTED_DIRECTORIES:
            for index in REGIONS:
                words[frame * 1024 + index] = self.nested_directory_entry()
        for frame in NESTED_TABLES:
            for index in INDEXES:
                words[frame * 1024 + index] = self.nested_table_entry()

    def space(self, asid: int) -> Space:
        r = self.random
        guest = None
        if r.random() < .85:
            guest = Tables(self.guest_page() << 12, r.random() < .8, r.random() < .5)
        return Space(asid, guest, Tables(r.choice(NESTED_DIRECTORIES) << 12, r.random() < .8))

    def flags(self) -> int:
        r = self.random
        flags = sum(bit for bit in (PTE_P, PTE_RW, PTE_US) if r.random() < self.sound)
        return flags | sum(bit for bit in (PTE_A, PTE_D) if r.random() < .6) \
            | sum(bit for bit in (PTE_PCD, PTE_G) if r.random() < .2)

    def guest_page(self) -> int:
        """A page in the part of guest-physical memory that has tables."""
        return self.random.choice(REGIONS) << 10 | self.random.choice(INDEXES)

    def large(self, region: int) -> int:
        """An entry that maps 4 MiB (reserved bits are checked with CR4.PSE only)."""
        return region << 22 | self.flags() | PTE_PS | (1 << 12 + self.random.randrange(10)
                                                       if self.random.random() > self.sound else 0)

    def guest_entry(self) -> int:
        if self.random.random() < .3:
            return self.large(self.random.choice(REGIONS))
        return self.guest_page() << 12 | self.flags()

    def nested_directory_entry(self) -> int:
        if self.random.random() < .3:
            return self.large(self.random.choice((0, 1)))
        return self.random.choice(NESTED_TABLES) << 12 | self.flags()

    def nested_table_entry(self) -> int:
        frame = BEYOND if self.random.random() > self.sound else self.random.choice(self.frames)
        return frame << 12 | self.flags()

    def change(self) -> int:
        """Another value for one entry; the index of its word."""
        r = self.random
        frames, indexes, entry = r.choice(((FRAMES, INDEXES, self.guest_entry),
                                           (NESTED_DIRECTORIES, REGIONS, self.nested_directory_entry),
                                           (NESTED_TABLES, INDEXES, self.nested_table_entry)))
        word = r.choice(frames) * 1024 + r.choice(indexes)
        self.words[word] = entry()
        return word

    def access(self) -> tuple[int, int, int]:
        """(linear page, write, user)."""
        r = self.random
        return self.guest_page(), r.getrandbits(1), r.getrandbits(1)


def expected(words: np.ndarray, space: Space, page: int, write: int, user: int) -> tuple[object, list[tuple[str, int]]]:
    """((frame, U/S, R/W, D, large) or (kind, code, gpa), log) by the reference, which sets A and D in `words`."""
    memory = Memory(words)
    try:
        address, *rest = two_dimensions(memory, space.guest, space.host, page << 12, bool(write), bool(user))
        return (address >> 12, *map(int, rest)), memory.log
    except Refused as refused:
        return refused.args, memory.log
