"""Sizes of the memory-management units."""

from dataclasses import dataclass

_TLB_SIZES = (4, 8, 16, 32, 64, 128)
_WALK_CACHE_SIZES = (0, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class MmuConfig:
    """Sizes of the TLBs and of the page-walk cache.

    Members
    -------
    itlb_entries, dtlb_entries : int
        4 KiB translations held by each side, in two ways; a power of two from 4 to 128.
    large_entries : int
        4 MiB translations held by each side, fully associative; 1 to 4.
    walk_cache_entries : int
        Page-directory entries the walker remembers, direct mapped; a power of two from 2 to 32, or 0 for none.
    nested_tlb_entries : int
        Pages of guest tables of which the nested TLB knows the place, in two ways, beside `large_entries` for 4 MiB
        pages of any use; a power of two from 4 to 128, or 0 for none.
    nested_walk_cache_entries : int
        Like `walk_cache_entries`, of the nested tables.
    """

    itlb_entries: int = 32
    dtlb_entries: int = 64
    large_entries: int = 4
    walk_cache_entries: int = 8
    nested_tlb_entries: int = 16
    nested_walk_cache_entries: int = 4

    def __post_init__(self) -> None:
        for name in ("itlb_entries", "dtlb_entries"):
            if getattr(self, name) not in _TLB_SIZES:
                raise ValueError(f"{name} must be a power of two from 4 to 128, not {getattr(self, name)}")
        if not 1 <= self.large_entries <= 4:
            raise ValueError(f"large_entries must be from 1 to 4, not {self.large_entries}")
        if self.nested_tlb_entries not in (0, *_TLB_SIZES):
            raise ValueError(f"nested_tlb_entries must be 0 or a power of two from 4 to 128, "
                             f"not {self.nested_tlb_entries}")
        for name in ("walk_cache_entries", "nested_walk_cache_entries"):
            if getattr(self, name) not in _WALK_CACHE_SIZES:
                raise ValueError(f"{name} must be 0 or a power of two from 2 to 32, not {getattr(self, name)}")
