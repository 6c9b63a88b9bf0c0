"""Where a microprogram goes on: micro-branches and the repetition of string instructions."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .flags import Flags
from .stages import Latch
from .uop import Cond, Next

__all__ = ["MicroBranch"]


class MicroBranch(wiring.Component):
    """Resolves what follows the micro-operation in X, as its ``next`` and ``cond`` say. Combinational.

    1. ``holds`` : the condition holds. It looks at ``raw``, the flags of the micro-operation's own result, even where
       they are not written; REPZ also at ZF of EFLAGS (``zf``), which must be what the prefix wants. The conditions
       that go on without a new decode hold only while ``go_on``.
    2. ``missed`` : it is a micro-branch, and decode has gone the other way.
    3. ``last`` : the micro-operation ends its instruction; with ``restart`` this begins again instead.
    4. ``iterates`` : an iteration of REP ends here, and another one follows.

    Parameters
    ----------
    x : Latch
        The micro-operation, whether valid or not.

    Members
    -------
    raw : In(Flags); zf, go_on : In(1)
    holds, missed, last, restart, iterates : Out(1)
    """

    def __init__(self, x: Latch):
        self._x = x
        super().__init__({
            "raw": In(Flags), "zf": In(1), "go_on": In(1),
            "holds": Out(1), "missed": Out(1), "last": Out(1), "restart": Out(1), "iterates": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        x, raw = self._x, self.raw
        iterating = Signal()
        more = Signal()
        m.d.comb += [
            iterating.eq((x.cond == Cond.REPZ) | (x.cond == Cond.REPZ_GO)),
            more.eq(~raw.zf & (~iterating | (self.zf == x.repeat[0]))),
        ]
        with m.Switch(x.cond):
            for number, value in {
                    Cond.Z: raw.zf, Cond.NZ: ~raw.zf, Cond.C: raw.cf, Cond.NC: ~raw.cf, Cond.S: raw.sf,
                    Cond.NS: ~raw.sf, Cond.BE: raw.cf | raw.zf, Cond.A: ~raw.cf & ~raw.zf,
                    Cond.REP: more, Cond.REPZ: more, Cond.REP_GO: more & self.go_on,
                    Cond.REPZ_GO: more & self.go_on}.items():
                with m.Case(number):
                    m.d.comb += self.holds.eq(value)
        conditional = (x.next == Next.BR) | (x.next == Next.BRT)
        m.d.comb += [
            self.missed.eq(conditional & (self.holds != (x.next == Next.BRT))),
            self.last.eq((x.next == Next.END) | (x.next == Next.ENDREP)),
            self.restart.eq((x.next == Next.ENDREP) & self.holds),
            self.iterates.eq(self.restart | (x.iteration & self.holds)),
        ]
        return m
