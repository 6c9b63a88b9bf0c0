"""Exit port."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.regport import RegisterPort
from rtl.isa.devices import UNCLAIMED

__all__ = ["ExitPort"]


class ExitPort(wiring.Component):
    """QEMU's isa-debug-exit: a byte written to offset 0 asks the simulator to stop with it.

    The other three offsets make a 32-bit write one request; they ignore writes. All read as ones.

    Members
    -------
    bus : ``In(RegisterPort(2))``
        The register.
    valid : ``Out(1)``
        High for one cycle, the one after the write.
    value : ``Out(8)``
        The value last written.
    """

    bus: In(RegisterPort(2))
    valid: Out(1)
    value: Out(8)

    def elaborate(self, platform):
        m = Module()
        do_exit = Signal()
        m.d.comb += [self.bus.r_data.eq(UNCLAIMED), do_exit.eq(self.bus.w_stb & (self.bus.addr == 0))]
        m.d.sync += self.valid.eq(do_exit)
        with m.If(do_exit):
            m.d.sync += self.value.eq(self.bus.w_data)
        return m
