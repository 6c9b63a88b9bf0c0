"""8254 timer in software; rules in `rtl/dev/pit_channel.py`."""

import copy

from rtl.isa.devices import PIT_FIRMWARE, UNCLAIMED, PitMode
from vmm.devices.device import Device, Output, nowhere

TRIGGERED = (PitMode.ONE_SHOT, PitMode.HARDWARE_STROBE)
STROBE = (PitMode.SOFTWARE_STROBE, PitMode.HARDWARE_STROBE)
PERIODIC = (PitMode.RATE, PitMode.SQUARE)
EVENTS_TO_RISE = 6
"""More events than any mode has between two rising edges of its output."""


def _to_number(digits: int) -> int:
    return sum((digits >> 4 * place & 15) * 10**place for place in range(4))


def _to_digits(number: int) -> int:
    return sum(number // 10**place % 10 << 4 * place for place in range(4))


class PitChannel:
    """One counter. `on_out` is told each new level of its output."""

    STATE = ("control", "cr", "ce", "ol", "status", "write_low", "write_high_next", "read_high_next", "count_latched",
             "status_latched", "null_count", "armed", "running", "load", "trigger", "done", "odd", "last_gate", "out")

    def __init__(self, control: int, count: int | None, on_out: Output = nowhere) -> None:
        started = count is not None
        self.control = control
        self.cr = self.ce = count or 0
        self.ol = self.status = self.write_low = 0
        self.write_high_next = self.read_high_next = self.count_latched = self.status_latched = 0
        self.null_count = int(not started)
        self.armed = self.running = int(started)
        self.load = self.trigger = self.done = self.odd = 0
        self.last_gate = 1
        self.mode = PitMode.of(control)
        self.out = int(self.mode != PitMode.TERMINAL_COUNT)
        self.on_out = on_out
        self._rise: int | None = 0  # known ticks to the next rising edge; 0 if it has to be found

    # Pins.

    def _drive(self, level: int) -> None:
        if level != self.out:
            self.out = level
            self.on_out(level)

    def set_gate(self, level: int) -> None:
        if level and not self.last_gate and self.armed and self.mode in PERIODIC + TRIGGERED:
            self.trigger = 1
        if not level and self.last_gate and self.mode in PERIODIC:
            self._drive(1)
        self.last_gate = level
        self._rise = 0

    # Counting.

    def _less(self, ticks: int) -> int:
        amount = ticks * (2 if self.mode == PitMode.SQUARE else 1)
        if self.control & 1:
            return _to_digits((_to_number(self.ce) - amount) % 10_000)
        return self.ce - amount & 0xFFFF

    def _start(self) -> None:
        self.ce = self.cr & ~1 if self.mode == PitMode.SQUARE else self.cr
        self.odd = self.cr & 1
        self.null_count = 0

    def _expires(self) -> bool:
        if self.mode == PitMode.SQUARE:
            return self.ce == (0 if self.odd and self.out else 2)
        return self.mode == PitMode.RATE and self.ce == 1

    def tick(self) -> None:
        """One clock."""
        self.advance(1)

    def _tick(self) -> None:
        if self.load or self.trigger and self.armed:
            self._start()
            self.load = self.trigger = self.done = 0
            self.running = 1
            self._drive(int(self.mode not in (PitMode.TERMINAL_COUNT, PitMode.ONE_SHOT)))
        elif self.running:
            if self.mode in STROBE:
                self._drive(1)
            if self.last_gate or self.mode in TRIGGERED:
                self._count()

    def _count(self) -> None:
        if self._expires():
            self._start()
            self._drive(1 if self.mode == PitMode.RATE else self.out ^ 1)
            return
        self.ce = self._less(1)
        if self.mode == PitMode.RATE:
            self._drive(int(self.ce != 1))
        elif self.mode != PitMode.SQUARE and self.ce == 0 and not self.done:
            self.done = 1
            self._drive(int(self.mode not in STROBE))

    def _ticks_to_event(self) -> int | None:
        """Ticks up to and including the one that does more than count, None if it would never come."""
        if self.load or self.trigger and self.armed:
            return 1
        if not self.running:
            return None
        if self.mode in STROBE and not self.out:
            return 1
        if not self.last_gate and self.mode not in TRIGGERED:
            return None
        modulus = 10_000 if self.control & 1 else 0x10000
        left = _to_number(self.ce) if self.control & 1 else self.ce
        if self.mode == PitMode.SQUARE:
            target = 0 if self.odd and self.out else 2
            return (left - target) % modulus // 2 + 1
        if self.mode == PitMode.RATE:
            return 1 if left == 1 else (left or modulus) - 1
        return None if self.done else left or modulus

    def advance(self, ticks: int) -> None:
        """Many clocks at once, with every edge of the output in its order."""
        if self._rise is not None:
            self._rise = max(self._rise - ticks, 0)
        while ticks:
            event = self._ticks_to_event()
            if event is None or event > ticks:
                if self.running and (self.last_gate or self.mode in TRIGGERED):
                    self.ce = self._less(ticks)
                return
            if event > 1:
                self.ce = self._less(event - 1)
            self._tick()
            ticks -= event

    def ticks_to_rise(self) -> int | None:
        """Ticks to the next rising edge of the output as things stand, None if there is none."""
        if self._rise == 0:
            self._rise = self._find_rise()
        return self._rise

    def _find_rise(self) -> int | None:
        twin, total = copy.copy(self), 0
        twin.on_out = nowhere
        for _ in range(EVENTS_TO_RISE):
            event, before = twin._ticks_to_event(), twin.out
            if event is None:
                return None
            twin.advance(event)
            total += event
            if twin.out > before:
                return total
        return None

    # Registers.

    def restore_mode(self) -> None:
        """The registers have been loaded from elsewhere."""
        self.mode = PitMode.of(self.control)
        self._rise = 0

    def read(self) -> int:
        if self.status_latched:
            self.status_latched = 0
            return self.status
        both = self.control >> 4 == 3
        high = self.read_high_next if both else self.control >> 5
        value = (self.ol if self.count_latched else self.ce) >> 8 * high & 0xFF
        if both:
            self.read_high_next ^= 1
        if not both or high:
            self.count_latched = 0
        return value

    def write_control(self, value: int) -> None:
        self.control = value & 0x3F
        self.mode = PitMode.of(self.control)
        self.cr = 0
        self.null_count = 1
        self.write_high_next = self.read_high_next = self.count_latched = self.status_latched = 0
        self.armed = self.running = self.load = self.trigger = self.done = 0
        self._drive(int(self.mode != PitMode.TERMINAL_COUNT))
        self._rise = 0

    def write_count(self, value: int) -> None:
        self._rise = 0
        access = self.control >> 4
        if access == 3 and not self.write_high_next:
            self.write_low, self.write_high_next = value, 1
            if self.mode == PitMode.TERMINAL_COUNT:
                self.running = self.load = 0
                self._drive(0)
            return
        self.write_high_next = 0
        self.cr = (value, value << 8, value << 8 | self.write_low)[access - 1]
        self.null_count = self.armed = 1
        if self.mode not in TRIGGERED and not (self.mode in PERIODIC and self.running):
            self.load = 1
        if self.mode == PitMode.TERMINAL_COUNT:
            self.running = 0
            self._drive(0)

    def latch_count(self) -> None:
        if not self.count_latched:
            self.count_latched, self.ol = 1, self.ce

    def latch_status(self) -> None:
        if not self.status_latched:
            self.status_latched, self.status = 1, self.out << 7 | self.null_count << 6 | self.control


class Pit8254(Device):
    """Three counters; give their outputs somewhere to go by `channels[n].on_out`."""

    def __init__(self) -> None:
        self.channels = [PitChannel(control, count) for control, count in PIT_FIRMWARE]
        self.channels[2].last_gate = 0

    def read(self, offset: int) -> int:
        return UNCLAIMED if offset == 3 else self.channels[offset].read()

    def write(self, offset: int, value: int) -> None:
        if offset < 3:
            self.channels[offset].write_count(value)
        elif value >> 6 == 3:
            for number, channel in enumerate(self.channels):
                if value >> 1 + number & 1:
                    if not value & 0x20:
                        channel.latch_count()
                    if not value & 0x10:
                        channel.latch_status()
        elif value & 0x30:
            self.channels[value >> 6].write_control(value)
        else:
            self.channels[value >> 6].latch_count()

    def set_gate2(self, level: int) -> None:
        self.channels[2].set_gate(level)

    def advance(self, ticks: int) -> None:
        for channel in self.channels:
            channel.advance(ticks)

    def save(self) -> dict[str, int | bytes]:
        return {f"channel{number}.{name}": int(getattr(channel, name))
                for number, channel in enumerate(self.channels) for name in channel.STATE}

    def load(self, state: dict[str, int | bytes]) -> None:
        for number, channel in enumerate(self.channels):
            for name in channel.STATE:
                setattr(channel, name, state[f"channel{number}.{name}"])
            channel.restore_mode()
