"""What interrupt controllers tell each other."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["EndSignature", "MessageSignature"]


class MessageSignature(wiring.Signature):
    """An interrupt on its way to the local APICs, seen by the sender.

    1. A message is taken at the edge where `valid` and `ready` are 1; until then it stays. Every local APIC sees it and
       knows by `dest` whether it is meant.

    Members
    -------
    valid : Out(1)
    ready : In(1)
    vector : Out(8)
    mode : Out(3)
        `Delivery`.
    level : Out(1)
        Level-triggered: the local APIC broadcasts the end of interrupt.
    logical : Out(1)
        `dest` is a set of logical destinations instead of an APIC ID.
    dest : Out(8)
    """

    def __init__(self):
        super().__init__({
            "valid": Out(1), "ready": In(1), "vector": Out(8), "mode": Out(3), "level": Out(1), "logical": Out(1),
            "dest": Out(8),
        })


class EndSignature(wiring.Signature):
    """The end of a level-triggered interrupt, broadcast to the I/O APICs, seen by the local APIC.

    1. It takes place at the edge where `valid` and `ready` are 1; until then `vector` stays.

    Members
    -------
    valid : Out(1)
    ready : In(1)
    vector : Out(8)
    """

    def __init__(self):
        super().__init__({"valid": Out(1), "ready": In(1), "vector": Out(8)})
