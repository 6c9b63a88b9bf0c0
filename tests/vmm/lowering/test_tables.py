"""The MMU over the data tables: the same as Python and as native code, and the same as the interpreter's MMU."""

from __future__ import annotations

import random

import pytest

from rtl.isa.registers import Cr4
from tests.vmm.lowering.world import DIRECTORY, MIRRORED, RAM, TABLE, Native, World, library
from vmm.engine.dbt.arena import LOG_ENTRIES, Logged
from vmm.engine.dbt.layout import Context, Kind
from vmm.engine.dbt.mmu import TableMmu
from vmm.faults import Fault
from vmm.lowering.program import OK
from vmm.memory import PhysicalMemory
from vmm.paging.mmu import SoftMmu
from vmm.state import CpuState

PAGES = 2048


class Tables:
    """A world whose MMU is Python over the data tables."""

    def __init__(self, world: World):
        self.ram = world.ram.copy()
        self.context = Context(self.ram.ctypes.data, RAM, MIRRORED)
        self.context.state.load_dict(world.state.to_dict())
        self.mmu = TableMmu(self.context, PhysicalMemory(self.ram))


def _contents(context: Context) -> list[list[int]]:
    """The tables without the places of RAM and of the code map, which are not the same twice."""
    starts = [context.state.code_map_at if kind >= Kind.CHECKED else context.state.ram for kind in Kind]
    return [[entry and entry - start & (1 << 64) - 1 for entry in table[:PAGES]]
            for table, start in zip(context.tables, starts, strict=True)]


def _paged(seed: int) -> World:
    return next(world for world in map(World, range(seed, seed + 100)) if world.state.cr3)


@pytest.mark.parametrize("seed", (0, 100, 200, 300))
def test_python_and_native_tables_are_the_same(seed: int) -> None:
    world = _paged(seed)
    world.state.cr4 = int(Cr4.PSE | Cr4.PGE)
    world.state.cpl = 0
    python, native = Tables(world), Native(world)
    rng = random.Random(seed)
    faults = 0
    for _ in range(300):
        choice, linear = rng.random(), rng.randrange(PAGES << 12)
        if choice < 0.9:
            write, user = rng.random() < 0.5, rng.random() < 0.5
            outcome = native.call("mmu.translate", (linear, write, user))
            assert outcome is not None
            try:
                assert python.mmu.translate(linear, write, user) == outcome.result[0]
            except Fault as fault:
                faults += 1
                assert outcome.fault == (int(fault.vector), fault.error, fault.cr2)
        elif choice < 0.98:
            python.mmu.invalidate(linear)
            assert native.call("invalidate_page", (0, linear - python.context.state.segments[0].base)) is not None
        else:
            python.mmu.flush_non_global()
            assert native.call("write_control", (3, world.state.cr3)) is not None
        if rng.random() < 0.1:
            assert _contents(python.context) == _contents(native.context)
    assert _contents(python.context) == _contents(native.context) and python.ram.tobytes() == native.ram.tobytes()
    assert faults and any(any(table) for table in _contents(python.context))
    assert Logged.from_address(native.context.address).walks == python.mmu.walks


