"""MC146818 clock and CMOS RAM in software; rules in `rtl/dev/cmos.py`."""

from rtl.isa.devices import (
    RTC_A_FIRMWARE,
    RTC_A_UIP,
    RTC_B_FIRMWARE,
    RTC_D_VALID,
    RTC_UIP_TICKS,
    UNCLAIMED,
    RtcB,
    RtcC,
    RtcReg,
    rtc_period,
)
from rtl.isa.platform import RTC_HZ
from vmm.devices.device import Device, Output, nowhere

C_PF, C_AF, C_UF = int(RtcC.PF), int(RtcC.AF), int(RtcC.UF)
B_SET, B_INTERRUPTS = int(RtcB.SET), int(RtcB.PIE | RtcB.AIE | RtcB.UIE)
PM = 0x80
"""Bit of the hour in 12-hour format."""
ALARM_ANY = 0xC0
"""An alarm byte from here on matches any time."""


class CmosRtc(Device):
    """`on_irq` is told each new level of the interrupt line; `second` is the number of ticks in one."""

    STATE = ("index", "nmi_mask", "reg_a", "reg_b", "pf", "af", "uf", "ticks", "ram")

    def __init__(self, image: bytes, on_irq: Output = nowhere, second: int = RTC_HZ) -> None:
        self.ram = bytearray(image)
        self.index = self.nmi_mask = 0
        self.reg_a = RTC_A_FIRMWARE
        self.reg_b = RTC_B_FIRMWARE
        self.pf = self.af = self.uf = 0
        self.ticks = 0
        self._second_ticks = second
        self.on_irq = on_irq
        self._irq = 0

    @property
    def irq(self) -> int:
        return int(bool(self._flags() & self.reg_b))

    def _flags(self) -> int:
        return self.pf * C_PF | self.af * C_AF | self.uf * C_UF

    def _signal(self) -> None:
        level = self.irq
        if level != self._irq:
            self._irq = level
            self.on_irq(level)

    # Time.

    def advance(self, ticks: int) -> None:
        """Many periods of the 32.768 kHz oscillator."""
        if not ticks:
            return
        if self.reg_a & 0x60 == 0x60:
            self.ticks = self._second_ticks // 2
            return
        period = rtc_period(self.reg_a & 0xF)
        if period and self.ticks % period + ticks >= period:
            self.pf = 1
        seconds, self.ticks = divmod(self.ticks + ticks, self._second_ticks)
        if not self.reg_b & B_SET:
            for _ in range(seconds):
                self._second()
        self._signal()

    def ticks_to_irq(self) -> int | None:
        """Ticks after which the interrupt line could rise, None if only an access can raise it."""
        if not self.reg_b & B_INTERRUPTS or self.irq or self.reg_a & 0x60 == 0x60:
            return None
        waits = []
        period = rtc_period(self.reg_a & 0xF)
        if period and self.reg_b & RtcB.PIE:
            waits.append(period - self.ticks % period)
        if self.reg_b & (RtcB.AIE | RtcB.UIE) and not self.reg_b & RtcB.SET:
            waits.append(self._second_ticks - self.ticks)
        return min(waits, default=None)

    def _number(self, decimal: int) -> int:
        return decimal if self.reg_b & RtcB.BINARY else decimal // 10 << 4 | decimal % 10

    def _count(self, register: RtcReg, last: int, first: int) -> bool:
        """One more in `register`; True if it started again."""
        value = self.ram[register]
        carry = value == last
        more = value + (7 if not self.reg_b & RtcB.BINARY and value & 15 == 9 else 1)
        self.ram[register] = (first if carry else more) & 0xFF
        return carry

    def _count_hour(self) -> bool:
        number, value = self._number, self.ram[RtcReg.HOUR]
        if self.reg_b & RtcB.HOURS24:
            return self._count(RtcReg.HOUR, number(23), 0)
        half = value & PM
        if value & ~PM == number(11):
            self.ram[RtcReg.HOUR] = number(12) | half ^ PM
            return bool(half)
        self._count(RtcReg.HOUR, number(12) | half, 1 | half)
        return False

    def _month_days(self) -> int:
        month, year = self.ram[RtcReg.MONTH], self.ram[RtcReg.YEAR]
        if month in [self._number(short) for short in (4, 6, 9, 11)]:
            return self._number(30)
        if month != 2:
            return self._number(31)
        years = year if self.reg_b & RtcB.BINARY else (year >> 4) * 10 + year
        return self._number(28 if years & 3 else 29)

    def _second(self) -> None:
        last = self._number
        if (self._count(RtcReg.SECOND, last(59), 0) and self._count(RtcReg.MINUTE, last(59), 0)
                and self._count_hour()):
            self._count(RtcReg.WEEKDAY, 7, 1)
            if self._count(RtcReg.DAY, self._month_days(), 1) and self._count(RtcReg.MONTH, last(12), 1):
                if self._count(RtcReg.YEAR, last(99), 0):
                    self._count(RtcReg.CENTURY, last(99), 0)
        self.uf = 1
        if all(self.ram[time + 1] in (self.ram[time],) or self.ram[time + 1] >= ALARM_ANY
               for time in (RtcReg.SECOND, RtcReg.MINUTE, RtcReg.HOUR)):
            self.af = 1

    # Registers.

    def read(self, offset: int) -> int:
        if offset == 0:
            return UNCLAIMED
        match self.index:
            case RtcReg.A:
                warns = self.ticks >= self._second_ticks - RTC_UIP_TICKS and not self.reg_b & RtcB.SET
                return self.reg_a | (RTC_A_UIP if warns else 0)
            case RtcReg.B:
                return self.reg_b
            case RtcReg.C:
                value = self._flags() | (RtcC.IRQF if self.irq else 0)
                self.pf = self.af = self.uf = 0
                self._signal()
                return value
            case RtcReg.D:
                return RTC_D_VALID
        return self.ram[self.index]

    def write(self, offset: int, value: int) -> None:
        if offset == 0:
            self.index, self.nmi_mask = value & 0x7F, value >> 7
        elif self.index == RtcReg.A:
            self.reg_a = value & 0x7F
        elif self.index == RtcReg.B:
            # Setting the time turns the update interrupt off.
            self.reg_b = value & ~int(RtcB.UIE) if value & RtcB.SET else value
            self._signal()
        elif self.index not in (RtcReg.C, RtcReg.D):
            self.ram[self.index] = value

    def load(self, state: dict[str, int | bytes]) -> None:
        super().load(state)
        self._irq = self.irq
