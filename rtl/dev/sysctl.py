"""System control ports A (92h) and B (61h)."""

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.regport import RegisterPort

__all__ = ["SystemControlA", "SystemControlB"]


class SystemControlA(wiring.Component):
    """Port 92h: address line 20 (bit 1) and reset of the processor (a 1 written to bit 0, which reads as 0).

    Members
    -------
    bus : ``In(RegisterPort(0))``
        The register.
    a20 : ``Out(1)``
        Bit 1.
    reset_request : ``Out(1)``
        High for one cycle, the one after the write.
    """

    bus: In(RegisterPort(0))
    a20: Out(1)
    reset_request: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.bus.r_data.eq(Cat(0, self.a20))
        m.d.sync += self.reset_request.eq(self.bus.w_stb & self.bus.w_data[0])
        with m.If(self.bus.w_stb):
            m.d.sync += self.a20.eq(self.bus.w_data[1])
        return m


class SystemControlB(wiring.Component):
    """Port 61h: gate and output of timer channel 2, speaker, and the refresh toggle on which guests time delays.

    Bits 3-0 read back; bit 4 changes at each refresh request; bit 5 is the output of channel 2. There are no parity
    and channel check errors: bits 7-6 read as 0.

    Members
    -------
    bus : ``In(RegisterPort(0))``
        The register.
    refresh, out2 : ``In(1)``, ``In(1)``
        Outputs of timer channels 1 and 2.
    gate2 : ``Out(1)``
        Gate of timer channel 2.
    """

    bus: In(RegisterPort(0))
    refresh: In(1)
    out2: In(1)
    gate2: Out(1)

    def elaborate(self, platform):
        m = Module()
        control = Signal(4)
        last_refresh = Signal(init=1)
        refresh_toggle = Signal()
        m.d.comb += [
            self.bus.r_data.eq(Cat(control, refresh_toggle, self.out2)),
            self.gate2.eq(control[0]),
        ]
        m.d.sync += last_refresh.eq(self.refresh)
        with m.If(self.refresh & ~last_refresh):
            m.d.sync += refresh_toggle.eq(~refresh_toggle)
        with m.If(self.bus.w_stb):
            m.d.sync += control.eq(self.bus.w_data)
        return m
