"""8259A interrupt controllers in software; rules in `rtl/irq/pic.py`."""

from functools import partial

from rtl.isa.devices import (
    ELCR_WRITABLE,
    PIC_CASCADE_LINE,
    PIC_FIRMWARE_BASE,
    UNCLAIMED,
    PicIcw1,
    PicIcw4,
    PicOcw2,
)
from rtl.isa.platform import Irq
from vmm.devices.device import Device, Output, Value

(ROTATE_AEOI_CLEAR, EOI, NOP, SPECIFIC_EOI,
 ROTATE_AEOI_SET, ROTATE_EOI, SET_PRIORITY, ROTATE_SPECIFIC_EOI) = map(int, PicOcw2)
OCW2_LEVEL, OCW3, ICW1 = 0x07, 0x08, int(PicIcw1.INIT)
"""Bits of what is written to the command port: the level of an OCW2, and what makes it an OCW3 or an ICW1."""


def _rotated(value: int, top: int) -> int:
    return (value >> top | value << 8 - top) & 0xFF


def _lowest_bit(value: int) -> int:
    return (value & -value).bit_length() - 1


class Pic8259(Device):
    """One 8259A. Whoever changes it looks at `intr` again afterwards."""

    STATE = ("line", "latch", "isr", "imr", "icw2", "icw3", "icw_state", "single", "need_icw4", "level_mode",
             "auto_eoi", "nested", "lowest", "rotate_aeoi", "special_mask", "poll", "read_isr")

    def __init__(self, base: int, cascade: int, lines: int = 0) -> None:
        self.line = lines
        self.latch = self.isr = 0
        self.imr = 0xFF
        self.icw2 = base >> 3
        self.icw3 = cascade
        self.icw_state = self.single = self.need_icw4 = self.level_mode = self.auto_eoi = self.nested = 0
        self.lowest = 7
        self.rotate_aeoi = self.special_mask = self.poll = self.read_isr = 0
        self.elcr = 0

    def set_irq(self, line: int, level: int) -> None:
        """A request line changes, or stays, at `level`."""
        bit = 1 << line
        if level:
            self.latch |= bit & ~self.line
            self.line |= bit
        else:
            self.line &= ~bit
            self.latch &= ~bit

    @property
    def irr(self) -> int:
        level = 0xFF if self.level_mode else self.elcr
        return self.latch & ~level | self.line & level

    def request(self) -> int | None:
        """The line whose turn it is."""
        return self._first(self.irr)

    def _first(self, irr: int) -> int | None:
        requests = irr & ~self.imr
        if not requests:
            return None
        if not self.isr and self.lowest == 7:  # as most of the time
            return _lowest_bit(requests)
        top = self.lowest + 1 & 7
        service = _rotated(self.isr & ~self.imr if self.special_mask else self.isr, top)
        first = service & -service
        allowed = _rotated(requests, top) & (first - 1 | (first & _rotated(self.icw3, top) if self.nested else 0))
        return _lowest_bit(allowed) + top & 7 if allowed else None

    @property
    def intr(self) -> bool:
        level = 0xFF if self.level_mode else self.elcr
        if not (self.latch & ~level | self.line & level) & ~self.imr:
            return False
        return self.request() is not None

    def would_raise(self, line: int) -> bool:
        """`intr` is low, and would be high if `line` rose."""
        bit = 1 << line
        if self.imr & bit or self.intr:
            return False
        return self._first(self.irr | bit) is not None

    def cascades(self, level: int | None) -> bool:
        """A slave gives the vector of `level`."""
        return level is not None and not self.single and bool(self.icw3 >> level & 1)

    def vector(self, level: int | None) -> int:
        return self.icw2 << 3 | (7 if level is None else level)

    def acknowledge(self, level: int | None) -> None:
        """Take `level` in service; None is a spurious interrupt."""
        if level is None:
            return
        self.latch &= ~(1 << level)
        if not self.auto_eoi:
            self.isr |= 1 << level
        elif self.rotate_aeoi:
            self.lowest = level

    def read(self, offset: int) -> int:
        if self.poll:
            self.poll = 0
            level = self.request()
            self.acknowledge(level)
            return 0 if level is None else 0x80 | level
        if offset:
            return self.imr
        return self.isr if self.read_isr else self.irr

    def write(self, offset: int, value: int) -> None:
        if offset:
            self._write_data(value)
        elif not value & (ICW1 | OCW3):
            self._operate(value >> 5, value & OCW2_LEVEL)
        elif value & ICW1:
            self.icw_state = 2
            self.single = int(bool(value & PicIcw1.SNGL))
            self.need_icw4 = int(bool(value & PicIcw1.IC4))
            self.level_mode = int(bool(value & PicIcw1.LTIM))
            self.latch = self.isr = self.imr = self.icw3 = 0
            self.lowest = 7
            self.auto_eoi = self.nested = self.rotate_aeoi = self.special_mask = self.poll = self.read_isr = 0
        else:
            if value & 0x40:
                self.special_mask = value >> 5 & 1
            self.poll = value >> 2 & 1
            if value & 0x06 == 0x02:
                self.read_isr = value & 1

    def _write_data(self, value: int) -> None:
        if self.icw_state == 0:
            self.imr = value
        elif self.icw_state == 2:
            self.icw2 = value >> 3
            self.icw_state = self.need_icw4 if self.single else 3
        elif self.icw_state == 3:
            self.icw3 = value
            self.icw_state = self.need_icw4
        else:
            self.auto_eoi = int(bool(value & PicIcw4.AEOI))
            self.nested = int(bool(value & PicIcw4.SFNM))
            self.icw_state = 0

    def _operate(self, operation: int, level: int) -> None:
        if operation == EOI and self.lowest == 7 and not self.special_mask:
            self.isr &= self.isr - 1
        elif operation in (EOI, ROTATE_EOI):
            top = self.lowest + 1 & 7
            service = _rotated(self.isr & ~self.imr if self.special_mask else self.isr, top)
            if service:
                self._end(_lowest_bit(service) + top & 7, operation == ROTATE_EOI)
        elif operation in (SPECIFIC_EOI, ROTATE_SPECIFIC_EOI):
            self._end(level, operation == ROTATE_SPECIFIC_EOI)
        elif operation in (ROTATE_AEOI_CLEAR, ROTATE_AEOI_SET):
            self.rotate_aeoi = int(operation == ROTATE_AEOI_SET)
        elif operation == SET_PRIORITY:
            self.lowest = level

    def _end(self, level: int, rotate: bool) -> None:
        self.isr &= ~(1 << level)
        if rotate:
            self.lowest = level


