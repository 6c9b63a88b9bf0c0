"""From the processor's I/O accesses to byte-wide register accesses."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .io import IoSignature
from .regport import RegisterPort

__all__ = ["IoBridge"]


class IoBridge(wiring.Component):
    """Splits accesses of 1, 2 or 4 bytes into byte accesses, low address first, as a PC's bus controller does.

    An access takes `recovery` cycles per byte; the strobe is in the last of them.

    Parameters
    ----------
    recovery : int
        Cycles per byte, at least 1. An ISA access takes far longer than a processor clock; 8 is kind.

    Members
    -------
    io : In(IoSignature())
    bus : Out(RegisterPort(16))
    """

    def __init__(self, recovery: int = 8):
        if recovery < 1:
            raise ValueError(f"recovery must be at least 1 cycle, not {recovery}")
        self._recovery = recovery
        super().__init__({"io": In(IoSignature()), "bus": Out(RegisterPort(16))})

    def elaborate(self, platform):
        m = Module()
        wait = Signal(range(self._recovery), init=self._recovery - 1)
        byte = Signal(2)
        collected = Signal(24)
        last = Signal()
        strobe = Signal()
        m.d.comb += [
            last.eq(byte == Mux(self.io.size == 2, 3, self.io.size)),
            strobe.eq(self.io.valid & (wait == 0)),
            self.bus.addr.eq(self.io.port + byte),
            self.bus.r_stb.eq(strobe & ~self.io.write),
            self.bus.w_stb.eq(strobe & self.io.write),
            self.bus.w_data.eq(self.io.wdata.word_select(byte, 8)),
            self.io.ready.eq(strobe & last),
            self.io.rdata.eq(collected),
            self.io.rdata.word_select(byte, 8).eq(self.bus.r_data),
        ]
        with m.If(self.io.valid):
            m.d.sync += wait.eq(wait - 1)
            with m.If(wait == 0):
                m.d.sync += [
                    wait.eq(self._recovery - 1),
                    byte.eq(Mux(last, 0, byte + 1)),
                    collected.word_select(byte, 8).eq(self.bus.r_data),
                ]
        return m
