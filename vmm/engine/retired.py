"""What one step of a processor did."""

from __future__ import annotations

from dataclasses import dataclass, field

from rtl.isa.retire import RetireCause
from vmm.engine.access import Write


@dataclass(slots=True)
class Retired:
    """What one step did. `eip` is where it began; `vector` and `error` say what was delivered, if anything.

    For VMEXIT, `error` is the exit code (its low 32 bits).
    """

    cause: RetireCause
    eip: int
    length: int = 0
    vector: int | None = None
    error: int | None = None
    writes: list[Write] = field(default_factory=list)
