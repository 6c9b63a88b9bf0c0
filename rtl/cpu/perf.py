"""The performance counters."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.msrs import PERF_WIDTH, PerfEvent

__all__ = ["PerfCounters"]


class PerfCounters(wiring.Component):
    """One counter per `PerfEvent`; it counts the cycles in which bit ``pulse[event]`` is 1.

    Members
    -------
    pulse : In(n)
    index : In(6)
        The counter read; ``value`` is 0 for a number that is no event.
    value : Out(64)
    sample : In(1)
    high : Out(16)
        The upper part of ``value`` in the last cycle with ``sample``: read the lower part in it, then this.
    """

    def __init__(self):
        super().__init__({"pulse": In(max(PerfEvent) + 1), "index": In(PerfEvent), "value": Out(64),
                          "sample": In(1), "high": Out(PERF_WIDTH - 32)})

    def elaborate(self, platform):
        m = Module()
        with m.If(self.sample):
            m.d.sync += self.high.eq(self.value[32:])
        for event in PerfEvent:
            counter = Signal(PERF_WIDTH, name=event.name.lower())
            with m.If(self.pulse[event]):
                m.d.sync += counter.eq(counter + 1)
            with m.If(self.index == event):
                m.d.comb += self.value.eq(counter)
        return m
