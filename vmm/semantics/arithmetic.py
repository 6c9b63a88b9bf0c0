"""Integer division that truncates towards zero, as the processor's does and Python's does not."""

from __future__ import annotations


def quotient(a: int, b: int) -> int:
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def remainder(a: int, b: int) -> int:
    r = abs(a) % abs(b)
    return -r if a < 0 else r
