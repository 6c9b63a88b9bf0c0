"""The memory bus between the data side and the memory controller."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


def is_cacheable(frame, ram_pages):
    """Whether a physical page may be held in the caches: RAM, outside the VGA window 0A0000h-0BFFFFh.

    Parameters
    ----------
    frame : Value(20)
        Physical page number.
    ram_pages : Value(20)
        Size of RAM in pages.
    """
    return (frame < ram_pages) & (frame[5:] != 0x000A0 >> 5)


class MemorySignature(wiring.Signature):
    """Single words and 8-word lines, seen by the initiator.

    1. A request is taken at the edge where `valid` and `ready` are 1; until then its payload stays stable.
    2. A read answers one word (8 with `line`), one per cycle where `rvalid` is 1: a single word at the earliest in
       the next cycle after the request was taken, a line in the one after that. A line begins with the word asked for
       and wraps within its 32 bytes.
    3. A write takes the word on `wdata` at each edge where `wready` is 1, once (8 times with `line`).
    4. `ready` is 0 from the cycle after a request was taken to its last word; it may be 1 in the last word's cycle.

    Members
    -------
    valid : Out(1)
    ready : In(1)
    addr : Out(32)
        Byte address; bits 1:0 are 0.
    line : Out(1)
    write : Out(1)
    mask : Out(4)
        Bytes written, or of interest to a read; a line is always whole.
    wdata : Out(32)
    wready : In(1)
    rvalid : In(1)
    rdata : In(32)
    """

    def __init__(self):
        super().__init__({
            "valid": Out(1),
            "ready": In(1),
            "addr": Out(32),
            "line": Out(1),
            "write": Out(1),
            "mask": Out(4),
            "wdata": Out(32),
            "wready": In(1),
            "rvalid": In(1),
            "rdata": In(32),
        })


class RamSignature(wiring.Signature):
    """Synchronous RAM whose contents live outside the netlist, seen by the memory controller.

    At each edge with `en` 1 the RAM latches the old word at `addr` to show it on `rdata` in the next cycle, then
    writes the bytes selected by `we`.

    Members
    -------
    en : Out(1)
    addr : Out(30)
        Word index.
    we : Out(4)
    wdata : Out(32)
    rdata : In(32)
    """

    def __init__(self):
        super().__init__({
            "en": Out(1),
            "addr": Out(30),
            "we": Out(4),
            "wdata": Out(32),
            "rdata": In(32),
        })
