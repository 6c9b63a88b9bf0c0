"""Processor state and physical memory."""

import json
import random

import numpy as np
import pytest

from rtl.isa.registers import STATUS_FLAGS, Eflags
from vmm.memory import PAGE, PhysicalMemory, Region, new_ram
from vmm.state import CpuState


@pytest.mark.parametrize("value", range(64))
def test_any_combination_of_flags_survives(value: int) -> None:
    """ZF with SF, ZF without PF and other sets no result can give come from POPF."""
    flags = [flag for k, flag in enumerate((0x1, 0x4, 0x10, 0x40, 0x80, 0x800)) if value >> k & 1]
    state = CpuState()
    state.eflags = sum(flags) | int(Eflags.IF)
    assert state.eflags == sum(flags) | 0x202
    state.set_arithmetic_flags(~state.eflags)
    assert state.eflags == int(STATUS_FLAGS) - sum(flags) | 0x202


def test_unimplemented_flags_read_as_zero() -> None:
    state = CpuState()
    state.eflags = 0xFFFF_FFFF
    assert state.eflags == 0x0024_7FD7 | int(Eflags.RF)


def test_state_survives_json() -> None:
    rng = random.Random(1)
    state = CpuState()
    state.gpr[:] = [rng.getrandbits(32) for _ in range(8)]
    state.eflags, state.cr3, state.halted, state.instructions = 0xAD7, 0x5000, True, 1 << 40
    state.segments[4].base, state.dr[0], state.msrs[0x174] = 0x1234, 77, 8
    image = json.loads(json.dumps(state.to_dict()))
    copy = CpuState.from_dict(image)
    assert copy.to_dict() == image
    gpr = state.gpr
    state.load_dict(CpuState().to_dict())
    assert state.gpr is gpr and state.to_dict() == CpuState().to_dict()


def test_incomplete_image_changes_nothing() -> None:
    state = CpuState(eip=5)
    image = CpuState().to_dict()
    del image["segments"]["gs"]
    with pytest.raises(KeyError):
        state.load_dict(image)
    assert state.eip == 5


def test_ram_is_shared() -> None:
    words = np.zeros(1024, dtype=np.uint32)
    memory = PhysicalMemory(words)
    memory.write(4, 4, 0x11223344)
    assert words[1] == 0x11223344
    words[2] = 0xAABBCCDD
    assert memory.read(8, 2) == 0xCCDD and memory.read(9, 4) == 0x00AABBCC


@pytest.mark.parametrize("size", (PAGE, 3 * PAGE, 1 << 20, 64 << 20))
def test_ram_of_its_own_begins_at_a_page_of_the_host(size: int) -> None:
    for ram in (new_ram(size), PhysicalMemory(size).ram):
        assert ram.ctypes.data % PAGE == 0 and ram.nbytes == size and not ram.any()


def test_beyond_ram_reads_ones_and_ignores_writes() -> None:
    memory = PhysicalMemory(0x1000)
    memory.write(0x1000, 4, 0)
    assert memory.read(0x1000, 4) == 0xFFFF_FFFF and memory.read(0xFFFF_FFFF, 1) == 0xFF
    memory.write(0xFFE, 4, 0x0102_0304)
    assert memory.read(0xFFE, 4) == 0xFFFF_0304


def test_region_wins_over_ram_and_gets_offsets() -> None:
    log: list[tuple[int, ...]] = []

    def read(offset: int, size: int) -> int:
        log.append((offset, size))
        return 0x55

    memory = PhysicalMemory(0x4000)
    memory.map_region(Region(0x2000, 0x100, read, lambda *access: log.append(access)))
    assert memory.read(0x2010, 1) == 0x55
    memory.write(0x2020, 4, 9)
    assert log == [(0x10, 1), (0x20, 4, 9)]
    assert not memory.is_plain(2) and memory.is_plain(3) and not memory.is_plain(4)
    assert memory.read(0x1FFE, 4) == 0x5555_0000
    with pytest.raises(ValueError, match="region at 0x20ff overlaps the one at 0x2000"):
        memory.map_region(Region(0x20FF, 1, read, lambda *access: None))


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="RAM size 0x1004 is not a multiple of 0x1000"):
        PhysicalMemory(0x1004)
    with pytest.raises(ValueError, match="3 bytes at 0xffe do not fit in 0x1000 bytes of RAM"):
        PhysicalMemory(0x1000).load_blob(0xFFE, b"abc")
