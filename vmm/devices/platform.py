"""The devices of the PC in software, on virtual time."""

from rtl.isa.devices import DeviceConfig, KbcReg, VgaReg, cmos_image
from rtl.isa.platform import PIT_HZ, PORT, RTC_HZ, Irq
from vmm.devices.bus import IoBus
from vmm.devices.cmos import CmosRtc
from vmm.devices.device import Device, Output, Value
from vmm.devices.i8042 import Kbc8042
from vmm.devices.misc import DebugConsole, ExitPort, PostCode, SystemControlA, SystemControlB, VgaRegisters
from vmm.devices.pic import PicPair
from vmm.devices.pit import Pit8254
from vmm.devices.uart import Uart16550

OFFSETS = {"I8042_COMMAND": KbcReg.COMMAND, "VGA_CRTC": VgaReg.CRTC_INDEX, "VGA_STATUS": VgaReg.STATUS}
"""First register of a range that is not the first of its device."""


class PcPlatform:
    """The twin of `rtl.dev.isa_bus.IsaBus`: the same ports, lines and dividers.

    Time moves only in `advance`, and an access takes place at the time that has come: advance to it first. Between
    accesses nothing but time can raise an interrupt, so that a processor may run for `next_event` cycles before it
    looks at `intr` again; after an access it asks anew.

    Attributes
    ----------
    io : IoBus
        Ports.
    cycles : int
        Time.
    serial_out, debug_out : bytearray
        What the guest has sent.
    exit_value : int or None
        The value with which the guest has asked to stop; the owner clears it.
    reset_requested : bool
        The guest has pulled the reset line of the processor; the owner clears it.
    """

    def __init__(self, config: DeviceConfig | None = None) -> None:
        self.config = config or DeviceConfig()
        self.cycles = 0
        self.serial_out = bytearray()
        self.debug_out = bytearray()
        self.exit_value: int | None = None
        self.reset_requested = False
        self._pit_left = self.config.pit_divider - 1
        self._uart_left = self.config.uart_divider - 1
        self._phase = 0

        self.pic = PicPair()
        self.pit = Pit8254()
        self.uart = Uart16550(self.serial_out.append, self._line(Irq.UART))
        self.rtc = CmosRtc(cmos_image(self.config), self._line(Irq.RTC))
        self.kbc = Kbc8042(self._line(Irq.KEYBOARD), self._reset)
        self.vga = VgaRegisters()
        self.control_a = SystemControlA(self._reset)
        self.control_b = SystemControlB(self.pit.set_gate2)
        self.debugcon = DebugConsole(self.debug_out.append)
        self.exit = ExitPort(self._exit)
        self.post = PostCode()
        self.pit.channels[0].on_out = self._line(Irq.PIT)
        self.pit.channels[1].on_out = self.control_b.refresh
        self.pit.channels[2].on_out = self.control_b.set_out2

        self.io = IoBus()
        for name, device in self._ports().items():
            self.io.add(PORT[name].base, PORT[name].size, device, OFFSETS.get(name, 0))

    def _ports(self) -> dict[str, Device]:
        return {
            "PIC_MASTER": self.pic.master,
            "PIT": self.pit,
            "I8042_DATA": self.kbc,
            "SYSTEM_CONTROL_B": self.control_b,
            "I8042_COMMAND": self.kbc,
            "CMOS": self.rtc,
            "POST": self.post,
            "SYSTEM_CONTROL_A": self.control_a,
            "PIC_SLAVE": self.pic.slave,
            "DEBUGCON": self.debugcon,
            "EXIT": self.exit,
            "VGA_CRTC": self.vga,
            "VGA_STATUS": self.vga,
            "UART": self.uart,
            "ELCR": self.pic.elcr,
        }

    def _line(self, irq: int) -> Output:
        return lambda level: self.pic.set_irq(irq, level)

    def _reset(self, level: int) -> None:
        self.reset_requested = True

    def _exit(self, value: int) -> None:
        self.exit_value = value

    # The processor's side.

    def read(self, port: int, size: int) -> int:
        return self.io.read(port, size)

    def write(self, port: int, size: int, value: int) -> None:
        self.io.write(port, size, value)

    @property
    def intr(self) -> bool:
        """A maskable interrupt waits."""
        return self.pic.intr

    def ack(self) -> int:
        """Take the vector."""
        return self.pic.ack()

    @property
    def a20(self) -> bool:
        """Address line 20 passes."""
        return bool(self.kbc.a20 | self.control_a.a20)

    @property
    def nmi_masked(self) -> bool:
        return bool(self.rtc.nmi_mask)

    def receive(self, byte: int) -> bool:
        """A serial byte from the host; False if the UART has no place for it yet."""
        return self.uart.receive(byte)

    # Time.

    def advance(self, cycles: int) -> None:
        """Let `cycles` of the processor's clock go by."""
        self.cycles += cycles
        divider = self.config.uart_divider
        ticks = (cycles + divider - 1 - self._uart_left) // divider
        self._uart_left = (self._uart_left - cycles) % divider
        self.uart.advance(ticks)
        divider = self.config.pit_divider
        ticks = (cycles + divider - 1 - self._pit_left) // divider
        self._pit_left = (self._pit_left - cycles) % divider
        if ticks:
            self.pit.advance(ticks)
            rtc_ticks, self._phase = divmod(self._phase + RTC_HZ * ticks, PIT_HZ)
            self.rtc.advance(rtc_ticks)

    def next_event(self) -> int | None:
        """Cycles after which a device could next raise an unmasked interrupt; None if none will by itself.

        It may be early, never late. A line that is masked does not count.
        """
        waits = []
        if self.pic.unmasked(Irq.PIT):
            waits.append(self._pit_cycles(self.pit.channels[0].ticks_to_rise()))
        if self.pic.unmasked(Irq.RTC):
            ticks = self.rtc.ticks_to_irq()
            waits.append(ticks and self._pit_cycles(-(-(ticks * PIT_HZ - self._phase) // RTC_HZ)))
        if self.pic.unmasked(Irq.UART):
            ticks = self.uart.ticks_to_irq()
            waits.append(ticks and self._uart_left + 1 + (ticks - 1) * self.config.uart_divider)
        return min((wait for wait in waits if wait is not None), default=None)

    def _pit_cycles(self, ticks: int | None) -> int | None:
        return ticks and self._pit_left + 1 + (ticks - 1) * self.config.pit_divider

    # State.

    def _stateful(self) -> dict[str, Device | PicPair]:
        return {"pic": self.pic, "pit": self.pit, "uart": self.uart, "rtc": self.rtc, "kbc": self.kbc, "vga": self.vga,
                "control_a": self.control_a, "control_b": self.control_b, "exit": self.exit, "post": self.post}

    def save(self) -> dict[str, Value]:
        """State of every device, by the names of the hardware's registers."""
        state: dict[str, Value] = {
            "cycles": self.cycles, "pit_left": self._pit_left, "uart_left": self._uart_left, "phase": self._phase,
        }
        for prefix, device in self._stateful().items():
            state |= {f"{prefix}.{name}": value for name, value in device.save().items()}
        return state

    def load(self, state: dict[str, Value]) -> None:
        """Take over what `save` gave. Raises KeyError if a part is missing."""
        def number(name: str) -> int:
            value = state[name]
            assert isinstance(value, int)
            return value

        self.cycles, self._phase = number("cycles"), number("phase")
        self._pit_left, self._uart_left = number("pit_left"), number("uart_left")
        for prefix, device in self._stateful().items():
            device.load({name.removeprefix(f"{prefix}."): value for name, value in state.items()
                         if name.startswith(f"{prefix}.")})
        self.control_b.set_out2(self.pit.channels[2].out)
