"""Sizes of the memory-management units."""

from dataclasses import dataclass


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
    """

    itlb_entries: int = 32
    dtlb_entries: int = 64
    large_entries: int = 4
    walk_cache_entries: int = 8

    def __post_init__(self) -> None:
        for name in ("itlb_entries", "dtlb_entries"):
            value = getattr(self, name)
            if value not in (4, 8, 16, 32, 64, 128):
                raise ValueError(f"{name} must be a power of two from 4 to 128, not {value}")
        if not 1 <= self.large_entries <= 4:
            raise ValueError(f"large_entries must be from 1 to 4, not {self.large_entries}")
        if self.walk_cache_entries not in (0, 2, 4, 8, 16, 32):
            raise ValueError(f"walk_cache_entries must be 0 or a power of two from 2 to 32, "
                             f"not {self.walk_cache_entries}")