class _SlavePort(Device):
    """Registers of the slave: an access may change what the master sees."""

    def __init__(self, pair: "PicPair") -> None:
        self._pair = pair

    def read(self, offset: int) -> int:
        polled = self._pair.chip1.poll
        value = self._pair.chip1.read(offset)
        self._pair.cascade(after_acknowledge=bool(polled))
        return value

    def write(self, offset: int, value: int) -> None:
        self._pair.chip1.write(offset, value)
        self._pair.cascade()


class _Elcr(Device):
    def __init__(self, pair: "PicPair") -> None:
        self._pair = pair
        self._chips = (pair.chip0, pair.chip1)

    def read(self, offset: int) -> int:
        return self._chips[offset].elcr

    def write(self, offset: int, value: int) -> None:
        self._chips[offset].elcr = value & ELCR_WRITABLE[offset]
        self._pair.cascade()


class PicPair:
    """The two 8259As of a PC.

    `master`, `slave` and `elcr` are the devices for the bus.
    """

    def __init__(self) -> None:
        self.chip0 = Pic8259(PIC_FIRMWARE_BASE[0], 1 << PIC_CASCADE_LINE, 1 << Irq.PIT)
        self.chip1 = Pic8259(PIC_FIRMWARE_BASE[1], PIC_CASCADE_LINE)
        self.master = self.chip0
        self.slave = _SlavePort(self)
        self.elcr = _Elcr(self)

    def cascade(self, after_acknowledge: bool = False) -> None:
        """Bring the slave's output to the master. It falls between two acknowledges, so that the next request is an
        edge to the master even with automatic EOI."""
        if after_acknowledge:
            self.chip0.set_irq(PIC_CASCADE_LINE, 0)
        self.chip0.set_irq(PIC_CASCADE_LINE, self.chip1.intr)

    def set_irq(self, line: int, level: int) -> None:
        """Line 0 to 15 is now at `level`. Line 2 is the cascade and has no pin."""
        if line >= 8:
            self.chip1.set_irq(line - 8, level)
            self.cascade()
        elif line != PIC_CASCADE_LINE:
            self.chip0.set_irq(line, level)

    def would_raise(self, line: int) -> bool:
        """`intr` is low, and would be high if `line` rose."""
        if line >= 8:
            if not self.chip1.would_raise(line - 8):
                return False
            line = PIC_CASCADE_LINE
        return self.chip0.would_raise(line)

    def is_masked(self, line: int) -> bool:
        """Nothing comes of `line`."""
        if line >= 8:
            return bool(self.chip1.imr >> line - 8 & 1 or self.chip0.imr >> PIC_CASCADE_LINE & 1)
        return bool(self.chip0.imr >> line & 1)

    def pin(self, line: int) -> Output:
        """Takes the levels of `line`, one of 0, 1, 3 to 15."""
        return partial(self.set_irq if line >= 8 else self.chip0.set_irq, line)

    @property
    def intr(self) -> bool:
        return self.chip0.intr

    def ack(self) -> int:
        """Acknowledge cycle: the vector, spurious if nothing requests any more."""
        master, slave = self.chip0, self.chip1
        level = master.request()
        master.acknowledge(level)
        vector = master.vector(level)
        if master.cascades(level):
            vector = UNCLAIMED
            if slave.icw3 & 7 == level:
                slave_level = slave.request()
                vector = slave.vector(slave_level)
                slave.acknowledge(slave_level)
                self.cascade(after_acknowledge=True)
        return vector

    def save(self) -> dict[str, Value]:
        state: dict[str, Value] = {}
        for name, chip in (("chip0", self.chip0), ("chip1", self.chip1)):
            state |= {f"{name}.{key}": value for key, value in chip.save().items()}
            state[f"elcr{name[-1]}"] = chip.elcr
        return state

    def load(self, state: dict[str, Value]) -> None:
        for name, chip in (("chip0", self.chip0), ("chip1", self.chip1)):
            chip.load({key: state[f"{name}.{key}"] for key in chip.STATE})
            elcr = state[f"elcr{name[-1]}"]
            assert isinstance(elcr, int)
            chip.elcr = elcr
