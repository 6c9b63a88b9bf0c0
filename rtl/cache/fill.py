"""Reading a line, or one uncached chunk, for the instruction cache."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.cache.port import RequestPort

__all__ = ["LineFill"]


class LineFill(wiring.Component):
    """Requests a line by ``refill`` and hands out its 8-byte chunks as they arrive, or reads one chunk by single words.

    1. ``go`` begins, at the clock edge, a fill of ``go_line`` from ``go_chunk`` on; it comes only while not ``busy``.
       ``line`` and ``way`` remember the last fill, also when it is over.
    2. In a cycle where ``write`` is 1, ``write_data`` is to be stored as chunk ``write_chunk`` of ``line``.
       From the next cycle on the chunk is in the buffer ``b_data`` until the next chunk is, and, one bit per chunk,
       in ``arrived``.
    3. With ``go_uncached`` nothing is to be stored. ``uncached_done`` is 1 in the cycle of the last word, unless
       ``forget`` was 1 in an earlier cycle after ``go``; the chunk is in ``b_data`` from the next cycle on.
    4. When no line is being filled ``arrived`` is all ones.

    Members
    -------
    go, go_line, go_chunk, go_way, go_uncached, forget : In
    busy, line, way : Out
    arrived : Out(4)
    write, write_chunk, write_data : Out
    b_valid, b_chunk, b_data : Out
        The last chunk of the last fill of a line.
    uncached_done : Out(1)
    refill : Out(RequestPort())
    """

    go: In(1)
    go_line: In(27)
    go_chunk: In(2)
    go_way: In(1)
    go_uncached: In(1)
    forget: In(1)
    busy: Out(1)
    line: Out(27)
    way: Out(1)
    arrived: Out(4, init=0b1111)
    write: Out(1)
    write_chunk: Out(2)
    write_data: Out(64)
    b_valid: Out(1)
    b_chunk: Out(2)
    b_data: Out(64)
    uncached_done: Out(1)
    refill: Out(RequestPort())

    def elaborate(self, platform):
        m = Module()
        requesting = Signal()
        uncached = Signal()
        wanted = Signal()
        word = Signal(3)
        first = Signal(3)
        low_word = Signal(32)
        chunk_done = Signal()
        m.d.comb += [
            self.refill.valid.eq(requesting),
            self.refill.addr.eq(Cat(0, 0, word, self.line)),
            self.refill.line.eq(~uncached),
            chunk_done.eq(self.refill.rvalid & word[0]),
            self.write.eq(chunk_done & ~uncached),
            self.write_chunk.eq(word[1:]),
            self.write_data.eq(Cat(low_word, self.refill.rdata)),
            self.uncached_done.eq(chunk_done & uncached & wanted),
        ]
        with m.If(self.go):
            m.d.sync += [
                self.busy.eq(1),
                requesting.eq(1),
                self.line.eq(self.go_line),
                self.way.eq(self.go_way),
                uncached.eq(self.go_uncached),
                wanted.eq(1),
                word.eq(Cat(0, self.go_chunk)),
                first.eq(Cat(0, self.go_chunk)),
                self.b_valid.eq(0),
                self.arrived.eq(self.go_uncached.replicate(4)),
            ]
        with m.Elif(self.busy):
            with m.If(self.forget):
                m.d.sync += wanted.eq(0)
            with m.If(requesting & self.refill.ready):
                m.d.sync += requesting.eq(0)
            with m.If(self.refill.rvalid):
                m.d.sync += [
                    word.eq(word + 1),
                    # An uncached chunk is two requests.
                    requesting.eq(uncached & ~word[0]),
                ]
                with m.If(~word[0]):
                    m.d.sync += low_word.eq(self.refill.rdata)
                with m.Else():
                    m.d.sync += [
                        self.b_data.eq(self.write_data),
                        self.b_chunk.eq(self.write_chunk),
                        self.b_valid.eq(~uncached),
                        # By a mask: simulated far faster than an addressed bit.
                        self.arrived.eq(self.arrived | (1 << self.write_chunk)),
                    ]
            with m.If(chunk_done & (uncached | ((word + 1)[:3] == first))):
                m.d.sync += self.busy.eq(0)
        return m
