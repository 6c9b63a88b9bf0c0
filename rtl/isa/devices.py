"""Registers of the PC's devices as data, read by the hardware (`rtl/irq`, `rtl/dev`) and by its software twins.

Only facts of an interface: offsets, bits, command codes and the state in which PC firmware leaves a device. Ports and
interrupt lines are in `platform.py`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, IntFlag

from rtl.isa.platform import CPU_CLOCKS_PER_PIT_TICK

DEBUGCON_ID = 0xE9
"""What the debug console reads as; a guest tells by it that the console is there."""

UNCLAIMED = 0xFF
"""What a port reads as when no device answers."""


@dataclass(frozen=True)
class DeviceConfig:
    """What the designer of the board chooses about its ISA devices.

    Attributes
    ----------
    pit_divider : int
        CPU cycles in one clock of the 8254. The 32.768 kHz clock of the RTC is derived from the clock of the 8254.
    uart_divider : int
        CPU cycles in one clock of the UART's baud rate generator: a character takes divisor x 16 x its bits of them.
    start : datetime
        Date and time of the RTC at cycle 0.
    ram_bytes : int
        Size of memory announced in CMOS RAM.
    """

    pit_divider: int = CPU_CLOCKS_PER_PIT_TICK
    uart_divider: int = 1
    start: datetime = datetime(2026, 1, 1, 0, 0, 0)
    ram_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        for name in ("pit_divider", "uart_divider"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 cycle, not {getattr(self, name)}")


# --- 8259A interrupt controllers ---------------------------------------------------------------------------------

PIC_FIRMWARE_BASE = (0x08, 0x70)
PIC_CASCADE_LINE = 2
ELCR_WRITABLE = (0xF8, 0xDE)
"""Lines that the edge/level registers may make level-triggered: not 0, 1, 2 (timer, keyboard, cascade), 8, 13."""


class PicIcw1(IntFlag):
    IC4 = 0x01
    SNGL = 0x02
    LTIM = 0x08
    INIT = 0x10


class PicIcw4(IntFlag):
    AEOI = 0x02
    SFNM = 0x10


class PicOcw2(IntEnum):
    """Bits 7-5 of OCW2: R, SL, EOI."""

    ROTATE_AEOI_CLEAR = 0
    EOI = 1
    NOP = 2
    SPECIFIC_EOI = 3
    ROTATE_AEOI_SET = 4
    ROTATE_EOI = 5
    SET_PRIORITY = 6
    ROTATE_SPECIFIC_EOI = 7


# --- 8254 timer --------------------------------------------------------------------------------------------------

PIT_FIRMWARE = ((0x34, 0), (0x14, 18), (0x36, None))
"""Control word (bits 5-0) and count of each channel at power-on: 18.2 Hz tick, memory refresh, speaker not started."""


class PitMode(IntEnum):
    TERMINAL_COUNT = 0
    ONE_SHOT = 1
    RATE = 2
    SQUARE = 3
    SOFTWARE_STROBE = 4
    HARDWARE_STROBE = 5

    @classmethod
    def of(cls, control: int) -> "PitMode":
        """The mode of control word bits 5-0; bit 3 does not count in modes 2 and 3."""
        bits = control >> 1 & 7
        return cls(bits & 3 if bits & 2 else bits)


# --- 16550A UART -------------------------------------------------------------------------------------------------

UART_FIFO_DEPTH = 16
UART_TRIGGERS = (1, 4, 8, 14)
UART_FIRMWARE_MCR = 0x08
"""OUT2 on: the interrupt line passes for a guest that forgets it, as under QEMU."""
UART_LINES = 0xB
"""Modem inputs of the host's side, which is always there: CTS, DSR and DCD on, RI off (as MSR bits 7-4)."""


class UartReg(IntEnum):
    DATA = 0
    IER = 1
    IIR = 2
    LCR = 3
    MCR = 4
    LSR = 5
    MSR = 6
    SCR = 7


class UartIer(IntFlag):
    RX = 1
    THRE = 2
    LINE = 4
    MODEM = 8


class UartIir(IntEnum):
    MODEM = 0x0
    NONE = 0x1
    THRE = 0x2
    RX = 0x4
    LINE = 0x6
    TIMEOUT = 0xC


class UartLsr(IntFlag):
    DR = 0x01
    OE = 0x02
    THRE = 0x20
    TEMT = 0x40


# --- 8042 keyboard controller ------------------------------------------------------------------------------------


class KbcReg(IntEnum):
    """Offsets from 60h."""

    DATA = 0
    COMMAND = 4


class KbcStatus(IntFlag):
    OBF = 0x01
    SYS = 0x04
    COMMAND = 0x08
    UNLOCKED = 0x10


class KbcMode(IntFlag):
    """Bits of the controller's command byte."""

    IRQ1 = 0x01
    IRQ12 = 0x02
    SYS = 0x04
    KBD_OFF = 0x10
    AUX_OFF = 0x20
    TRANSLATE = 0x40


KBC_FIRMWARE_MODE = KbcMode.TRANSLATE | KbcMode.AUX_OFF | KbcMode.SYS | KbcMode.IRQ1
KBC_INPUT_PORT = 0x80
KBC_OUTPUT_PORT = 0xCD
"""Constant bits of the output port: bit 0 is the processor's reset line, not asserted; bit 1 is A20, bit 4 is OBF."""


