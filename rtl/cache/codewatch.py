"""Self-modifying code: does a store touch bytes that the instruction side holds?"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.cache.port import SnoopPort

__all__ = ["CodeWatch"]

VICTIMS = 4


class CodeWatch(wiring.Component):
    """Answers the data side's notices of stores: is or was the line lately in the instruction cache?

    Besides the tags it knows the last four lines replaced, whose bytes may still be in the queue or in the pipeline.
    Four are enough: the bytes behind a store in flight come from at most four lines fetched after its own. An answer
    may be a false alarm, never a false all-clear. A line being filled has its tag from the cycle of its request on, and
    a fill requested after the notice brings the new bytes (`SnoopPort`, rule 3).

    1. The line of a notice is in ``w_line`` from the next cycle on; ``w_valid`` is 1 in that cycle only.
    2. In that cycle the cache compares the tags it has read for the line and gives the result as ``tag_hit``.

    Members
    -------
    snoop : In(SnoopPort())
        Notices, and their answers.
    w_valid, w_line : Out
        The notice being answered.
    tag_hit : In(1)
        The line is in the tags.
    e_go, e_line : In
        A line is replaced in the cache, or its bytes go to the queue without being kept in the cache.
    """

    snoop: In(SnoopPort())
    w_valid: Out(1)
    w_line: Out(27)
    tag_hit: In(1)
    e_go: In(1)
    e_line: In(27)

    def elaborate(self, platform):
        m = Module()
        victims = [Signal(27, name=f"victim{i}") for i in range(VICTIMS)]
        victim_valid = Signal(VICTIMS)
        victim_next = Signal(range(VICTIMS))
        victim_hit = Signal()

        m.d.comb += [
            victim_hit.eq((Cat(victim == self.w_line for victim in victims) & victim_valid).any()),
            self.snoop.hit.eq(self.w_valid & (self.tag_hit | victim_hit)),
        ]
        m.d.sync += self.w_valid.eq(self.snoop.valid)
        with m.If(self.snoop.valid):
            m.d.sync += self.w_line.eq(self.snoop.line)
        with m.If(self.e_go):
            # By a mask: simulated far faster than an addressed bit.
            m.d.sync += [victim_valid.eq(victim_valid | (1 << victim_next)), victim_next.eq(victim_next + 1)]
            with m.Switch(victim_next):
                for i, victim in enumerate(victims):
                    with m.Case(i):
                        m.d.sync += victim.eq(self.e_line)
        return m
