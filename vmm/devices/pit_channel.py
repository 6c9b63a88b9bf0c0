"""One counter of the 8254 in software; rules in `rtl/dev/pit_channel.py`."""

import copy

from rtl.isa.devices import PitMode
from vmm.devices.device import Output, nowhere

TERMINAL_COUNT, ONE_SHOT, RATE, SQUARE, SOFTWARE_STROBE, HARDWARE_STROBE = PitMode
TRIGGERED = (ONE_SHOT, HARDWARE_STROBE)
STROBE = (SOFTWARE_STROBE, HARDWARE_STROBE)
PERIODIC = (RATE, SQUARE)
NEVER = 1 << 100
"""More ticks than ever pass."""
EVENTS_TO_RISE = 6
"""More events than any mode has between two rising edges of its output."""


def _to_number(digits: int) -> int:
    return sum((digits >> 4 * place & 15) * 10**place for place in range(4))


def _to_digits(number: int) -> int:
    return sum(number // 10**place % 10 << 4 * place for place in range(4))


class PitChannel:
    """One counter. `on_out` is told each new level of its output, in their order.

    1. Between two events, clocks that do more than count, only the age of `ce` changes.
    2. Of many periods in one `advance`, an even number may be left out, but not all: `on_out` is not told of their
       edges. Neither a detector of edges nor a toggle can tell. So `advance` takes the same time for any number of
       ticks.
    """

    STATE = ("control", "cr", "ce", "ol", "status", "write_low", "write_high_next", "read_high_next", "count_latched",
             "status_latched", "null_count", "armed", "running", "load", "trigger", "done", "odd", "last_gate", "out")

    def __init__(self, control: int, count: int | None, on_out: Output = nowhere) -> None:
        started = count is not None
        self.control = control
        self.cr = self._ce = count or 0
        self.ol = self.status = self.write_low = 0
        self.write_high_next = self.read_high_next = self.count_latched = self.status_latched = 0
        self.null_count = int(not started)
        self.armed = self.running = int(started)
        self.load = self.trigger = self.done = self.odd = 0
        self.last_gate = 1
        self.out = int(PitMode.of(control) != TERMINAL_COUNT)
        self.on_out = on_out
        self._age = 0
        self.restore_mode()

    # Pins.

    def _drive(self, level: int) -> None:
        if level != self.out:
            self.out = level
            self.on_out(level)

    def set_gate(self, level: int) -> None:
        if level == self.last_gate:
            return
        self._stop_clock()
        if level and self.armed and self.mode in PERIODIC + TRIGGERED:
            self.trigger = 1
        if not level and self.mode in PERIODIC:
            self._drive(1)
        self.last_gate = level
        self._start_clock()

    # Counting.

    @property
    def ce(self) -> int:
        """The counting element."""
        return self._less(self._age) if self._age and self._counts else self._ce

    @ce.setter
    def ce(self, value: int) -> None:
        self._ce, self._age = value, 0

    def _less(self, ticks: int) -> int:
        amount = 2 * ticks if self.mode == SQUARE else ticks
        if self.control & 1:
            return _to_digits((_to_number(self._ce) - amount) % 10_000)
        return self._ce - amount & 0xFFFF

    def _distance(self, value: int, target: int) -> int:
        """By how much a counter falls from `value` until it is `target`; 0 if it is."""
        if value == target:
            return 0
        if self.control & 1:
            return (_to_number(value) - target) % 10_000 or 10_000
        return value - target & 0xFFFF

    def _half(self, value: int, target: int) -> int:
        """Mode 3: ticks to the one that ends a half of the period."""
        return self._distance(value, target) // 2 + 1

    def _stop_clock(self) -> None:
        """Before a change from outside: bring the counter to the present."""
        self.ce = self.ce

    def _start_clock(self) -> None:
        """After a change: find what comes next."""
        self._counts = bool(self.running and (self.last_gate or self.mode in TRIGGERED))
        self._event = self._find_event()
        self._rise: int | None = None

    def _find_event(self) -> int:
        """Ticks up to and including the one that does more than count."""
        if self.load or self.trigger and self.armed:
            return 1
        if not self.running:
            return NEVER
        if not self.out and self.mode in STROBE:
            return 1
        if not self._counts:
            return NEVER
        if self.mode == RATE:
            return self._distance(self._ce, 1) or 1
        if self.mode == SQUARE:
            # The high half of an odd count is one tick longer: it ends at 0 and not on the way to it.
            return self._half(self._ce, 0 if self.odd and self.out else 2)
        return NEVER if self.done else self._to_zero(self._ce)

    def _to_zero(self, value: int) -> int:
        """Ticks from `value` to the next 0."""
        return self._distance(value, 0) or (10_000 if self.control & 1 else 0x10000)

    def _do_event(self) -> None:
        """The tick that does more than count."""
        if self.load or self.trigger and self.armed:
            self._start()
            self.load = self.trigger = self.done = 0
            self.running = 1
            self._drive(int(self.mode not in (TERMINAL_COUNT, ONE_SHOT)))
        elif self.mode == RATE:
            if self._ce != 1:
                self._ce = 1
                self._drive(0)
            else:
                self._start()
                self._drive(1)
        elif self.mode == SQUARE:
            self._start()
            self._drive(self.out ^ 1)
        else:
            if self.mode in STROBE:
                self._drive(1)
            if self._counts:
                self._ce = self._less(self._event)
                if self._ce == 0 and not self.done:
                    self.done = 1
                    self._drive(int(self.mode not in STROBE))

    def _start(self) -> None:
        self._ce = self._start_value()
        self.odd = self.cr & 1
        self.null_count = 0

    def _start_value(self) -> int:
        return self.cr & ~1 if self.mode == SQUARE else self.cr

    def tick(self) -> None:
        """One clock."""
        self.advance(1)

    def advance(self, ticks: int) -> None:
        """Many clocks at once."""
        self._age += ticks
        while self._age >= self._event:
            left = self._age - self._event
            self._do_event()
            self._start_clock()
            if left and self.out and self.mode in PERIODIC and self._counts:
                # Here a period begins. One at least is gone through, for the detectors of edges.
                period = self._event + self._low_time()
                if left >= 3 * period:
                    left = (left - period) % (2 * period) + period
            self._age = left

    def _low_time(self) -> int:
        """Modes 2 and 3: ticks for which the next period's output will be low."""
        if self.mode == SQUARE:
            return self._half(self._start_value(), 2)
        return int(self._ce != 1)

    def ticks_to_event(self) -> int | None:
        """Ticks for which the output stays as it is, and one more; None if it does for ever."""
        return None if self._event == NEVER else self._event - self._age

    def ticks_to_rise(self) -> int | None:
        """Ticks to the next rising edge of the output as things stand, None if there is none."""
        if self._rise is None:
            self._rise = self._find_rise()
        return None if self._rise == NEVER else self._rise - self._age

    def _find_rise(self) -> int:
        """Ticks from where the age is 0."""
        if self.mode in PERIODIC and self._counts and not self.load and not self.trigger:
            if not self.out:
                return self._event
            if self.mode == SQUARE or self._ce != 1:
                return self._event + self._low_time()
        strobes = int(self.mode == SOFTWARE_STROBE)
        if self.mode in (TERMINAL_COUNT, SOFTWARE_STROBE) and self.last_gate and self.out == strobes:
            if self.load:
                return 1 + self._to_zero(self.cr) + strobes
            if self.running and not self.done:
                return self._event + strobes
        twin, total = copy.copy(self), 0
        twin.on_out, twin._age = nowhere, 0
        for _ in range(EVENTS_TO_RISE):
            event, before = twin._event, twin.out
            if event == NEVER:
                break
            twin.advance(event)
            total += event
            if twin.out > before:
                return total
        return NEVER

    # Registers.

    def restore_mode(self) -> None:
        """The registers have been loaded from elsewhere."""
        self.mode = PitMode.of(self.control)
        self._start_clock()

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
        self._stop_clock()
        self.control = value & 0x3F
        self.mode = PitMode.of(self.control)
        self.cr = 0
        self.null_count = 1
        self.write_high_next = self.read_high_next = self.count_latched = self.status_latched = 0
        self.armed = self.running = self.load = self.trigger = self.done = 0
        self._drive(int(self.mode != TERMINAL_COUNT))
        self._start_clock()

    def write_count(self, value: int) -> None:
        self._stop_clock()
        self._take(value)
        self._start_clock()

    def _take(self, value: int) -> None:
        access = self.control >> 4
        if access == 3 and not self.write_high_next:
            self.write_low, self.write_high_next = value, 1
            if self.mode == TERMINAL_COUNT:
                self.running = self.load = 0
                self._drive(0)
            return
        self.write_high_next = 0
        self.cr = (value, value << 8, value << 8 | self.write_low)[access - 1]
        self.null_count = self.armed = 1
        if self.mode not in TRIGGERED and not (self.mode in PERIODIC and self.running):
            self.load = 1
        if self.mode == TERMINAL_COUNT:
            self.running = 0
            self._drive(0)

    def latch_count(self) -> None:
        if not self.count_latched:
            self.count_latched, self.ol = 1, self.ce

    def latch_status(self) -> None:
        if not self.status_latched:
            self.status_latched, self.status = 1, self.out << 7 | self.null_count << 6 | self.control
