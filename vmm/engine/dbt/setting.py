"""What a translation may take for granted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vmm.semantics.ops import Mode


@dataclass(frozen=True, slots=True)
class Setting:
    """What a translation may take for granted.

    Members
    -------
    mode, user, paging : of the processor.
    inline : emit the hit path of memory accesses in place. counted : count executions of the head down, and
        go round its loop through a chain slot, so that better code can take over.
    routines : places of native routines in the context, by name; `accessor` gives those of memory accesses.
    sink : a port to which bytes written are only collected, or None.
    beside : writes to pages with code are common: all writes look at the code map in place.
    """

    mode: Mode
    user: bool
    paging: bool
    inline: bool
    counted: bool
    routines: Mapping[str, int]
    sink: int | None = None
    beside: bool = False
