"""Sizes of the caches."""

from dataclasses import dataclass

#: Bytes and words of a line; the bus bursts and the request ports are made for it.
LINE_BYTES = 32
LINE_WORDS = 8
#: Both caches have two ways.
WAYS = 2


@dataclass(frozen=True)
class CacheConfig:
    """Sizes of the first-level caches.

    A way may not exceed a page: the caches are indexed by linear and tagged by physical addresses, and a larger way
    could hold one physical line twice.

    Members
    -------
    icache_bytes, dcache_bytes : int
        A power of two from 256 to 8192.
    """

    icache_bytes: int = 8192
    dcache_bytes: int = 8192

    def __post_init__(self) -> None:
        for name in ("icache_bytes", "dcache_bytes"):
            value = getattr(self, name)
            if value not in (256, 512, 1024, 2048, 4096, 8192):
                raise ValueError(f"{name} must be a power of two from 256 to 8192, not {value}")
