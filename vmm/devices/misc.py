"""The small devices in software: debug console, exit port, POST code, VGA registers, system control ports.

Rules in `rtl/dev/debugcon.py`, `exit.py`, `postcode.py`, `vga.py` and `sysctl.py`.
"""

from rtl.isa.devices import CRTC_FIRMWARE, DEBUGCON_ID, UNCLAIMED, VGA_RETRACE, PortA, PortB, VgaReg
from vmm.devices.device import Device, Output, nowhere


class DebugConsole(Device):
    """`on_byte` takes what is written."""

    def __init__(self, on_byte: Output = nowhere) -> None:
        self.on_byte = on_byte

    def read(self, offset: int) -> int:
        return DEBUGCON_ID

    def write(self, offset: int, value: int) -> None:
        self.on_byte(value)


class ExitPort(Device):
    """`on_exit` takes the value with which the guest asks to stop."""

    STATE = ("value",)

    def __init__(self, on_exit: Output = nowhere) -> None:
        self.on_exit = on_exit
        self.value = 0

    def read(self, offset: int) -> int:
        return UNCLAIMED

    def write(self, offset: int, value: int) -> None:
        if offset == 0:
            self.value = value
            self.on_exit(value)


class PostCode(Device):
    """Reads back the last code."""

    STATE = ("code",)

    def __init__(self) -> None:
        self.code = 0

    def read(self, offset: int) -> int:
        return self.code

    def write(self, offset: int, value: int) -> None:
        self.code = value


class VgaRegisters(Device):
    """CRT controller index and data, input status."""

    STATE = ("index", "retrace", "crtc")

    def __init__(self) -> None:
        self.index = self.retrace = 0
        self.crtc = bytearray(CRTC_FIRMWARE.ljust(32, b"\0"))

    def read(self, offset: int) -> int:
        match offset:
            case VgaReg.CRTC_INDEX:
                return self.index
            case VgaReg.CRTC_DATA:
                return self.crtc[self.index]
            case VgaReg.STATUS:
                value = VGA_RETRACE if self.retrace else 0
                self.retrace ^= 1
                return value
        return UNCLAIMED

    def write(self, offset: int, value: int) -> None:
        if offset == VgaReg.CRTC_INDEX:
            self.index = value & 0x1F
        elif offset == VgaReg.CRTC_DATA:
            self.crtc[self.index] = value


class SystemControlA(Device):
    """Port 92h. `on_reset` is called with 1 when the processor is to be reset."""

    STATE = ("a20",)

    def __init__(self, on_reset: Output = nowhere) -> None:
        self.on_reset = on_reset
        self.a20 = 0

    def read(self, offset: int) -> int:
        return PortA.A20 if self.a20 else 0

    def write(self, offset: int, value: int) -> None:
        self.a20 = int(bool(value & PortA.A20))
        if value & PortA.RESET:
            self.on_reset(1)


class SystemControlB(Device):
    """Port 61h. `on_gate2` is told the gate of timer channel 2; tell `refresh` and `set_out2` the timer's outputs."""

    STATE = ("control", "last_refresh", "refresh_toggle")

    def __init__(self, on_gate2: Output = nowhere) -> None:
        self.on_gate2 = on_gate2
        self.control = self.refresh_toggle = 0
        self.last_refresh = self.out2 = 1

    def refresh(self, level: int) -> None:
        if level and not self.last_refresh:
            self.refresh_toggle ^= 1
        self.last_refresh = level

    def set_out2(self, level: int) -> None:
        self.out2 = level

    def read(self, offset: int) -> int:
        return self.control | self.refresh_toggle * PortB.REFRESH | self.out2 * PortB.OUT2

    def write(self, offset: int, value: int) -> None:
        self.control = value & 0xF
        self.on_gate2(value & PortB.GATE2)
