"""When code moves up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When code moves up, and how.

    Members
    -------
    warm : times a block is interpreted. hot : times it runs compiled on its own. entered : times a block is entered
        in its middle before its end is a block of its own. region_instructions : the size of a region.
    background : compile in a thread of its own while the guest runs.
    """

    warm: int = 8
    entered: int = 8
    hot: int = 20000
    region_instructions: int = 2500
    background: bool = True
