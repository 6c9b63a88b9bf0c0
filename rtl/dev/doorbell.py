"""Doorbell of the virtual machine monitor."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.regport import RegisterPort
from rtl.isa.devices import UNCLAIMED

__all__ = ["Doorbell"]


class Doorbell(wiring.Component):
    """A byte written to offset 0 asks the simulator to stop and to look after the guest, then to go on.

    Without ``enable`` nobody listens, and the port is like one that no device claims. The other three offsets make a
    32-bit write one request; they ignore writes. All read as ones.

    Members
    -------
    bus : ``In(RegisterPort(2))``
        The register.
    enable : ``In(1)``
        A monitor is there.
    valid : ``Out(1)``
        High in the cycle of the write: the instruction after the OUT is not to complete.
    """

    bus: In(RegisterPort(2))
    enable: In(1)
    valid: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.bus.r_data.eq(UNCLAIMED),
            self.valid.eq(self.bus.w_stb & (self.bus.addr == 0) & self.enable),
        ]
        return m
