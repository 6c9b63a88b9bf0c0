"""The instruction bytes that #VMEXIT saves for page faults."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FetchedBytes"]

_LONGEST = 15


class FetchedBytes(wiring.Component):
    """Count and bytes of the code at the address of an instruction. AMD64 APM vol. 2, 15.8.4.

    1. ``go`` asks for the bytes of the instruction at linear address ``linear``, ``length`` bytes long, whose fetch the
       core begins anew at the same edge: 15, or as many as are left in its page and, with ``behind`` of them after the
       first, in its segment, but the whole of the instruction. ``drop`` asks for none.
    2. ``ready`` says that ``words`` are there: the count, then the bytes, then zeros. If the fetch faults before it has
       brought them (the translation may have changed), the count is 0.

    Members
    -------
    go, drop : In(1); linear : In(12); behind : In(32); length : In(4)
    have : In(5); bytes : In(120); fault : In(1)
        What the fetch queue has, and whether what comes next faults.
    wanted : Out(1)
        ``bytes`` is looked at.
    needed : Out(1)
        There are too few of them yet: the fetch may walk, and read memory that is not cached.
    ready : Out(1); words : Out(32) x 4
    """

    def __init__(self):
        super().__init__({
            "go": In(1), "drop": In(1), "linear": In(12), "behind": In(32), "length": In(4),
            "have": In(5), "bytes": In(8 * _LONGEST), "fault": In(1),
            "wanted": Out(1), "needed": Out(1), "ready": Out(1), "words": Out(32).array(4),
        })

    def elaborate(self, platform):
        m = Module()
        count = Signal(range(_LONGEST + 1))
        of_page = Signal(13)
        left = Signal(range(_LONGEST + 1))
        there = Signal()
        brought = Signal()
        m.d.comb += [
            of_page.eq(0x1000 - self.linear), left.eq(_LONGEST),
            self.wanted.eq(count != 0), there.eq(self.have >= count),
            self.ready.eq(there | self.fault), self.needed.eq(self.wanted & ~self.ready & ~brought),
        ]
        with m.If((of_page < _LONGEST) & (of_page <= self.behind)):
            m.d.comb += left.eq(of_page)
        with m.Elif(self.behind < _LONGEST):
            m.d.comb += left.eq(self.behind + 1)
        with m.If(self.go):
            m.d.sync += [count.eq(Mux(left > self.length, left, self.length)), brought.eq(0)]
        with m.Elif(self.drop):
            m.d.sync += count.eq(0)
        with m.If(self.ready & ~self.go):
            # Whatever is fetched after that is fetched as usual.
            m.d.sync += brought.eq(1)
        with m.If(self.wanted & there):
            kept = self.bytes & Cat((number < count).replicate(8) for number in range(_LONGEST))
            image = Cat(count, Const(0, 4), kept)
            m.d.comb += [word.eq(image.word_select(number, 32)) for number, word in enumerate(self.words)]
        return m
