"""State of the timing model: one flat record that Python and native code share."""

from __future__ import annotations

import ctypes

from .costs import Costs

__all__ = ["LINE", "MAX_COUNTERS", "TimingState", "fresh_state"]

LINE = 32
MAX_COUNTERS, MAX_SETS, MAX_TLB, MAX_LARGE, MAX_WALK, MAX_RETURNS, MAX_TARGETS = 4096, 128, 64, 4, 32, 64, 256
_U8, _U32, _U64 = ctypes.c_uint8, ctypes.c_uint32, ctypes.c_uint64


class TimingState(ctypes.Structure):
    """What the processor remembers that costs depend on, and the costs themselves.

    1. Tables of lines and pages hold numbers plus one; zero is none. Two ways lie side by side: entry 2 * set + way.
    2. ``reads``, ``writes``, ``code`` are filters: where ``table[line & (sets - 1)] == line + 1``, ``line`` the linear
       address over 32, an access has no cost and no effect on the model. They alone need to be looked at by who makes
       an access; whatever they do not settle is a call of a `Memory` or `Code` method.
    3. Addresses in tags are physical lines, in TLBs linear pages.

    Members
    -------
    cycles : the estimate so far.
    engine_free : when the data cache could begin the next fill.
    fill_* : the line being filled, the word that came first, when it came, when all is there.
    counters, returns, top, targets : the branch predictor.
    """

    _fields_ = [
        ("cycles", _U64), ("engine_free", _U64), ("fill_first", _U64), ("fill_end", _U64),
        ("fill_line", _U32), ("fill_word", _U32),
        # what control registers say
        ("paging", _U32), ("large_pages", _U32), ("global_pages", _U32), ("directory", _U32),
        ("cache_disabled", _U32), ("ram_lines", _U32),
        # statistics
        ("data_misses", _U64), ("code_misses", _U64), ("data_walks", _U64), ("code_walks", _U64),
        ("write_backs", _U64), ("mispredictions", _U64), ("code_writes", _U64),
        # geometry
        ("data_sets", _U32), ("code_sets", _U32), ("data_tlb_sets", _U32), ("code_tlb_sets", _U32),
        ("large_entries", _U32), ("walk_entries", _U32), ("counter_mask", _U32), ("return_mask", _U32),
        ("target_mask", _U32),
        # costs
        ("taken", _U32), ("mispredicted", _U32), ("across", _U32), ("load_miss", _U32), ("store_miss", _U32),
        ("fill", _U32), ("write_back", _U32), ("uncached_load", _U32), ("uncached_store", _U32), ("walk", _U32),
        ("walk_directory", _U32), ("code_walk", _U32), ("code_fill", _U32), ("code_fill_cached", _U32),
        ("code_next", _U32), ("code_next_cached", _U32),
        # predictor
        ("top", _U32), ("returns", _U32 * MAX_RETURNS), ("targets", _U32 * MAX_TARGETS),
        ("counters", _U8 * MAX_COUNTERS),
        # caches
        ("reads", _U32 * MAX_SETS), ("writes", _U32 * MAX_SETS), ("code", _U32 * MAX_SETS),
        ("data_tags", _U32 * (2 * MAX_SETS)), ("data_dirty", _U8 * (2 * MAX_SETS)), ("data_used", _U8 * MAX_SETS),
        ("code_tags", _U32 * (2 * MAX_SETS)), ("code_used", _U8 * MAX_SETS),
        ("victims", _U32 * 4), ("victim_next", _U32),
        # TLBs: rights are 1 for a global page, 2 for one whose D bit is set
        ("data_pages", _U32 * (2 * MAX_TLB)), ("data_rights", _U8 * (2 * MAX_TLB)), ("data_turn", _U8 * MAX_TLB),
        ("data_large", _U32 * MAX_LARGE), ("data_large_rights", _U8 * MAX_LARGE), ("data_large_turn", _U32),
        ("code_pages", _U32 * (2 * MAX_TLB)), ("code_rights", _U8 * (2 * MAX_TLB)), ("code_turn", _U8 * MAX_TLB),
        ("code_large", _U32 * MAX_LARGE), ("code_large_rights", _U8 * MAX_LARGE), ("code_large_turn", _U32),
        ("walk_tags", _U32 * MAX_WALK), ("walk_tables", _U32 * MAX_WALK),
    ]


#: Costs that the record carries.
_CARRIED = ("taken", "mispredicted", "across", "load_miss", "store_miss", "fill", "write_back", "uncached_load",
            "uncached_store", "walk", "walk_directory", "code_walk", "code_fill", "code_fill_cached", "code_next",
            "code_next_cached")
_UNTRAINED = 1


def fresh_state(costs: Costs, ram_bytes: int) -> TimingState:
    """The record of a processor after reset."""
    state, geometry = TimingState(), costs.geometry
    for name in _CARRIED:
        setattr(state, name, costs.cycles[name])
    for name in ("data_sets", "code_sets", "data_tlb_sets", "code_tlb_sets", "large_entries", "walk_entries"):
        setattr(state, name, getattr(geometry, name))
    state.counter_mask = geometry.counters - 1
    state.return_mask = geometry.returns - 1
    state.target_mask = geometry.targets - 1
    state.ram_lines = ram_bytes // LINE
    ctypes.memset(ctypes.addressof(state) + TimingState.counters.offset, _UNTRAINED, MAX_COUNTERS)
    return state
