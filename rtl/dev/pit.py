"""8254 programmable interval timer."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.regport import RegisterPort
from rtl.dev.pit_channel import PitChannel
from rtl.isa.devices import PIT_FIRMWARE, UNCLAIMED

__all__ = ["Pit8254"]


class Pit8254(wiring.Component):
    """Three :class:`PitChannel` on one clock. The gates of channels 0 and 1 are tied high, as on a PC.

    At power-on the channels run as firmware leaves them: 0 at 18.2 Hz, 1 as the refresh timer, 2 not started.

    Members
    -------
    bus : ``In(RegisterPort(2))``
        Counters 0 to 2 and the control word register, which reads as ones.
    tick : ``In(1)``
        One clock of 1.193182 MHz.
    gate2 : ``In(1)``
        Gate of channel 2.
    out : ``Out(3)``
        Outputs of the channels.
    """

    bus: In(RegisterPort(2))
    tick: In(1)
    gate2: In(1)
    out: Out(3)

    def elaborate(self, platform):
        m = Module()
        bus = self.bus
        write_control = Signal()
        read_back = Signal()
        m.d.comb += [
            bus.r_data.eq(UNCLAIMED),
            write_control.eq(bus.w_stb & (bus.addr == 3)),
            read_back.eq(bus.w_data[6:8] == 3),
        ]
        for number, (control, count) in enumerate(PIT_FIRMWARE):
            m.submodules[f"channel{number}"] = channel = PitChannel(control, count)
            selected = Signal(name=f"selected{number}")
            addressed = Signal(name=f"addressed{number}")
            read_back_this = write_control & read_back & bus.w_data[1 + number]
            is_latch = bus.w_data[4:6] == 0
            m.d.comb += [
                selected.eq(write_control & (bus.w_data[6:8] == number)),
                addressed.eq(bus.addr == number),
                channel.tick.eq(self.tick),
                channel.gate.eq(self.gate2 if number == 2 else 1),
                channel.data.eq(bus.w_data),
                channel.write_control.eq(selected & ~is_latch),
                channel.write_count.eq(bus.w_stb & addressed),
                channel.latch_count.eq((selected & is_latch) | (read_back_this & ~bus.w_data[5])),
                channel.latch_status.eq(read_back_this & ~bus.w_data[4]),
                channel.read.eq(bus.r_stb & addressed),
                self.out[number].eq(channel.out),
            ]
            with m.If(addressed):
                m.d.comb += bus.r_data.eq(channel.value)
        return m
