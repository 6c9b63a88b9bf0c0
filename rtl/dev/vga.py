"""The registers of a VGA which text consoles and probes touch."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from rtl.bus.regport import RegisterPort
from rtl.isa.devices import CRTC_FIRMWARE, UNCLAIMED, VGA_RETRACE, VgaReg

__all__ = ["VgaRegisters"]


class VgaRegisters(wiring.Component):
    """CRT controller registers that read back, and an input status in which every retrace comes and goes.

    1. Offsets 4 and 5 are index and data of 32 CRT controller registers, set up for text mode by firmware.
    2. Offset 0Ah shows display enable and vertical retrace, both changed by each read of it, so that a loop that
       waits for one ends.
    3. The other offsets read as ones.

    Members
    -------
    bus : ``In(RegisterPort(4))``
        The sixteen ports of a colour VGA from 3D0h.
    """

    bus: In(RegisterPort(4))

    def elaborate(self, platform):
        m = Module()
        bus = self.bus
        index = Signal(5)
        retrace = Signal()
        m.submodules.crtc = crtc = Memory(shape=8, depth=32, init=CRTC_FIRMWARE)
        crtc_read = crtc.read_port(domain="comb")
        crtc_write = crtc.write_port()
        m.d.comb += [
            crtc_read.addr.eq(index),
            crtc_write.addr.eq(index),
            crtc_write.data.eq(bus.w_data),
            crtc_write.en.eq(bus.w_stb & (bus.addr == VgaReg.CRTC_DATA)),
        ]
        with m.Switch(bus.addr):
            with m.Case(VgaReg.CRTC_INDEX):
                m.d.comb += bus.r_data.eq(index)
                with m.If(bus.w_stb):
                    m.d.sync += index.eq(bus.w_data)
            with m.Case(VgaReg.CRTC_DATA):
                m.d.comb += bus.r_data.eq(crtc_read.data)
            with m.Case(VgaReg.STATUS):
                with m.If(retrace):
                    m.d.comb += bus.r_data.eq(VGA_RETRACE)
                with m.If(bus.r_stb):
                    m.d.sync += retrace.eq(~retrace)
            with m.Default():
                m.d.comb += bus.r_data.eq(UNCLAIMED)
        return m
