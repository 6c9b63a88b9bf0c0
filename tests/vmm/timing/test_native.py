"""The methods of the model as native code: the same record as in Python, byte by byte."""

from __future__ import annotations

import ctypes
import random
from functools import cache

import pytest

from rtl.isa.paging import PTE_D, PTE_G, PTE_P, PTE_PS, PTE_RW
from tests.vmm.timing.code import COSTS
from vmm.lowering.build import Library
from vmm.memory import PhysicalMemory
from vmm.timing.model import TimingModel
from vmm.timing.native import METHODS, TimingContext, text

RAM = 1 << 20
DIRECTORY, TABLES = 0x1000, 0x4000
ON = 1 << 31


@cache
def library() -> Library:
    return Library(text())


def tables(memory: PhysicalMemory, rng: random.Random) -> None:
    """Eight directory entries: small pages, large ones, some global, clean or absent; tables beyond RAM."""
    for number in range(8):
        table = TABLES + 0x1000 * number
        kind = rng.choice((PTE_P | PTE_RW, PTE_P | PTE_RW, PTE_P | PTE_RW | PTE_PS, PTE_P, 0))
        memory.write32(DIRECTORY + 4 * number, (table if rng.random() < 0.95 else 0x7FFF_F000) & (
            ~0x3F_F000 if kind & PTE_PS else ~0) | kind | rng.choice((0, PTE_D)) | rng.choice((0, PTE_G)))
        for page in range(1024):
            memory.write32(table + 4 * page, rng.randrange(RAM >> 12) << 12 | PTE_P | PTE_RW
                           | rng.choice((0, PTE_D)) | rng.choice((0, 0, PTE_G)))


@pytest.mark.parametrize("seed", range(6))
def test_random_calls_leave_the_same_record(seed: int) -> None:
    rng = random.Random(seed)
    memory = PhysicalMemory(RAM)
    tables(memory, rng)
    model = TimingModel(COSTS, memory, RAM)
    context = TimingContext(model.state, ctypes.addressof(ctypes.c_char.from_buffer(memory.bytes)), RAM)
    places = [rng.randrange(32 << 20) for _ in range(30)]

    def place() -> int:
        return rng.choice(places) + rng.randrange(64) if rng.random() < 0.9 else rng.randrange(1 << 32)

    met = set()
    for number in range(3000):
        size = rng.choice((1, 2, 4))
        linear = place() & ~0 if rng.random() < 0.3 else place() & -size
        # Some of it beyond RAM, some in the graphics window.
        physical = rng.choice((linear & RAM - 1, linear & RAM - 1, linear & RAM - 1, linear & 0x1FFFFF, 0xA0000))
        offset, flag = rng.randrange(20), rng.randrange(2)
        name = rng.choice(METHODS[:8] * 12 + METHODS[8:])
        arguments = {
            "conditional": (linear, flag, rng.randrange(2), 1), "refetch": (), "call": (linear,),
            "jump_back": (linear, flag), "indirect": (linear, place(), flag),
            "data": (linear, physical, size, flag, offset),
            "data_across": (linear | 0xFFF, physical | 0xFFF, 1, place() & RAM - 1, size, flag, offset),
            "fetch": (linear, physical, flag, offset),
            "control": (rng.choice((0x11, ON | 0x11, ON | 0x11, ON | 1 << 30)), DIRECTORY, rng.randrange(256)),
            "load_directory": (DIRECTORY,), "invalidate": (linear,), "write_back_all": (),
        }[name]
        getattr(model, name)(*arguments)
        status, _words = library().call(f"timing_{name}", context, *arguments)
        assert status == 0
        assert bytes(context.state) == bytes(model.state), (number, name, arguments)
        met.add(name)
    assert met == set(METHODS)
    assert model.state.data_misses > 100 and model.state.code_misses > 100
