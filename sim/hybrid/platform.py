"""The devices of the computer as simulated hardware, on the time of an emulated processor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtl.isa.apic import APIC_ID, ApicReg, IrqBits, io_apic_input
from rtl.isa.devices import DeviceConfig, RtcB, cmos_image
from rtl.isa.platform import PORT, REGION, Irq

from ..engines import Engine, build
from ..rtlstate import read_devices, write_devices
from .design import ANSWER, ANSWER_WORDS, JOB, JOB_WORDS, Do, pacer_design

#: Clocks of hardware between two looks at signals of the operating system.
_CHUNK = 1 << 20
#: Cycles of a look ahead: the first after an access in the middle of one, and the longest.
_SHORTEST, _LONGEST = 16, 1 << 18
_RTC_INTERRUPTS = int(RtcB.PIE | RtcB.AIE | RtcB.UIE)
#: A timer that has a period has a shorter one than this.
_TIMER_TICKS = 2 << 16

#: Words of the mailbox, and where the fields lie in them.
_TIME, _FLAGS, _VALUE, _COMMAND, _RESULT, _STATUS, _NOW = range(JOB_WORDS + ANSWER_WORDS)
_WATCH, _SKIP, _PORT, _SIZE, _DO = (1 << JOB[name].offset % 32 for name in ("watch", "skip", "port", "size", "do"))
_SENT, _DEBUG, _EXITED, _RESET, _INTR, _NMI, _INIT = (
    1 << ANSWER[name].offset % 32 for name in ("sent", "debug", "exited", "reset", "intr", "nmi", "init"))
_SENT_BYTE, _DEBUG_BYTE, _EXIT_VALUE = (
    ANSWER[name].offset % 32 for name in ("sent_byte", "debug_byte", "exit_value"))
_WORD = 0xFFFF_FFFF
_LOCAL, _IO = REGION["LOCAL_APIC"], REGION["IO_APIC"]
#: Of the words of the devices in memory, that of the local APIC's first register.
_OF_LOCAL = 1 << 12
_STEADY = _LOCAL.base + ApicReg.ID
#: Ports whose writes change which lines are masked.
_MASKS = frozenset(port for name in ("PIC_MASTER", "PIC_SLAVE") for port in range(PORT[name].base, PORT[name].end))


class HorizonReached(Exception):
    """The time has come that the owner of the platform waits for. The computer is intact and can go on."""


class RtlPlatform:
    """The interface of `vmm.devices.protocol.Platform` on the RTL of the devices.

    1. Accesses take no time. The hardware gets the clocks it needs to react while the clocks of the devices stand
       still, so that guests run on it as on the software devices, to the step.
    2. `next_event` lets the hardware run ahead of the processor to its next interrupt. If the processor uses a port
       before that time, the hardware goes back and comes again up to the present.
    3. If only a timer that does not count could wake the processor, `next_event` says None after two of its longest
       periods without an access: one cannot see what a circuit will do but by waiting.

    Parameters
    ----------
    config : as of the board. engine, cache_dir : see `sim.engines.build`.
    skip : pass over clocks in which no device has anything to do; the results are the same.

    Members
    -------
    engine : the simulation, whose clocks are those of the hardware; its time may be ahead of `cycles`.
    horizon : no event is later than this time; there, `next_event` raises HorizonReached. None for no such time.
    recorder : if there is one, it runs the hardware when time is not to be taken back: it is given the engine and the
        cycles to go.
    """

    def __init__(self, config: DeviceConfig | None = None, *, engine: str = "native",
                 cache_dir: Path | str | None = None, skip: bool = True) -> None:
        self.config = config or DeviceConfig()
        # The contents of the CMOS RAM are no part of the circuit.
        circuit = DeviceConfig(self.config.pit_divider, self.config.uart_divider)
        self.engine: Engine = build(pacer_design(circuit), engine, cache_dir)
        self._mail = self.engine.ram.data
        self._skip = skip * _SKIP
        for row, byte in enumerate(cmos_image(self.config)):
            self.engine.poke(f"isa.rtc.ram[{row}]", byte)
        self._power_on = self._mark = self.engine.mark()
        self.console_out = bytearray()
        self.exit_value: int | None = None
        self.reset_requested = False
        self.cycles = 0
        #: Time of the hardware, and of the mark from which it can come again; equal unless it looks ahead.
        self._ahead = self._base = 0
        #: INTR at time `_ahead`; while that is to come, INTR is low.
        self._intr = self._nmi = self._init = False
        self._apic = True
        self._window = _SHORTEST
        self.horizon: int | None = None
        self.recorder: Callable[[Engine, int], None] | None = None
        self._last_use = 0
        #: Lines the interrupt controllers mask, unless a write may have changed that.
        self._masked: int | None = None

    # The processor's side.

    def read(self, port: int, size: int) -> int:
        return self._command(Do.READ, port, size) & _WORD >> 32 - 8 * size

    def write(self, port: int, size: int, value: int) -> None:
        if port in _MASKS or size > 1:
            self._masked = None
        self._command(Do.WRITE, port, size, value)

    @property
    def intr(self) -> bool:
        """A maskable interrupt waits."""
        return self._intr and self._ahead == self.cycles

    def ack(self) -> int:
        """Take the vector."""
        return self._command(Do.ACK)

    @property
    def a20(self) -> bool:
        """Address line 20 passes."""
        return bool(self.engine.peek("isa.kbc.a20") | self.engine.peek("isa.control_a.a20"))

    @property
    def nmi_masked(self) -> bool:
        return bool(self.engine.peek("isa.rtc.nmi_mask"))

    def receive(self, byte: int) -> bool:
        """A serial byte from the host; False if the UART has no place for it yet."""
        return bool(self._command(Do.RECEIVE, value=byte))

    def steady(self, address: int, size: int) -> int | None:
        """What a read of memory gives whatever time goes by; None if that may change, or the read changes something."""
        return APIC_ID << 24 if address == _STEADY and size == 4 and self._apic else None

    def read_memory(self, address: int, size: int) -> int:
        """Read where memory-mapped devices may be; ones where none is."""
        first, value = address & ~3, 0
        for place, word in enumerate(range(first, address + size, 4)):
            device = self._device_word(word)
            read = _WORD if device is None else self._command(Do.LOAD, device, 4)
            value |= read << 32 * place
        return value >> 8 * (address & 3) & (1 << 8 * size) - 1

    def write_memory(self, address: int, size: int, value: int) -> None:
        """Write where memory-mapped devices may be; what is not a whole word is lost."""
        if address & 3:
            return
        for place in range(size >> 2):
            device = self._device_word(address + 4 * place)
            if device is not None:
                self._command(Do.STORE, device, 4, value >> 32 * place)

    def _device_word(self, address: int) -> int | None:
        for region, place in ((_IO, 0), (_LOCAL, _OF_LOCAL)):
            if region.base <= address < region.end:
                return place + address - region.base
        return None

    def enable_apic(self, enabled: bool) -> None:
        """Put the local APIC on the bus and between the 8259A pair and the processor, or take it away."""
        self._come_back()
        self._pass(self.cycles)
        self._apic = enabled
        self.engine.poke("apic_enable", int(enabled))
        self._pass(self.cycles)
        self._base = self._ahead

    def take_nmi(self) -> bool:
        """Whether a non-maskable interrupt has come since the last call."""
        came, self._nmi = self._nmi, False
        return came

    def take_init(self) -> bool:
        """Whether an INIT has come since the last call."""
        came, self._init = self._init, False
        return came

    def _command(self, do: Do, port: int = 0, size: int = 1, value: int = 0) -> int:
        """Have the hardware do it now; what came of it."""
        self._come_back()
        self._last_use = self.cycles
        mail = self._mail
        mail[_VALUE] = value & _WORD
        mail[_COMMAND] = (port & 0xFFFF) * _PORT + (size >> 1) * _SIZE + do * _DO
        self._run(self.cycles)
        self._ahead = self._base = self.cycles
        status = mail[_STATUS]
        if status & (_SENT | _DEBUG | _EXITED | _RESET):
            if status & _SENT:
                self.console_out.append(status >> _SENT_BYTE & 0xFF)
            if status & _DEBUG:
                self.console_out.append(status >> _DEBUG_BYTE & 0xFF)
            if status & _EXITED:
                self.exit_value = status >> _EXIT_VALUE & 0xFF
            if status & _RESET:
                self.reset_requested = True
        return mail[_RESULT]

    # Time.

    def advance(self, cycles: int) -> None:
        """Let `cycles` of the processor's clock go by."""
        self.cycles += cycles
        if self.cycles >= self._ahead:
            if self._base < self._ahead:
                # The look ahead was good to its end: the next one may be longer.
                self._window = min(2 * self._window, _LONGEST)
                self._base = self._ahead
            if self.cycles > self._ahead:
                self._pass(self.cycles)
                self._base = self._ahead

    def next_event(self) -> int | None:
        """Cycles after which a device could next raise an unmasked interrupt; None if none will by itself."""
        wait = self._next_interrupt()
        if self.horizon is None:
            return wait
        left = self.horizon - self.cycles
        if left <= 0:
            raise HorizonReached
        return left if wait is None else min(wait, left)

    def _next_interrupt(self) -> int | None:
        if self._asleep():
            return None
        if self._ahead > self.cycles:
            return self._ahead - self.cycles
        if self._intr:
            return self._window
        self._mark, self._base = self.engine.mark(), self.cycles
        self._pass(self.cycles + self._window, _WATCH)
        wait = self._ahead - self.cycles
        if self.recorder is not None:
            # What is looked at now is recorded when its time has come.
            self.engine.rewind(self._mark)
            self._ahead, self._intr = self.cycles, False
        return wait

    def _pass(self, until: int, flags: int = 0) -> None:
        """Let time go by for the hardware; with `_WATCH` it may stop at an interrupt."""
        mail = self._mail
        mail[_COMMAND] = Do.NOTHING
        self._run(until, flags)
        self._ahead = until - (until - mail[_NOW] & _WORD if flags else 0)

    def _come_back(self) -> None:
        """Bring the hardware to the present, or before it: the next job starts with the way to the present."""
        if self._ahead > self.cycles:
            self.engine.rewind(self._mark)
            self._window = min(max(2 * (self.cycles - self._base), _SHORTEST), _LONGEST)

    def _run(self, until: int, flags: int = 0) -> None:
        """Have the hardware do the job in the mailbox."""
        mail, burst = self._mail, self.engine.burst
        mail[_TIME] = until & _WORD
        mail[_FLAGS] = until >> 32 | flags | self._skip
        if self.recorder is not None and not flags:
            self.recorder(self.engine, until - self._base)
        else:
            while burst(_CHUNK) == _CHUNK:
                pass
        self._intr = bool(mail[_STATUS] & _INTR)
        self._nmi = self._nmi or bool(mail[_STATUS] & _NMI)
        self._init = self._init or bool(mail[_STATUS] & _INIT)

    def _asleep(self) -> bool:
        """No device will raise an unmasked interrupt by itself."""
        peek = self.engine.peek
        if not peek("apics.local.lvt_timer") & IrqBits.MASKED and peek("apics.local.timer.left"):
            return False
        if self._masked is None:
            self._masked = peek("isa.pic.chip0.imr") | peek("isa.pic.chip1.imr") << 8
            if self._masked >> Irq.CASCADE & 1:
                self._masked |= 0xFF00
        io_mask = peek("apics.io.mask")
        masked = self._masked & sum(
            (io_mask >> io_apic_input(irq) & 1) << irq for irq in (Irq.PIT, Irq.RTC, Irq.UART))
        if not masked >> Irq.PIT & 1 and self.cycles - self._last_use < _TIMER_TICKS * self.config.pit_divider:
            return False
        if not masked >> Irq.RTC & 1 and peek("isa.rtc.reg_b") & _RTC_INTERRUPTS:
            return False
        return bool(masked >> Irq.UART & 1) or not (
            peek("isa.uart.ier") and (peek("isa.uart.tx_busy") or peek("isa.uart.tx_count")
                                      or peek("isa.uart.rx_timing")))

    def stop_skipping(self) -> None:
        """From the present on, simulate every clock."""
        self._come_back()
        self._pass(self.cycles)
        self._base, self._skip = self._ahead, 0

    # State.

    def save(self) -> dict[str, Any]:
        """State of every device, by the names of the hardware's registers."""
        self._come_back()
        self._pass(self.cycles)
        self._base = self._ahead
        return read_devices(self.engine) | {"cycles": self.cycles}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `save` gave, here or on other devices. Raises KeyError if the time is missing."""
        self.engine.rewind(self._power_on)
        self.engine.poke("apic_enable", int(self._apic))
        write_devices(self.engine, state)
        self.cycles = self._base = self._last_use = int(state["cycles"])
        self.engine.poke("now", self.cycles)
        self._masked, self._window = None, _SHORTEST
        self._pass(self.cycles)