@pytest.mark.parametrize("seed", (0, 100, 200))
def test_a_guest_that_invalidates_sees_no_difference(seed: int) -> None:
    world = _paged(seed)
    world.state.cr4 = int(Cr4.PSE | Cr4.PGE)
    tables = Tables(world)
    ram = world.ram.copy()
    state = CpuState.from_dict(world.state.to_dict())
    soft = SoftMmu(state, PhysicalMemory(ram))
    rng = random.Random(seed)
    for _ in range(400):
        linear, write, user = rng.randrange(PAGES << 12), rng.random() < 0.5, rng.random() < 0.5
        results = []
        for mmu in (tables.mmu, soft):
            try:
                results.append(mmu.translate(linear, write, user))
            except Fault as fault:
                results.append((fault.error, fault.cr2))
        assert results[0] == results[1]
        assert tables.ram.tobytes() == ram.tobytes()
        if rng.random() < 0.1:
            place = (TABLE >> 2) + rng.randrange(PAGES // 2) if rng.random() < 0.8 else (DIRECTORY >> 2) + 1
            tables.ram[place] = ram[place] = int(ram[place]) ^ rng.choice((1, 2, 4, 0x1000, 0x100))
            for mmu in (tables.mmu, soft):
                mmu.flush_all()


def test_a_full_log_is_a_flush() -> None:
    world = _paged(0)
    world.words[(DIRECTORY >> 2) + 1] = 0xE7
    world.state.cr4 = int(Cr4.PSE)
    world.state.cr0 &= ~(1 << 31)
    tables = Tables(world)
    tables.mmu.memory.is_plain = lambda page: True  # type: ignore[method-assign]
    for page in range(1, RAM >> 12):
        tables.mmu.translate(page << 12, False, False)
    tables.mmu.invalidate(0x2000)
    tables.mmu.translate(0x2000, False, False)
    assert tables.mmu.log_count == (RAM >> 12) - 1 and tables.context.tables[Kind.READ][1]
    tables.mmu.log_count = LOG_ENTRIES
    tables.mmu.translate(0, False, False)
    assert tables.mmu.log_count == 1 and not tables.context.tables[Kind.READ][1] and tables.context.tables[Kind.READ][0]


def test_pages_with_code_are_watched_and_not_written_unseen() -> None:
    world = _paged(0)
    world.state.cr0 &= ~(1 << 31)
    native = Native(world)
    place = 0x8123
    native.context.code_map[place >> 3] |= 1 << (place & 7)
    assert native.call("store", (0x8200, 4, 1, 3)) is not None
    tables = native.context.tables
    assert tables[Kind.CHECKED][8] and not tables[Kind.WRITE][8] and tables[Kind.READ][8]
    assert native.call("store", (place - 3, 4, 1, 3)) is None
    assert native.call("store", (place - 4, 4, 1, 3)) is not None
    assert native.call("probe", (3, place, 1, 1)) is None


def test_writes_are_looked_at_again_once_code_has_become_known() -> None:
    world = _paged(0)
    world.state.cr0 &= ~(1 << 31)
    tables, native = Tables(world), Native(world)
    tables.mmu.translate(0x8000, True, False)
    assert native.call("store", (0x8200, 4, 1, 3)) is not None
    for context in (tables.context, native.context):
        assert context.tables[Kind.WRITE][8] and context.tables[Kind.CHECKED][8]
    tables.mmu.forget_writes()
    assert native.call("mmu.forget_writes", ()) is not None
    for context in (tables.context, native.context):
        assert not any(table[8] for kind, table in zip(Kind, context.tables, strict=True) if kind >= Kind.WRITE)


def test_refill_says_whether_the_access_hits_now() -> None:
    world = _paged(0)
    world.words[(TABLE >> 2) + 0x20] = 0x20005
    world.words[DIRECTORY >> 2] = TABLE | 7
    native = Native(world)
    status, words = library().call("mmu_refill", native.state, 0x20000, int(Kind.USER_READ))
    assert (status, words[0]) == (OK, 1)
    assert library().call("mmu_refill", native.state, 0x20000, int(Kind.USER_WRITE))[0] != OK
    assert native.context.tables[Kind.USER_READ][0x20] and not native.context.tables[Kind.USER_WRITE][0x20]


def test_a_change_of_privilege_changes_mode_and_tag() -> None:
    world = _paged(0)
    world.state.cpl = 0
    for number, segment in enumerate(world.state.segments[:6]):
        segment.selector, segment.base, segment.limit = 8, 0, 0xFFFF_FFFF
        segment.attributes = 0xC9B if number == 1 else 0xC93
    world.state.msrs[0x174] = 0x8
    native = Native(world)
    assert native.call("sysexit", ()) is not None
    assert native.state.mode == 0x3F | 3 << 6 | 1 << 8 | 1 << 9
    assert native.state.tag >> 32 == native.state.mode + 1
    before = native.state.generation
    assert native.call("write_control", (3, DIRECTORY)) is not None
    assert native.state.generation == before + 1 and native.state.flushed


def test_the_interpreter_sees_the_tables_unless_it_must_see_every_access() -> None:
    world = _paged(0)
    world.state.cr0 &= ~(1 << 31)
    tables = Tables(world)
    mmu = tables.mmu
    assert mmu.reads[1].get(8) is None
    mmu.translate(0x8000, True, True)
    assert mmu.reads[1].get(8) == mmu.writes[1].get(8) == 0
    mmu.memory.watched.add(8)
    assert mmu.reads[1].get(8) == 0 and mmu.writes[1].get(8) is None
    mmu.memory.watched.clear()
    mmu.set_fast(True, False)
    assert mmu.reads[1].get(8) == 0 and mmu.writes[1].get(8) is None
    mmu.set_fast(False, False)
    assert mmu.reads[1].get(8) is None
