"""Timing of main memory."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryConfig:
    """Timing of an SDRAM-like memory.

    Members
    -------
    latency : int
        Cycles from the request to the first word, for reads and for writes; one word per cycle follows. 2 to 255.
    """

    latency: int = 8

    def __post_init__(self) -> None:
        if not 2 <= self.latency <= 255:
            raise ValueError(f"latency must be from 2 to 255 cycles, not {self.latency}")
