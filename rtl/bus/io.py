"""The I/O port space as the processor sees it."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["IoSignature"]


class IoSignature(wiring.Signature):
    """One IN or OUT at a time, seen by the processor.

    1. ``valid`` rises with the request and stays, with a stable payload, until the cycle where ``ready`` is 1.
    2. ``rdata`` is valid in that cycle. Bytes beyond ``size`` may be anything.
    3. ``port`` need not be aligned; an access that passes port FFFFh goes on at 0.

    Members
    -------
    valid : Out(1)
    write : Out(1)
    port : Out(16)
    size : Out(2)
        Logarithm of the bytes: 0, 1, 2.
    wdata : Out(32)
    ready : In(1)
    rdata : In(32)
    """

    def __init__(self):
        super().__init__({
            "valid": Out(1), "write": Out(1), "port": Out(16), "size": Out(2), "wdata": Out(32),
            "ready": In(1), "rdata": In(32),
        })
