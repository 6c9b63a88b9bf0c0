# amaranth: UnusedElaboratable=no
"""A design small enough to know by heart: a counter over a RAM port, a stop, a tap, a scratch memory."""

from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from sim.engines import RamPort, SimDesign, Tap


class Unit(wiring.Component):
    """Counts ``go`` cycles; every count is written to a scratch row."""

    go: In(1)
    count: Out(8, init=3)
    twice: Out(9)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.scratch = scratch = memory.Memory(shape=8, depth=4, init=[9, 8, 7, 6])
        write = scratch.write_port()
        m.d.comb += [self.twice.eq(self.count * 2), write.en.eq(self.go), write.addr.eq(self.count),
                     write.data.eq(self.count)]
        with m.If(self.go):
            m.d.sync += self.count.eq(self.count + 1)
        return m


class Small(wiring.Component):
    """Reads the RAM word ``count``; where it is odd, writes its complement back under ``mask``."""

    go: In(1)
    mask: In(4, init=0xF)
    rdata: In(32)
    en: Out(1)
    addr: Out(30)
    we: Out(4)
    wdata: Out(32)
    stop: Out(4)
    seen: Out(1)
    sum: Out(32)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unit = unit = Unit()
        last = Signal(8)
        writing = Signal()
        before = Signal(32)
        m.d.sync += [writing.eq(self.en & ~writing & self.go), last.eq(unit.count), before.eq(self.rdata)]
        m.d.comb += [unit.go.eq(self.go & writing), self.en.eq(self.go), self.addr.eq(unit.count),
                     self.wdata.eq(~self.rdata), self.seen.eq(writing)]
        with m.If(writing & self.rdata[0]):
            m.d.comb += self.we.eq(self.mask)
        with m.If(writing):
            m.d.sync += self.sum.eq(self.sum + self.rdata)
        with m.If(unit.count == 200):
            m.d.comb += self.stop.eq(5)
        return m


def small_design(key: str | None = None) -> SimDesign:
    top = Small()
    return SimDesign(
        top=top, ram=RamPort(top.en, top.addr, top.we, top.wdata, top.rdata, words=64), stop=top.stop,
        taps=(Tap("seen", top.seen, (("addr", top.addr), ("data", top.rdata))),),
        inputs={"go": top.go, "mask": top.mask}, key=key)