class KbcCommand(IntEnum):
    READ_MODE = 0x20
    WRITE_MODE = 0x60
    AUX_OFF = 0xA7
    AUX_ON = 0xA8
    TEST_AUX = 0xA9
    SELF_TEST = 0xAA
    TEST_KBD = 0xAB
    KBD_OFF = 0xAD
    KBD_ON = 0xAE
    READ_INPUT = 0xC0
    READ_OUTPUT = 0xD0
    WRITE_OUTPUT = 0xD1
    LOOP_KBD = 0xD2
    LOOP_AUX = 0xD3
    WRITE_AUX = 0xD4
    A20_OFF = 0xDD
    A20_ON = 0xDF
    PULSE = 0xF0
    """F0h-FFh: pulse the output lines whose bit is 0; bit 0 resets the processor."""


KBC_SELF_TEST_OK = 0x55
KBC_AUX_STUCK = 0x01
"""Interface test: clock line stuck low, which says that there is no auxiliary port."""


class KbdCommand(IntEnum):
    LEDS = 0xED
    ECHO = 0xEE
    SCANCODE_SET = 0xF0
    IDENTIFY = 0xF2
    RATE = 0xF3
    RESET = 0xFF


KBD_ACK = 0xFA
KBD_RESEND = 0xFE
KBD_TEST_OK = 0xAA
KBD_ID = (0xAB, 0x83)
KBD_ID_TRANSLATED = (0xAB, 0x41)


# --- MC146818 real-time clock and CMOS RAM -----------------------------------------------------------------------


class RtcReg(IntEnum):
    SECOND = 0x0
    SECOND_ALARM = 0x1
    MINUTE = 0x2
    MINUTE_ALARM = 0x3
    HOUR = 0x4
    HOUR_ALARM = 0x5
    WEEKDAY = 0x6
    DAY = 0x7
    MONTH = 0x8
    YEAR = 0x9
    A = 0xA
    B = 0xB
    C = 0xC
    D = 0xD
    CENTURY = 0x32


RTC_A_UIP = 0x80
RTC_A_FIRMWARE = 0x26
"""Oscillator on, 1024 Hz periodic rate."""
RTC_B_FIRMWARE = 0x02
"""BCD, 24 hours, no interrupts."""
RTC_D_VALID = 0x80
RTC_UIP_TICKS = 8
"""Ticks of 32.768 kHz for which update-in-progress warns of an update: 244 us."""


class RtcB(IntFlag):
    HOURS24 = 0x02
    BINARY = 0x04
    UIE = 0x10
    AIE = 0x20
    PIE = 0x40
    SET = 0x80


class RtcC(IntFlag):
    UF = 0x10
    AF = 0x20
    PF = 0x40
    IRQF = 0x80


def rtc_period(rate: int) -> int:
    """Ticks of 32.768 kHz in one period of the periodic interrupt of rate select `rate`, 0 for none."""
    if rate == 0:
        return 0
    return 1 << (rate + 6 if rate < 3 else rate - 1)


def cmos_image(config: DeviceConfig) -> bytes:
    """The 128 bytes of the clock and of CMOS RAM as firmware leaves them at cycle 0."""

    def bcd(value: int) -> int:
        return value // 10 << 4 | value % 10

    start, image = config.start, bytearray(128)
    image[RtcReg.SECOND] = bcd(start.second)
    image[RtcReg.MINUTE] = bcd(start.minute)
    image[RtcReg.HOUR] = bcd(start.hour)
    image[RtcReg.WEEKDAY] = start.isoweekday() % 7 + 1
    image[RtcReg.DAY] = bcd(start.day)
    image[RtcReg.MONTH] = bcd(start.month)
    image[RtcReg.YEAR] = bcd(start.year % 100)
    image[RtcReg.CENTURY] = bcd(start.year // 100)
    extended = min(max(config.ram_bytes - (1 << 20), 0) >> 10, 0xFFFF)
    above_16m = min(max(config.ram_bytes - (16 << 20), 0) >> 16, 0xFFFF)
    for offset, word in ((0x15, 640), (0x17, extended), (0x30, extended), (0x34, above_16m)):
        image[offset:offset + 2] = word.to_bytes(2, "little")
    image[0x14] = 0x04  # equipment: VGA, no floppy, no coprocessor, keyboard
    checksum = sum(image[0x10:0x2E])
    image[0x2E:0x30] = checksum.to_bytes(2, "big")
    return bytes(image)


# --- VGA and system control --------------------------------------------------------------------------------------

CRTC_FIRMWARE = bytes.fromhex("5f4f50825581bf1f004f0d0e00000000 9c8e8f281f96b9a3ff")
"""CRT controller registers in the text mode of 80 by 25 characters."""
VGA_RETRACE = 0x09
"""Input status bits which a probe waits for: display disabled and vertical retrace."""


class VgaReg(IntEnum):
    """Offsets from 3D0h."""

    CRTC_INDEX = 0x4
    CRTC_DATA = 0x5
    STATUS = 0xA


class PortA(IntFlag):
    """System control port A (92h)."""

    RESET = 0x01
    A20 = 0x02


class PortB(IntFlag):
    """System control port B (61h)."""

    GATE2 = 0x01
    SPEAKER = 0x02
    REFRESH = 0x10
    OUT2 = 0x20
