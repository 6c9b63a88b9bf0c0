"""The whole context as one structure, and in it the log of the data tables."""

from __future__ import annotations

from ctypes import c_bool, c_uint8, c_uint32, c_uint64, sizeof

from vmm.engine.dbt.layout import (
    BLOCK_ENTRIES,
    BLOCKS_AT,
    CODE_MAP_AT,
    GUARDS_AT,
    JUMP_ENTRIES,
    JUMPS_AT,
    STATE_BYTES,
    TABLE_ENTRIES,
    TABLE_PAGES,
    TABLES_AT,
    BlockEntry,
    Fields,
    JumpEntry,
    Kind,
)

LOG_ENTRIES = 16384
#: Pages of a large page, and large pages of the linear address space.
LARGE = 1024


class Logged(Fields):
    """The state, and behind it the log of the data tables.

    Members
    -------
    log_count, log : pages put into the data tables since the last flush, with bit 20 set for global ones.
    large : by 4 MiB of linear addresses, that a page of this size may be in the tables.
    walks : page walks done. misses : accesses the data tables did not have. lookups : pages put into them.
    """

    _fields_ = [("walks", c_uint64), ("misses", c_uint64), ("lookups", c_uint64),
                ("log_count", c_uint32), ("log", c_uint32 * LOG_ENTRIES), ("large", c_bool * LARGE)]


assert sizeof(Logged) <= STATE_BYTES


class Arena(Logged):
    """Everything. No instance is ever made of this type: it says where things are."""

    _fields_ = [
        ("filling", c_uint8 * (JUMPS_AT - sizeof(Logged))),
        ("jumps", JumpEntry * JUMP_ENTRIES),
        ("blocks", BlockEntry * BLOCK_ENTRIES),
        ("tables", (c_uint64 * TABLE_ENTRIES) * len(Kind)),
        ("guards", c_uint8 * TABLE_PAGES),
        ("code_map", c_uint8 * (1 << 29)),
    ]


assert (Arena.blocks.offset, Arena.tables.offset) == (BLOCKS_AT, TABLES_AT)
assert (Arena.guards.offset, Arena.code_map.offset) == (GUARDS_AT, CODE_MAP_AT)
