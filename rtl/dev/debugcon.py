"""Debug console."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.regport import RegisterPort
from rtl.isa.devices import DEBUGCON_ID

__all__ = ["DebugConsole"]


class DebugConsole(wiring.Component):
    """One register: a byte written to it goes to the host; it reads as E9h, which tells a guest that it is there.

    Members
    -------
    bus : ``In(RegisterPort(0))``
        The register.
    valid, data : ``Out(1)``, ``Out(8)``
        A byte for the host in each cycle of ``valid``, one cycle after its write.
    """

    bus: In(RegisterPort(0))
    valid: Out(1)
    data: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.bus.r_data.eq(DEBUGCON_ID)
        m.d.sync += self.valid.eq(self.bus.w_stb)
        with m.If(self.bus.w_stb):
            m.d.sync += self.data.eq(self.bus.w_data)
        return m
