"""Timer of a local APIC."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.apic import APIC_TIMER_BITS

__all__ = ["ApicTimer"]


class ApicTimer(wiring.Component):
    """Counts cycles of this clock, divided as its configuration says, down to 0.

    1. A new initial count starts it; one of 0 stops it. Writing the divide configuration keeps the count and begins its
       present unit anew.
    2. ``fires`` is high in the cycle that ends the count. With ``periodic`` the count begins anew then.

    Intel SDM vol. 3A, 11.5.4.

    Parameters
    ----------
    span : shape of ``elapse``.

    Members
    -------
    periodic : In(1)
    set_initial, set_divide, data : In(1), In(1), In(32)
        A write of one of the two registers.
    read : In(1)
        Somebody looks at ``current``, which is 0 otherwise; with ``set_divide`` it has to be high.
    initial, divide, current : Out(32), Out(4), Out(32)
    fires : Out(1)
    elapse : In, until_tick : Out
        As on `rtl.dev.isa_bus.IsaBus`.
    """

    def __init__(self, span=range(2)):
        self._longest = max(span)
        super().__init__({
            "periodic": In(1), "set_initial": In(1), "set_divide": In(1), "data": In(APIC_TIMER_BITS), "read": In(1),
            "initial": Out(APIC_TIMER_BITS), "divide": Out(4), "current": Out(APIC_TIMER_BITS), "fires": Out(1),
            "elapse": In(span, init=1), "until_tick": Out(span),
        })

    def elaborate(self, platform):
        m = Module()
        # What is left is counted in cycles, so that nothing runs but this one counter.
        left = Signal(APIC_TIMER_BITS + 7, name="left")
        shift, next_shift = Signal(3), Signal(3)
        m.d.comb += [shift.eq(_shift(self.divide)), self.until_tick.eq(self._longest)]
        with m.If(self.read):
            m.d.comb += self.current.eq((left + ((1 << shift) - 1)) >> shift)
        with m.If(left.any()):
            with m.If(left < self._longest):
                m.d.comb += self.until_tick.eq(left)
            m.d.comb += self.fires.eq(left <= self.elapse)
            with m.If(self.fires):
                m.d.sync += left.eq(Mux(self.periodic, self.initial << shift, 0))
            with m.Else():
                m.d.sync += left.eq(left - self.elapse)
        with m.If(self.set_initial):
            m.d.sync += [self.initial.eq(self.data), left.eq(self.data << shift)]
        with m.If(self.set_divide):
            m.d.comb += next_shift.eq(_shift(self.data))
            m.d.sync += [self.divide.eq(self.data & 0xB), left.eq(self.current << next_shift)]
        return m


def _shift(divide):
    """Logarithm of the divisor that a divide configuration selects."""
    return (Cat(divide[:2], divide[3]) + 1)[:3]
