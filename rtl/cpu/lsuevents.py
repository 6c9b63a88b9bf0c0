"""What the load/store unit tells the performance counters."""

from amaranth.lib import data

__all__ = ["LsuEvents"]


class LsuEvents(data.Struct):
    """Pulses for the performance counters, each one cycle long.

    Members
    -------
    load_hit, load_miss, store_hit, store_miss : an access left M; it missed if it waited for a line or for the bus.
    tlb_hit, tlb_miss : an access with translation left M; it missed if it waited for a walk.
    misaligned : an access that crosses a 4-byte boundary left M.
    writeback : a dirty line was evicted.
    walk_d, walk_i : the walker read an entry of the tables under CR3, by side.
    walk_update : the walker set A or D.
    walk_cache_hit, walk_cache_miss : the walker found a directory entry in the walk cache, or read it in spite of it.
    walk_nested_d, walk_nested_i : the walker read an entry of the nested tables, by side.
    nested_cache_hit, nested_cache_miss : like `walk_cache_*`, of the nested tables.
    nested_tlb_hit, nested_tlb_miss : a guest-physical page was found in the nested TLB, or walked in spite of it.
    wait_walk, wait_memory, wait_store : M waits in this cycle for a translation, for a line or word, for an older
        store.
    """

    load_hit: 1
    load_miss: 1
    store_hit: 1
    store_miss: 1
    tlb_hit: 1
    tlb_miss: 1
    misaligned: 1
    writeback: 1
    walk_d: 1
    walk_i: 1
    walk_update: 1
    walk_cache_hit: 1
    walk_cache_miss: 1
    walk_nested_d: 1
    walk_nested_i: 1
    nested_cache_hit: 1
    nested_cache_miss: 1
    nested_tlb_hit: 1
    nested_tlb_miss: 1
    wait_walk: 1
    wait_memory: 1
    wait_store: 1
