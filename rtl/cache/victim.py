"""A dirty line on its way from the arrays to memory."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["VictimBuffer"]


class VictimBuffer(wiring.Component):
    """Keeps a line that is replaced, so that the new one need not wait for it to be written back.

    1. With ``begin`` the copy of a line begins, at word ``first``. From the next cycle on ``copying`` is 1, until all
       eight words have been read.
    2. In a cycle with ``step``, given only with ``copying``, the caller reads word ``word`` of the line in the arrays,
       and gives it as ``data`` in the cycle after.
    3. ``out`` is word ``out_word`` of the buffer, in the same cycle.

    Members
    -------
    begin : In(1); first : In(3)
    copying : Out(1); step : In(1); word : Out(3); data : In(32)
    out_word : In(3); out : Out(32)
    """

    begin: In(1)
    first: In(3)
    copying: Out(1)
    step: In(1)
    word: Out(3)
    data: In(32)
    out_word: In(3)
    out: Out(32)

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = Memory(shape=32, depth=8, init=[])
        write, read = words.write_port(), words.read_port(domain="comb")
        left = Signal(3)
        stepped = Signal()
        stepped_word = Signal(3)
        m.d.comb += [
            write.en.eq(stepped),
            write.addr.eq(stepped_word),
            write.data.eq(self.data),
            read.addr.eq(self.out_word),
            self.out.eq(read.data),
        ]
        m.d.sync += stepped.eq(self.step)
        with m.If(self.begin):
            m.d.sync += [self.copying.eq(1), self.word.eq(self.first), left.eq(7)]
        with m.Elif(self.step):
            m.d.sync += [
                self.word.eq(self.word + 1),
                stepped_word.eq(self.word),
                left.eq(left - 1),
                self.copying.eq(left != 0),
            ]
        return m
