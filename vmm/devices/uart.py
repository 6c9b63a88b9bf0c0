"""16550A UART in software; rules in `rtl/dev/uart.py`."""

import math

from rtl.isa.devices import (
    UART_FIFO_DEPTH,
    UART_FIRMWARE_MCR,
    UART_LINES,
    UART_TRIGGERS,
    UartIer,
    UartIir,
    UartLsr,
    UartReg,
)
from vmm.devices.device import Device, Output, nowhere

LSR_DR, LSR_OE, LSR_THRE, LSR_TEMT = map(int, (UartLsr.DR, UartLsr.OE, UartLsr.THRE, UartLsr.TEMT))
IER_RX, IER_THRE, IER_LINE, IER_MODEM = map(int, (UartIer.RX, UartIer.THRE, UartIer.LINE, UartIer.MODEM))
IIR_MODEM, IIR_NONE, IIR_THRE, IIR_RX, IIR_LINE, IIR_TIMEOUT = map(int, UartIir)
REGISTERS = tuple(UartReg)
DATA, LSR = int(UartReg.DATA), int(UartReg.LSR)


class Uart16550(Device):
    """`on_tx` takes each byte sent, `on_irq` each new level of the interrupt line.

    Members
    -------
    moved : `ticks_to_irq` may have another answer than before; the owner clears it.
    """

    STATE = ("ier", "fifo_enable", "trigger", "lcr", "mcr", "scr", "divisor", "overrun", "delta", "thre_pending",
             "tx_count", "tx_busy", "tx_timer", "rx_count", "rx_head", "rx_timing", "rx_timeout", "rx_timer",
             "prescaler", "rx_fifo")

    def __init__(self, on_tx: Output = nowhere, on_irq: Output = nowhere) -> None:
        self.ier = self.fifo_enable = self.trigger = self.lcr = self.scr = 0
        self.mcr = UART_FIRMWARE_MCR
        self.divisor = 1
        self.overrun = self.delta = self.thre_pending = 0
        self.tx_count = self.tx_busy = self.tx_timer = 0
        self.rx_count = self.rx_head = self.rx_timing = self.rx_timeout = self.rx_timer = 0
        self.prescaler = 0
        self.rx_fifo = bytearray(UART_FIFO_DEPTH)
        self.on_tx = on_tx
        self.on_irq = on_irq
        self._irq = 0
        self._age = 0  # ticks the timers have yet to live through
        self._foresee()

    # Pins.

    @property
    def irq(self) -> int:
        return int(self._identify() != IIR_NONE and bool(self.mcr & 8))

    def _update(self) -> None:
        level = self.irq if self.ier else 0
        if level != self._irq:
            self._irq = level
            self.on_irq(level)

    @property
    def rx_ready(self) -> bool:
        """`receive` takes a byte now."""
        return self.rx_count != self._depth and not self.mcr & 0x10

    def receive(self, byte: int) -> bool:
        """A byte from the host; False if there is no place for it."""
        if not self.rx_ready:
            return False
        self._settle()
        self._push(byte)
        self._foresee()
        self._update()
        return True

    # Time.

    @property
    def _depth(self) -> int:
        return UART_FIFO_DEPTH if self.fifo_enable else 1

    @property
    def _char_time(self) -> int:
        """Sixteenths of a bit in one character."""
        word, stop = self.lcr & 3, 0
        if self.lcr & 4:
            stop = 16 if word else 8
        return 16 * (7 + word + (self.lcr >> 3 & 1)) + stop

    def advance(self, ticks: int) -> None:
        """Many clocks of the baud rate generator."""
        self._age += ticks
        if self._age >= self._event:
            self._settle()
            self._foresee()

    def _settle(self) -> None:
        """Bring the timers to the present."""
        ticks, self._age = self._age, 0
        if not (self.tx_busy or self.tx_count or self.rx_timing):
            return
        divisor = self.divisor or 0x10000
        while ticks and (self.tx_busy or self.tx_count or self.rx_timing):
            if ticks <= self.prescaler:
                self.prescaler -= ticks
                break
            ticks -= self.prescaler + 1
            self.prescaler = divisor - 1
            self._sixteenth()
            skip = min(self._quiet(), ticks // divisor)
            if self.tx_busy:
                self.tx_timer -= skip
            if self.rx_timing:
                self.rx_timer -= skip
            ticks -= skip * divisor
        self._update()

    def _foresee(self) -> None:
        """Find how many ticks the timers will only count down."""
        self.moved = True
        self._event: float = math.inf
        if self.tx_busy or self.tx_count or self.rx_timing:
            self._event = self.prescaler + 1 + self._quiet() * (self.divisor or 0x10000)

    def _quiet(self) -> int:
        """Sixteenths for which timers only count down."""
        timers = [self.tx_timer] if self.tx_busy else [0] if self.tx_count else []
        if self.rx_timing:
            timers.append(self.rx_timer)
        return min(timers, default=0)

    def _sixteenth(self) -> None:
        if self.tx_count and (not self.tx_busy or not self.tx_timer):
            self.tx_count -= 1
            self.tx_busy, self.tx_timer = 1, self._char_time - 1
            if not self.tx_count:
                self.thre_pending = 1
        elif self.tx_busy and self.tx_timer:
            self.tx_timer -= 1
        else:
            self.tx_busy = 0
        if self.rx_timing:
            if self.rx_timer:
                self.rx_timer -= 1
            else:
                self.rx_timing, self.rx_timeout = 0, 1
                self.rx_timer = 0x3FF

    def ticks_to_irq(self) -> int | None:
        """Baud ticks after which the interrupt line could rise, None if only an access can raise it."""
        if self._event == math.inf or not self.ier & (IER_THRE | IER_RX):
            return None
        self._settle()
        self._foresee()
        waits = []
        if self.ier & IER_THRE and self.tx_count:
            first = self.tx_timer + 1 if self.tx_busy else 1
            waits.append(first + (self.tx_count - 1) * self._char_time)
        if self.ier & IER_RX and self.rx_timing:
            waits.append(self.rx_timer + 1)
        if not waits:
            return None
        return self.prescaler + 1 + (min(waits) - 1) * (self.divisor or 0x10000)

    # Receiver.

    def _push(self, byte: int) -> None:
        self.rx_fifo[(self.rx_head + self.rx_count) % UART_FIFO_DEPTH] = byte
        self.rx_count += 1
        self._restart_timeout()

    def _restart_timeout(self) -> None:
        self.rx_timing = int(bool(self.fifo_enable and self.rx_count))
        self.rx_timer = 4 * self._char_time - 1

    def _pop(self) -> int:
        if not self.rx_count:
            return 0 if self.fifo_enable else self.rx_fifo[self.rx_head]
        self._settle()
        byte = self.rx_fifo[self.rx_head]
        if self.fifo_enable:
            self.rx_head = (self.rx_head + 1) % UART_FIFO_DEPTH
        self.rx_count -= 1
        self.rx_timeout = 0
        self._restart_timeout()
        self._foresee()
        return byte

    # Registers.

    def _identify(self) -> int:
        enabled = self.ier
        if enabled & IER_LINE and self.overrun:
            return IIR_LINE
        if enabled & IER_RX:
            if self.rx_count >= (UART_TRIGGERS[self.trigger] if self.fifo_enable else 1):
                return IIR_RX
            if self.rx_timeout:
                return IIR_TIMEOUT
        if enabled & IER_THRE and self.thre_pending:
            return IIR_THRE
        if enabled & IER_MODEM and self.delta:
            return IIR_MODEM
        return IIR_NONE

    def _lines(self) -> int:
        """Modem inputs: CTS, DSR, RI, DCD."""
        if not self.mcr & 0x10:
            return UART_LINES
        return self.mcr >> 1 & 1 | (self.mcr & 1) << 1 | self.mcr & 0xC

    def read(self, offset: int) -> int:
        if offset == LSR and not self.overrun:  # the read that guests do most changes nothing
            return self._status()
        value = self._read(REGISTERS[offset])
        self._update()
        return value

    def _status(self) -> int:
        status = LSR_DR if self.rx_count else 0
        if self.overrun:
            status |= LSR_OE
        if not self.tx_count:
            status |= LSR_THRE if self.tx_busy else LSR_THRE | LSR_TEMT
        return status

    def _read(self, register: UartReg) -> int:
        dlab = self.lcr & 0x80
        match register:
            case UartReg.DATA:
                return self.divisor & 0xFF if dlab else self._pop()
            case UartReg.IER:
                return self.divisor >> 8 if dlab else self.ier
            case UartReg.IIR:
                cause = self._identify()
                if cause == IIR_THRE:
                    self.thre_pending = 0
                return cause | (0xC0 if self.fifo_enable else 0)
            case UartReg.LCR:
                return self.lcr
            case UartReg.MCR:
                return self.mcr
            case UartReg.LSR:
                status = self._status()
                self.overrun = 0
                return status
            case UartReg.MSR:
                value = self._lines() << 4 | self.delta
                self.delta = 0
                return value
            case UartReg.SCR:
                return self.scr

    def write(self, offset: int, value: int) -> None:
        self._settle()
        if offset == DATA and not self.lcr & 0x80:
            self._send(value)
        else:
            self._write(REGISTERS[offset], value)
        self._foresee()
        self._update()

    def _write(self, register: UartReg, value: int) -> None:
        dlab = self.lcr & 0x80
        match register:
            case UartReg.DATA:
                self.divisor, self.prescaler = self.divisor & 0xFF00 | value, 0
            case UartReg.IER if dlab:
                self.divisor, self.prescaler = self.divisor & 0xFF | value << 8, 0
            case UartReg.IER:
                if value & ~self.ier & IER_THRE and not self.tx_count:
                    self.thre_pending = 1
                self.ier = value & 0xF
            case UartReg.IIR:
                self._control_fifos(value)
            case UartReg.LCR:
                self.lcr = value
            case UartReg.MCR:
                before = self._lines()
                self.mcr = value & 0x1F
                after = self._lines()
                self.delta |= (before ^ after) & ~(after & 4)  # RI: trailing edge only
            case UartReg.SCR:
                self.scr = value

    def _send(self, value: int) -> None:
        self.tx_count = min(self.tx_count + 1, self._depth)
        self.thre_pending = 0
        if not self.mcr & 0x10:
            self.on_tx(value)
        elif self.rx_count != self._depth:
            self._push(value)
        else:
            self.overrun = 1
            if not self.fifo_enable:
                self.rx_fifo[self.rx_head] = value

    def _control_fifos(self, value: int) -> None:
        change = value & 1 != self.fifo_enable
        if change or value & 3 == 3:
            self.rx_count = self.rx_timing = self.rx_timeout = 0
        if change or value & 5 == 5:
            if self.tx_count:
                self.thre_pending = 1
            self.tx_count = 0
        self.fifo_enable = value & 1
        if value & 1:
            self.trigger = value >> 6

    def save(self) -> dict[str, int | bytes]:
        self._settle()
        self._foresee()
        return super().save()

    def load(self, state: dict[str, int | bytes]) -> None:
        super().load(state)
        self._irq = self.irq
        self._age = 0
        self._foresee()
