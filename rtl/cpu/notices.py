"""Stores are told to the instruction cache, and its answers are kept for X."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.cache.port import SnoopPort

__all__ = ["StoreNotices"]


class StoreNotices(wiring.Component):
    """Gives notice of stores on their way from M to X, and of the writes of others.

    1. The store in M tells of ``line`` with ``take``, when it goes on to X, and before with ``first``, when it goes on
       to its second word. ``kill`` in that cycle makes the answer void.
    2. ``hit`` is valid while a store is in X: one of its lines is or was lately in the instruction cache.
    3. A line others have written (``other``, a pulse) is told when M does not tell of one; ``busy`` until then.

    Members
    -------
    snoop : Out(SnoopPort())
    begin, take, first, kill : In(1)
        An access enters M; see rule 1.
    at_second : In(1)
        The access in M is at its second word.
    line : In(27)
        Of the word that M is at.
    hit : Out(1)
    other : In(1); other_line : In(27); busy : Out(1)
    """

    snoop: Out(SnoopPort())
    begin: In(1)
    take: In(1)
    first: In(1)
    kill: In(1)
    at_second: In(1)
    line: In(27)
    hit: Out(1)
    other: In(1)
    other_line: In(27)
    busy: Out(1)

    def elaborate(self, platform):
        m = Module()
        snoop = self.snoop
        tells = Signal()
        asked = Signal()        # M gave notice in the last cycle
        hit_first = Signal()    # the answer for the first of two words in M
        hit_x = Signal()
        waiting_line = Signal(27)
        m.d.comb += [
            tells.eq(self.take | self.first),
            snoop.valid.eq(tells | self.busy),
            snoop.line.eq(Mux(tells, self.line, waiting_line)),
            self.hit.eq(hit_x | (asked & ~self.at_second & snoop.hit)),
        ]
        with m.If(tells):
            m.d.sync += asked.eq(~self.kill)
        with m.Elif(asked):
            m.d.sync += asked.eq(0)
        with m.If(self.other):
            m.d.sync += [self.busy.eq(1), waiting_line.eq(self.other_line)]
        with m.Elif(self.busy & ~tells):
            m.d.sync += self.busy.eq(0)

        with m.If(self.begin):
            m.d.sync += hit_first.eq(0)
        with m.Elif(asked & self.at_second):
            m.d.sync += hit_first.eq(hit_first | snoop.hit)
        with m.If(self.take):
            m.d.sync += hit_x.eq(self.at_second & (hit_first | (asked & snoop.hit)))
        with m.Elif(asked & ~self.at_second):
            m.d.sync += hit_x.eq(hit_x | snoop.hit)
        return m
