"""The devices of the PC in software, on virtual time."""

import math
from collections.abc import Callable
from functools import partial

from rtl.isa.apic import APIC_TIMER_DIVIDER
from rtl.isa.devices import DeviceConfig, KbcReg, VgaReg, cmos_image
from rtl.isa.platform import PORT, Irq
from vmm.devices.apics import Apics, Change
from vmm.devices.bus import IoBus, nothing
from vmm.devices.clock import Clock, RtcClock
from vmm.devices.cmos import CmosRtc
from vmm.devices.device import Device, Value
from vmm.devices.i8042 import Kbc8042
from vmm.devices.misc import DebugConsole, ExitPort, PostCode, SystemControlA, SystemControlB, VgaRegisters
from vmm.devices.pic import PicPair
from vmm.devices.pit import Pit8254
from vmm.devices.source import Source
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
    console_out : bytearray
        What the guest has written to the serial port and the debug console, in the order of writing.
    exit_value : int or None
        The value with which the guest has asked to stop; the owner clears it.
    reset_requested : bool
        The guest has pulled the reset line of the processor; the owner clears it.
    sink : tuple
        A port whose bytes only collect, so that they may come late and several at once, and who takes them.
    """

    def __init__(self, config: DeviceConfig | None = None) -> None:
        self.config = config or DeviceConfig()
        self.cycles = 0
        self.console_out = bytearray()
        self.exit_value: int | None = None
        self.reset_requested = False

        self.pic = PicPair()
        self.apics = Apics(self.pic)
        self.pit = Pit8254()
        self.uart = Uart16550(self.console_out.append, self.apics.pin(Irq.UART))
        self.rtc = CmosRtc(cmos_image(self.config), self.apics.pin(Irq.RTC))
        self.kbc = Kbc8042(self.apics.pin(Irq.KEYBOARD), self._reset)
        self.vga = VgaRegisters()
        self.control_a = SystemControlA(self._reset)
        self.control_b = SystemControlB(self.pit.set_gate2)
        self.debugcon = DebugConsole(self.console_out.append)
        self.sink = PORT["DEBUGCON"].base, self.console_out.extend
        self.exit = ExitPort(self._exit)
        self.post = PostCode()
        self.pit.channels[0].on_out = self.apics.pin(Irq.PIT)
        self.pit.channels[1].on_out = self.control_b.refresh
        self.pit.channels[2].on_out = self.control_b.set_out2

        self._rtc_clock = RtcClock(self.config.pit_divider)
        self._timer = Source(Clock(self.config.pit_divider), self.pit.advance_channel0, self.pit.ticks_to_change,
                             self.pit.ticks_to_rise)
        self._clock = Source(self._rtc_clock, self.rtc.advance, self.rtc.ticks_to_irq, self.rtc.ticks_to_irq)
        self._serial = Source(Clock(self.config.uart_divider), self.uart.advance, self.uart.ticks_to_irq,
                              self.uart.ticks_to_irq)
        local = self.apics.local
        self._local_timer = Source(Clock(APIC_TIMER_DIVIDER), self.apics.advance_timer, local.cycles_to_fire,
                                   local.cycles_to_fire)
        self._sources: tuple[tuple[Callable[[], Change | None], Source], ...] = (
            *((partial(self.apics.would_raise, irq), source) for irq, source in (
                (Irq.PIT, self._timer), (Irq.RTC, self._clock), (Irq.UART, self._serial))),
            (self.apics.timer_would_raise, self._local_timer))
        # the time of the next event, which stays while no source foresees anew and the interrupt controllers stay
        self._next: float | None = None
        self._next_of = 0
        self._foresee()

        self.io = IoBus()
        around: dict[Device, tuple[Callable[[], None], Callable[[], None]]] = {
            device: (partial(self._pass_to_present, source), partial(self._look_ahead, source))
            for device, source in ((self.pit, self._timer), (self.rtc, self._clock))}
        around[self.uart] = partial(self._pass_to_present, self._serial), self._look_at_serial
        around[self.control_b] = self._settle_timer, nothing
        around |= {device: (nothing, self.apics.look_at_pair) for device in (
            self.pic.master, self.pic.slave, self.pic.elcr)}
        for name, device in self._ports().items():
            self.io.add(PORT[name].base, PORT[name].size, device, OFFSETS.get(name, 0), *around.get(device, ()))

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

    def _reset(self, level: int) -> None:
        self.reset_requested = True

    def _exit(self, value: int) -> None:
        self.exit_value = value

    # The processor's side.

    def read(self, port: int, size: int) -> int:
        return self.io.read(port, size)

    def write(self, port: int, size: int, value: int) -> None:
        self.io.write(port, size, value)

    def steady(self, address: int, size: int) -> int | None:
        """What a read of memory gives whatever time goes by; None if that may change, or the read changes something."""
        return self.apics.steady(address, size)

    def read_memory(self, address: int, size: int) -> int:
        """Read where memory-mapped devices may be; ones where none is."""
        self._pass_to_present(self._local_timer)
        value = self.apics.read(address, size)
        self._look_ahead(self._local_timer)
        return value

    def write_memory(self, address: int, size: int, value: int) -> None:
        """Write where memory-mapped devices may be."""
        self._pass_to_present(self._local_timer)
        self.apics.write(address, size, value)
        self._look_ahead(self._local_timer)

    @property
    def intr(self) -> bool:
        """A maskable interrupt waits."""
        return self.apics.intr

    def ack(self) -> int:
        """Take the vector."""
        return self.apics.ack()

    def enable_apic(self, enabled: bool) -> None:
        """Put the local APIC on the bus and between the 8259A pair and the processor, or take it away."""
        self.apics.set_enable(enabled)

    def take_nmi(self) -> bool:
        """Whether a non-maskable interrupt has come since the last call."""
        came, self.apics.local.nmi = self.apics.local.nmi, 0
        return bool(came)

    def take_init(self) -> bool:
        """Whether an INIT has come since the last call."""
        came, self.apics.local.init = self.apics.local.init, 0
        return bool(came)

    @property
    def a20(self) -> bool:
        """Address line 20 passes."""
        return bool(self.kbc.a20 | self.control_a.a20)

    @property
    def nmi_masked(self) -> bool:
        return bool(self.rtc.nmi_mask)

    def receive(self, byte: int) -> bool:
        """A serial byte from the host; False if the UART has no place for it yet."""
        self._pass_to_present(self._serial)
        taken = self.uart.receive(byte)
        self._look_ahead(self._serial)
        return taken

    # Time.

    def advance(self, cycles: int) -> None:
        """Let `cycles` of the processor's clock go by."""
        self.cycles += cycles
        if self.cycles >= self._due:
            for _, source in self._sources:
                if self.cycles >= source.due:
                    source.pass_to(self.cycles)
                    source.foresee()
            self._foresee()

    def next_event(self) -> int | None:
        """Cycles after which INTR could rise, or an NMI or INIT come, without an access; None if none will.

        It may be early, never late. A line that is masked or waits for an end of interrupt does not count.
        """
        if self._next is None or self._next_of != self.apics.changes:
            self._next, self._next_of = self._find_next(), self.apics.changes
        return None if self._next == math.inf else int(self._next) - self.cycles

    def _find_next(self) -> float:
        first = math.inf
        for would_raise, source in self._sources:
            if source.due < first:
                counts = would_raise()
                if counts is not None:
                    first = min(first, source.rise() if counts is Change.RISE else source.due)
        return first

    def _foresee(self) -> None:
        self._next = None
        self._due = min(source.due for _, source in self._sources)

    def _pass_to_present(self, source: Source) -> None:
        source.pass_to(self.cycles)

    def _look_ahead(self, source: Source) -> None:
        source.foresee()
        self._foresee()

    def _look_at_serial(self) -> None:
        if self.uart.moved:
            self.uart.moved = False
            self._look_ahead(self._serial)

    def _settle_timer(self) -> None:
        """Bring the outputs of channels 1 and 2 to the present."""
        self._timer.pass_to(self.cycles)
        self.pit.settle()

    # State.

    def _stateful(self) -> dict[str, Device | PicPair | Apics]:
        return {"pic": self.pic, "pit": self.pit, "uart": self.uart, "rtc": self.rtc, "kbc": self.kbc, "vga": self.vga,
                "control_a": self.control_a, "control_b": self.control_b, "exit": self.exit, "post": self.post,
                "apics": self.apics}

    def save(self) -> dict[str, Value]:
        """State of every device, by the names of the hardware's registers."""
        for _, source in self._sources:
            source.pass_to(self.cycles)
        state: dict[str, Value] = {
            "cycles": self.cycles, "pit_left": self._timer.clock.left, "uart_left": self._serial.clock.left,
            "phase": self._rtc_clock.phase,
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

        self.cycles, self._rtc_clock.phase = number("cycles"), number("phase")
        self._timer.clock.set(self.cycles, number("pit_left"))
        self._clock.clock.set(self.cycles, number("pit_left"))
        self._serial.clock.set(self.cycles, number("uart_left"))
        self._local_timer.clock.set(self.cycles, 0)
        for prefix, device in self._stateful().items():
            device.load({name.removeprefix(f"{prefix}."): value for name, value in state.items()
                         if name.startswith(f"{prefix}.")})
        self.control_b.set_out2(self.pit.channels[2].out)
        for _, source in self._sources:
            source.foresee()
        self._foresee()
