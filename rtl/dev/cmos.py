"""MC146818 real-time clock with CMOS RAM."""

from amaranth import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.bus.regport import RegisterPort
from rtl.isa.devices import (
    RTC_A_FIRMWARE,
    RTC_B_FIRMWARE,
    RTC_D_VALID,
    RTC_UIP_TICKS,
    UNCLAIMED,
    RtcReg,
    rtc_period,
)
from rtl.isa.platform import RTC_HZ

__all__ = ["CmosRtc"]


class CmosRtc(wiring.Component):
    """A clock that starts at a given date and advances only with its strobe, and 128 bytes of RAM around it.

    1. Offset 0 is the index (bits 6-0) and the NMI mask (bit 7), and reads as ones. Offset 1 is the byte at the index.
    2. The time is kept in RAM in the format that register B names at each update. An update takes about fifteen
       cycles; UIP warns of it from 244 us before until it is over. Bus accesses go before the update.
    3. The day of the month follows the four-year rule of leap years. Daylight saving and square wave do not exist.
    4. A divider held in reset (DV = 11x) starts with its first update after half a second.
    5. An event that comes with the read of register C stays for the next read.

    Motorola MC146818A datasheet; century at 32h as on every PC.

    Parameters
    ----------
    image : bytes
        The 128 bytes at power-on, see :func:`rtl.isa.devices.cmos_image`.
    second : int
        Ticks in a second, a power of two, at least the longest period of the periodic interrupt that is used.

    Raises
    ------
    ValueError
        If the image is not of 128 bytes, or the second is not a power of two above 8.

    Members
    -------
    bus : ``In(RegisterPort(1))``
        Registers.
    tick : ``In(1)``
        One period of the 32.768 kHz oscillator. Ticks are at least 32 cycles apart.
    irq : ``Out(1)``
        Interrupt request, level (IRQF).
    nmi_mask : ``Out(1)``
        Bit 7 of the index.
    updating : ``Out(1)``
        An update goes on, whatever happens to the ticks.
    """

    def __init__(self, image, second=RTC_HZ):
        if len(image) != 128:
            raise ValueError(f"CMOS RAM is 128 bytes, not {len(image)}")
        if second <= RTC_UIP_TICKS or second & (second - 1):
            raise ValueError(f"A second is a power of two of ticks above {RTC_UIP_TICKS}, not {second}")
        self._image = image
        self._second = second
        super().__init__({"bus": In(RegisterPort(1)), "tick": In(1), "irq": Out(1), "nmi_mask": Out(1),
                          "updating": Out(1)})

    def elaborate(self, platform):
        m = Module()
        bus = self.bus

        index = Signal(7)
        reg_a = Signal(7, init=RTC_A_FIRMWARE)
        reg_b = Signal(8, init=RTC_B_FIRMWARE)
        pf = Signal()
        af = Signal()
        uf = Signal()
        ticks = Signal(range(self._second))
        updating = self.updating

        m.submodules.ram = ram = Memory(shape=8, depth=128, init=self._image)
        bus_read = ram.read_port(domain="comb")
        clock_read = ram.read_port(domain="comb")
        write = ram.write_port()

        halted = reg_b[7]
        hours24 = reg_b[1]
        binary = reg_b[2]
        write_data = Signal()
        m.d.comb += write_data.eq(bus.w_stb & bus.addr)

        # Bus reads.
        uip = Signal()
        m.d.comb += [
            uip.eq(updating | (~halted & (ticks >= self._second - RTC_UIP_TICKS))),
            self.irq.eq((pf & reg_b[6]) | (af & reg_b[5]) | (uf & reg_b[4])),
            bus_read.addr.eq(index),
        ]
        with m.If(~bus.addr):
            m.d.comb += bus.r_data.eq(UNCLAIMED)
        with m.Else():
            with m.Switch(index):
                with m.Case(RtcReg.A):
                    m.d.comb += bus.r_data.eq(Cat(reg_a, uip))
                with m.Case(RtcReg.B):
                    m.d.comb += bus.r_data.eq(reg_b)
                with m.Case(RtcReg.C):
                    m.d.comb += bus.r_data.eq(Cat(C(0, 4), uf, af, pf, self.irq))
                with m.Case(RtcReg.D):
                    m.d.comb += bus.r_data.eq(RTC_D_VALID)
                with m.Default():
                    m.d.comb += bus.r_data.eq(bus_read.data)
        with m.If(bus.r_stb & bus.addr & (index == RtcReg.C)):
            m.d.sync += [pf.eq(0), af.eq(0), uf.eq(0)]

        # Divider.
        period_mask = Signal(15)
        next_ticks = Signal(range(self._second))
        with m.Switch(reg_a[0:4]):
            for rate in range(1, 16):
                with m.Case(rate):
                    m.d.comb += period_mask.eq(rtc_period(rate) - 1)
        m.d.comb += next_ticks.eq(ticks + 1)
        start_update = Signal()
        with m.If(self.tick):
            with m.If(reg_a[5:7] == 3):
                m.d.sync += ticks.eq(self._second // 2)
            with m.Else():
                m.d.sync += ticks.eq(next_ticks)
                m.d.comb += start_update.eq((next_ticks == 0) & ~halted)
                with m.If((reg_a[0:4] != 0) & (next_ticks & period_mask == 0)):
                    m.d.sync += pf.eq(1)

        # The update: one field per step, counting while there is a carry, then the alarm.
        value = clock_read.data
        more = Signal(8)
        last = Signal(8)
        first = Signal(8)
        new = Signal(8)
        carry = Signal()
        month_days = Signal(8)
        time = Signal(8)
        alarm = Signal()
        step = Signal()
        counting = Signal()

        def number(decimal):
            return Mux(binary, C(decimal, 8), C(decimal // 10 << 4 | decimal % 10, 8))

        m.d.comb += [
            step.eq(~bus.w_stb),
            more.eq(value + Mux(~binary & (value[0:4] == 9), 7, 1)),
            carry.eq(value == last),
            new.eq(Mux(carry, first, more)),
            write.addr.eq(Mux(write_data, index, clock_read.addr)),
            write.data.eq(Mux(write_data, bus.w_data, new)),
            write.en.eq(Mux(write_data, (index < RtcReg.A) | (index > RtcReg.D), counting & step)),
        ]
        with m.If(start_update):
            m.d.sync += [updating.eq(1), alarm.eq(1)]

        with m.If(updating), m.FSM():

            def field(name, limit, start, carry_to):
                with m.State(name):
                    m.d.comb += [counting.eq(1), clock_read.addr.eq(RtcReg[name]), last.eq(limit), first.eq(start)]
                    with m.If(step):
                        m.next = "ALARM0"
                        if carry_to is not None:
                            with m.If(carry):
                                m.next = carry_to

            field("SECOND", number(59), 0, "MINUTE")
            field("MINUTE", number(59), 0, "HOUR")
            with m.State("HOUR"):
                m.d.comb += [counting.eq(1), clock_read.addr.eq(RtcReg.HOUR)]
                # 12 hours: 11 AM, 12 PM, 1 PM ... 11 PM, 12 AM; bit 7 is PM.
                after_11 = value[0:7] == number(11)[0:7]
                with m.If(hours24):
                    m.d.comb += last.eq(number(23))
                with m.Elif(after_11):
                    m.d.comb += [last.eq(value), first.eq(Cat(number(12)[0:7], ~value[7]))]
                with m.Else():
                    m.d.comb += [last.eq(Cat(number(12)[0:7], value[7])), first.eq(Cat(C(1, 7), value[7]))]
                with m.If(step):
                    m.next = "ALARM0"
                    with m.If(Mux(hours24, carry, after_11 & value[7])):
                        m.next = "WEEKDAY"
            with m.State("WEEKDAY"):
                m.d.comb += [counting.eq(1), clock_read.addr.eq(RtcReg.WEEKDAY), last.eq(7), first.eq(1)]
                with m.If(step):
                    m.next = "MONTH_LENGTH"
            with m.State("MONTH_LENGTH"):
                m.d.comb += clock_read.addr.eq(RtcReg.MONTH)
                m.d.sync += month_days.eq(number(31))
                for month in (4, 6, 9, 11):
                    with m.If(value == number(month)):
                        m.d.sync += month_days.eq(number(30))
                with m.If(value == 2):
                    m.d.sync += month_days.eq(number(28))
                m.next = "LEAP_YEAR"
            with m.State("LEAP_YEAR"):
                m.d.comb += clock_read.addr.eq(RtcReg.YEAR)
                # 10 x tens + units, modulo 4
                of_four = Mux(binary, value[0:2], (value[0:2] + Cat(0, value[4]))[0:2])
                with m.If((of_four == 0) & (month_days == number(28))):
                    m.d.sync += month_days.eq(number(29))
                m.next = "DAY"
            field("DAY", month_days, 1, "MONTH")
            field("MONTH", number(12), 1, "YEAR")
            field("YEAR", number(99), 0, "CENTURY")
            field("CENTURY", number(99), 0, None)

            times = (RtcReg.SECOND, RtcReg.MINUTE, RtcReg.HOUR)
            for position, register in enumerate(times):
                with m.State(f"ALARM{2 * position}"):
                    m.d.comb += clock_read.addr.eq(register)
                    m.d.sync += time.eq(value)
                    m.next = f"ALARM{2 * position + 1}"
                with m.State(f"ALARM{2 * position + 1}"):
                    m.d.comb += clock_read.addr.eq(register + 1)
                    with m.If((value != time) & (value < 0xC0)):
                        m.d.sync += alarm.eq(0)
                    m.next = "DONE" if position == 2 else f"ALARM{2 * position + 2}"
            with m.State("DONE"):
                m.d.sync += [uf.eq(1), af.eq(af | alarm), updating.eq(0)]
                m.next = "SECOND"

        # Bus writes.
        with m.If(bus.w_stb & ~bus.addr):
            m.d.sync += [index.eq(bus.w_data), self.nmi_mask.eq(bus.w_data[7])]
        with m.If(write_data & (index == RtcReg.A)):
            m.d.sync += reg_a.eq(bus.w_data)
        with m.If(write_data & (index == RtcReg.B)):
            # Setting the time turns the update interrupt off.
            m.d.sync += reg_b.eq(Cat(bus.w_data[0:4], bus.w_data[4] & ~bus.w_data[7], bus.w_data[5:8]))
        return m
