"""The interrupt controllers of a PC in software; rules in `rtl/irq/apics.py`."""

from enum import Enum
from functools import partial

from rtl.isa.apic import EXTINT_INPUT, ApicReg, Delivery, io_apic_input
from rtl.isa.platform import REGION, Irq
from vmm.devices.device import Output, Value
from vmm.devices.ioapic import IoApic
from vmm.devices.lapic import STEADY, LocalApic
from vmm.devices.pic import PicPair

_LOCAL, _IO = REGION["LOCAL_APIC"], REGION["IO_APIC"]
_LOCAL_BASE = _LOCAL.base
_INT = 0
_SPACE = 1 << 32


class Change(Enum):
    """What of a line or a timer counts."""

    RISE = 0
    ANY = 1


class Apics:
    """The 8259A pair, the I/O APIC and the local APIC, between the devices' lines and the processor.

    Whoever changes the 8259A pair by its ports calls `look_at_pair` afterwards.

    Members
    -------
    enable : IA32_APIC_BASE bit 11, changed by `set_enable`.
    intr : what the processor sees, brought up to date by every method that may change it.
    changes : counts the times that anything may have changed.
    """

    def __init__(self, pic: PicPair) -> None:
        self.pic = pic
        self.io = IoApic(self._message)
        self.io.lines = 1 << io_apic_input(Irq.PIT)
        self.local = LocalApic(self.io.end)
        self.enable = 1
        self.intr = False
        self.changes = 0

    def _message(self, vector: int, mode: int, level: bool, dest: int, logical: bool) -> None:
        self.local.message(vector, mode, level, dest, logical)

    # The devices' side.

    def pin(self, line: int) -> Output:
        """Takes the levels of an ISA line, one of 0, 1, 3 to 15."""
        return partial(self._set_line, self.pic.pin(line), io_apic_input(line))

    def _set_line(self, pair: Output, io_pin: int, level: int) -> None:
        pair(level)
        self.io.set_pin(io_pin, level)
        self.look_at_pair()

    def look_at_pair(self) -> None:
        """The pair's INT may have changed."""
        level = int(self.pic.chip0.intr)
        if level != self.local.lint_last & 1:
            self.local.set_pin(_INT, level)
            self.io.set_pin(EXTINT_INPUT, level)
        self._look_at_parts()

    def advance_timer(self, cycles: int) -> None:
        """Cycles go by for the local timer."""
        self.local.advance(cycles)
        self._look_at_parts()

    def would_raise(self, irq: Irq) -> Change | None:
        """Which change of the line could raise INTR, or be an NMI or INIT; None if none could."""
        is_high = self.intr
        if not self.enable or self.local.is_virtual_wire and not self.io.open:
            return Change.RISE if not is_high and self.pic.would_raise(irq) else None
        direct = self.io.would_send(io_apic_input(irq))
        found = None
        if direct is not None and self._would_count(is_high, *direct[:2]):
            if direct[2]:
                return Change.ANY
            found = Change.RISE
        for path in (self.local.local_interrupt(ApicReg.LVT_LINT0), self.io.would_send(EXTINT_INPUT)):
            if path is None:
                continue
            mode, vector, inverted = path
            if mode == Delivery.EXTINT and not inverted:
                if not is_high and self.pic.would_raise(irq):
                    found = Change.RISE
            elif (mode == Delivery.EXTINT and not is_high or self._would_count(is_high, mode, vector)) and (
                    not self.pic.is_masked(irq)):
                # What counts are the edges of INT: where it is high it may fall with the line, and rise with it then.
                return Change.ANY
        return found

    def _would_count(self, is_high: bool, mode: int, vector: int) -> bool:
        """Whether the processor would hear of this interrupt, while INTR is high or not."""
        return mode in (Delivery.NMI, Delivery.INIT) if is_high else self.local.would_raise(mode, vector)

    def timer_would_raise(self) -> Change | None:
        """Whether the end of the local timer's count could raise INTR, which is low; None if not."""
        return Change.RISE if self.enable and not self.intr and self.local.timer_would_raise() else None

    # The processor's side.

    def set_enable(self, enabled: bool) -> None:
        self.enable = int(enabled)
        self._look_at_parts()

    def _look_at_parts(self) -> None:
        self.changes += 1
        self.intr = self.local.vectors.request or self._external if self.enable else self.pic.intr

    @property
    def _external(self) -> bool:
        return self.local.external or self.io.open != 0 and self.io.external(self.local.is_meant)

    def ack(self) -> int:
        """Acknowledge cycle: the vector, spurious if nothing requests any more."""
        if self.enable and (self.local.request or not self._external):
            vector = self.local.acknowledge()
            self._look_at_parts()
            return vector
        vector = self.pic.ack()
        # INT is low for a moment behind an acknowledge.
        if self.pic.intr and self.local.lint_last & 1:
            self.local.set_pin(_INT, 0)
            self.io.set_pin(EXTINT_INPUT, 0)
        self.look_at_pair()
        return vector

    # Registers.

    def steady(self, address: int, size: int) -> int | None:
        """What a read gives whatever time goes by; None if that may change, or the read changes something."""
        offset = address - _LOCAL_BASE
        return self.local.read(offset) if size == 4 and offset in STEADY and self.enable else None

    def read(self, address: int, size: int) -> int:
        """Read memory where the APICs may be."""
        value = self._read(address, size)
        self._look_at_parts()
        return value

    def _read(self, address: int, size: int) -> int:
        if size == 4 and not address & 3:
            return self._read_word(address)
        first, last = address & ~3, address + size - 1 & ~3
        value = 0
        for place, word in enumerate(range(first, last + 4, 4)):
            value |= self._read_word(word % _SPACE) << 32 * place
        return value >> 8 * (address & 3) & (1 << 8 * size) - 1

    def write(self, address: int, size: int, value: int) -> None:
        """Write memory where the APICs may be; what is not a whole register is lost."""
        if address & 3:
            return
        for word in range(size >> 2):
            place = address + 4 * word & _SPACE - 1
            if _IO.base <= place < _IO.end:
                self.io.write(place - _IO.base, value >> 32 * word & 0xFFFF_FFFF)
            elif self.enable and _LOCAL.base <= place < _LOCAL.end:
                self.local.write(place - _LOCAL.base, value >> 32 * word & 0xFFFF_FFFF)
        self._look_at_parts()

    def _read_word(self, address: int) -> int:
        if _IO.base <= address < _IO.end:
            return self.io.read(address - _IO.base)
        if self.enable and _LOCAL.base <= address < _LOCAL.end:
            return self.local.read(address - _LOCAL.base)
        return 0xFFFF_FFFF

    # State.

    def save(self) -> dict[str, Value]:
        return {f"{name}.{key}": value for name, part in (("local", self.local), ("io", self.io))
                for key, value in part.save().items()}

    def load(self, state: dict[str, Value]) -> None:
        """Take over what `save` gave. Raises KeyError if a part is missing."""
        for name, part in (("local", self.local), ("io", self.io)):
            part.load({key.removeprefix(f"{name}."): value for key, value in state.items()
                       if key.startswith(f"{name}.")})
        self._look_at_parts()
