"""POST code port."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.regport import RegisterPort

__all__ = ["PostCode"]


class PostCode(wiring.Component):
    """One register which reads back what was written, shown to the host. Guests write to it to pass time.

    Members
    -------
    bus : ``In(RegisterPort(0))``
        The register.
    code : ``Out(8)``
        The byte last written.
    """

    bus: In(RegisterPort(0))
    code: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.bus.r_data.eq(self.code)
        with m.If(self.bus.w_stb):
            m.d.sync += self.code.eq(self.bus.w_data)
        return m
