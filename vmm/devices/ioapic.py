"""I/O APIC in software; rules in `rtl/irq/ioapic.py`."""

from collections.abc import Callable

from rtl.isa.apic import (
    ENTRY_FIRMWARE,
    ENTRY_WRITABLE,
    IO_APIC_ID,
    IO_APIC_INPUTS,
    IO_APIC_VERSION,
    Delivery,
    IoApicIndex,
    IoApicReg,
    IrqBits,
)
from vmm.devices.device import Value

_MASKED, _LEVEL, _ACTIVE_LOW, _REMOTE_IRR, _LOGICAL = (
    int(bit) for bit in (IrqBits.MASKED, IrqBits.LEVEL, IrqBits.ACTIVE_LOW, IrqBits.REMOTE_IRR, IrqBits.LOGICAL))
#: The registers that hold one bit of each entry, and which bit.
_BITS = {"mode0": 8, "mode1": 9, "mode2": 10, "logical": 11, "active_low": 13, "trigger": 15, "mask": 16}

Send = Callable[[int, int, bool, int, bool], None]
"""Takes a message: vector, mode, whether it is level-triggered, destination, whether that is logical."""


class IoApic:
    """The redirection table, and the inputs as they were last seen.

    Members
    -------
    entries : low halves without remote IRR; dest : high halves' bits 31-24. lines : the inputs.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.select = 0
        self.ident = IO_APIC_ID
        self.entries = [ENTRY_FIRMWARE] * IO_APIC_INPUTS
        self.dest = bytearray(IO_APIC_INPUTS)
        self.remote = self.lines = 0
        self.open = 0

    def set_pin(self, pin: int, level: int) -> None:
        """An input changes, or stays, at `level`."""
        bit = 1 << pin
        changed = bool(self.lines & bit) != bool(level)
        if changed:
            self.lines ^= bit
        if self.open & bit:
            entry = self.entries[pin]
            if _by_level(entry):
                self._look_at_level(pin)
            elif changed and bool(level) != bool(entry & _ACTIVE_LOW) and not _is_external(entry):
                self._message(pin)

    def end(self, vector: int) -> None:
        """A level-triggered interrupt of this vector has ended."""
        for pin in range(IO_APIC_INPUTS):
            if self.remote >> pin & 1 and self.entries[pin] & 0xFF == vector:
                self.remote &= ~(1 << pin)
                self._look_at_level(pin)

    def external(self, meant: Callable[[int, bool], bool]) -> bool:
        """An input whose mode is ExtINT is asserted, for somebody who is `meant`."""
        return bool(self.open) and any(
            _is_external(entry) and self._asserted(pin) and meant(self.dest[pin], bool(entry & _LOGICAL))
            for pin, entry in enumerate(self.entries) if self.open >> pin & 1)

    def would_send(self, pin: int) -> tuple[int, int, bool] | None:
        """What an input would send: mode, vector, and whether it is active low; None if nothing."""
        entry = self.entries[pin]
        if entry & _MASKED or self.remote >> pin & 1 and _by_level(entry):
            return None
        return entry >> 8 & 7, entry & 0xFF, bool(entry & _ACTIVE_LOW)

    def _asserted(self, pin: int) -> bool:
        return bool(self.lines >> pin & 1) != bool(self.entries[pin] & _ACTIVE_LOW)

    def _look_at_level(self, pin: int) -> None:
        entry, bit = self.entries[pin], 1 << pin
        if _by_level(entry) and not (entry & _MASKED or self.remote & bit) and self._asserted(pin):
            self.remote |= bit
            self._message(pin)

    def _message(self, pin: int) -> None:
        entry = self.entries[pin]
        self._send(entry & 0xFF, entry >> 8 & 7, _by_level(entry), self.dest[pin], bool(entry & _LOGICAL))

    # Registers.

    def read(self, offset: int) -> int:
        """The register at an offset, a multiple of 4."""
        if offset & 0xFF == IoApicReg.SELECT:
            return self.select
        if offset & 0xFF != IoApicReg.WINDOW:
            return 0
        index = self.select
        if index in (IoApicIndex.ID, IoApicIndex.ARBITRATION):
            return self.ident << 24
        if index == IoApicIndex.VERSION:
            return IO_APIC_VERSION
        pin = index - IoApicIndex.ENTRY >> 1
        if not 0 <= pin < IO_APIC_INPUTS:
            return 0
        if index & 1:
            return self.dest[pin] << 24
        return self.entries[pin] | (_REMOTE_IRR if self.remote >> pin & 1 else 0)

    def write(self, offset: int, value: int) -> None:
        """Write a whole register."""
        if offset & 0xFF == IoApicReg.SELECT:
            self.select = value & 0xFF
        elif offset & 0xFF == IoApicReg.WINDOW:
            pin = self.select - IoApicIndex.ENTRY >> 1
            if self.select == IoApicIndex.ID:
                self.ident = value >> 24 & 0xF
            elif 0 <= pin < IO_APIC_INPUTS:
                self._set_entry(pin, value)

    def _set_entry(self, pin: int, value: int) -> None:
        if self.select & 1:
            self.dest[pin] = value >> 24
            return
        bit = 1 << pin
        self.entries[pin] = value & ENTRY_WRITABLE
        self.open = self.open & ~bit if value & _MASKED else self.open | bit
        if not _by_level(value):
            self.remote &= ~bit
        self._look_at_level(pin)

    # State.

    def save(self) -> dict[str, Value]:
        """State by the names of the hardware's registers."""
        state: dict[str, Value] = {
            name: sum((entry >> bit & 1) << pin for pin, entry in enumerate(self.entries))
            for name, bit in _BITS.items()}
        return state | {"select": self.select, "ident": self.ident, "remote": self.remote, "lines": self.lines,
                        "vectors": bytes(entry & 0xFF for entry in self.entries),
                        "dests": bytes(self.dest)}

    def load(self, state: dict[str, Value]) -> None:
        """Take over what `save` gave. Raises KeyError if a part is missing."""
        numbers = {name: value for name, value in state.items() if isinstance(value, int)}
        self.entries = [vector | sum((numbers[name] >> pin & 1) << bit for name, bit in _BITS.items())
                        for pin, vector in enumerate(bytes(state["vectors"]))]
        self.dest[:] = bytes(state["dests"])
        self.select, self.ident, self.remote, self.lines = (
            numbers[name] for name in ("select", "ident", "remote", "lines"))
        self.open = ~numbers["mask"] & (1 << IO_APIC_INPUTS) - 1


def _by_level(entry: int) -> bool:
    return bool(entry & _LEVEL) and entry >> 8 & 7 <= Delivery.LOWEST


def _is_external(entry: int) -> bool:
    return entry >> 8 & 7 == Delivery.EXTINT
