"""The port by which everything but the load/store unit reaches memory: through the data side."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class RequestPort(wiring.Signature):
    """Requests to the data side, the point of coherence, seen by the requester.

    1. A request is taken at the edge where `valid` and `ready` are 1; until then its payload stays stable. A write is
       finished when taken: any later access sees it.
    2. A read answers with one word, or with `line` the 8 words of the aligned 32-byte line, beginning with the word
       asked for and wrapping. Each word comes in a cycle where `rvalid` is 1, the first at the earliest in the cycle
       after the request was taken. The requester cannot delay them.
    3. One request at a time: `ready` stays 0 until the last word of a read was given.
    4. After a request with `lock` is taken, no other requester is served until the same requester's next request
       without `lock` is taken. Only the walker's port honours it.
    5. `fault` comes in place of `ready` when a translation behind the port fails: nothing is read, and `valid` falls.
       The data cache never raises it.

    Members
    -------
    valid : Out(1)
    ready : In(1)
    addr : Out(32)
        Physical byte address; bits 1:0 are ignored.
    line : Out(1)
        Read the whole line. Never with `write`.
    write : Out(1)
    lock : Out(1)
    wdata : Out(32)
    mask : Out(4)
        Bytes written.
    rvalid : In(1)
    rdata : In(32)
    fault : In(1)
    """

    def __init__(self):
        super().__init__({
            "valid": Out(1),
            "ready": In(1),
            "addr": Out(32),
            "line": Out(1),
            "write": Out(1),
            "lock": Out(1),
            "wdata": Out(32),
            "mask": Out(4),
            "rvalid": In(1),
            "rdata": In(32),
            "fault": In(1),
        })


class SnoopPort(wiring.Signature):
    """Notice of stores given to the instruction cache, seen by the data side.

    1. In a cycle where `valid` is 1, `line` is a line about to be written (or just written). The instruction cache
       invalidates it.
    2. `hit` answers in the next cycle, for one cycle: the line is or was recently in the instruction cache. A line
       counts from the cycle where its refill is first requested; a refill in flight that is hit must be discarded.
    3. The data side does not begin an instruction refill between the notice of a store and its write, so a refill
       requested after the notice brings the new bytes.
    4. Writes of other requesters are told of too, and their answers not used: bytes of the line that are already in the
       queue or the pipeline run as they were. Code changed by a device, or by the walker's A and D, takes a
       serializing instruction (SDM vol. 3A, 8.1.3); that of the processor's own stores takes none.

    Members
    -------
    valid : Out(1)
    line : Out(27)
        Physical address bits 31:5.
    hit : In(1)
    """

    def __init__(self):
        super().__init__({
            "valid": Out(1),
            "line": Out(27),
            "hit": In(1),
        })
