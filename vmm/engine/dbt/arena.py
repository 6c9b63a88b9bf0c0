"""The whole context as one structure, and in it the log of the data tables."""

from __future__ import annotations

from ctypes import c_bool, c_int64, c_uint8, c_uint32, c_uint64, sizeof

from vmm.engine.dbt.layout import (
    BLOCK_ENTRIES,
    BLOCKS_AT,
    CODE_MAP_AT,
    GUARDS_AT,
    JUMP_ENTRIES,
    JUMPS_AT,
    MARKS_AT,
    STATE_BYTES,
    TABLE_ENTRIES,
    TABLE_PAGES,
    TABLES_AT,
    BlockEntry,
    Fields,
    JumpEntry,
    Kind,
)
from vmm.timing.record import TimingState

LOG_ENTRIES = 16384
#: Pages of a large page, and large pages of the linear address space.
LARGE = 1024


class Logged(Fields):
    """The state, and behind it the log of the data tables.

    Members
    -------
    log_count, log : pages put into the data tables since the last flush, each once.
    large : by 4 MiB of linear addresses, that a page of this size may be in the tables.
    walks : page walks done. misses : accesses the data tables did not have. lookups : pages put into them.
    """

    _fields_ = [("walks", c_uint64), ("misses", c_uint64), ("lookups", c_uint64),
                ("log_count", c_uint32), ("log", c_uint32 * LOG_ENTRIES), ("large", c_bool * LARGE)]


class Timed(Logged):
    """Behind that, what a translator with the timing model keeps; see `vmm.engine.dbt.timed`.

    Members
    -------
    timing : the record of the model.
    deadline : cycles of the estimate at which native code comes back. ahead : what the run has taken so far, while that
        is not in the estimate yet and a routine runs.
    run : where the run began, fetched : the last line fetched for it plus one, shadowed : whether it is under a shadow,
        charged : accesses of the instruction that the model has seen, begun : cycles of a REP instruction that precede
        its iterations, text : address of the run's bytes as they were when it began, or 0 if they still are in memory;
        all of an instruction that native code gives up.
    straight : the line's start that code just came to from the line before, or 1.
    """

    _fields_ = [("timing", TimingState), ("deadline", c_uint64), ("ahead", c_uint64), ("begun", c_uint64),
                ("text", c_uint64), ("run", c_uint32), ("fetched", c_uint32), ("charged", c_uint32),
                ("straight", c_uint32), ("shadowed", c_uint32)]


assert sizeof(Timed) <= STATE_BYTES


class Arena(Timed):
    """Everything. No instance is ever made of this type: it says where things are."""

    _fields_ = [
        ("filling", c_uint8 * (JUMPS_AT - sizeof(Timed))),
        ("jumps", JumpEntry * JUMP_ENTRIES),
        ("blocks", BlockEntry * BLOCK_ENTRIES),
        # host minus linear address: negative for RAM that the host has at a low place
        ("tables", (c_int64 * TABLE_ENTRIES) * len(Kind)),
        ("guards", c_uint8 * TABLE_PAGES),
        ("marks", c_uint8 * TABLE_PAGES),
        ("code_map", c_uint8 * (1 << 29)),
    ]


assert (Arena.blocks.offset, Arena.tables.offset) == (BLOCKS_AT, TABLES_AT)
assert (Arena.guards.offset, Arena.marks.offset, Arena.code_map.offset) == (GUARDS_AT, MARKS_AT, CODE_MAP_AT)
