"""Clocks of the devices, made from the clock of the processor."""

from rtl.isa.platform import PIT_HZ, RTC_HZ


class Clock:
    """One tick every `divider` cycles.

    Members
    -------
    left : whole cycles before the one that ends with a tick, as of the last `pass_to`.
    """

    def __init__(self, divider: int) -> None:
        self.divider = divider
        self._next = divider  # the time of the next tick
        self._now = 0

    @property
    def left(self) -> int:
        return self._next - self._now - 1

    def set(self, now: int, left: int) -> None:
        """Go on from another clock's time."""
        self._now, self._next = now, now + left + 1

    def pass_to(self, now: int) -> int:
        """Ticks since the last call, up to time `now`."""
        self._now = now
        if now < self._next:
            return 0
        ticks = (now - self._next) // self.divider + 1
        self._next += ticks * self.divider
        return ticks

    def when(self, ticks: int) -> int:
        """The time of the last of so many ticks to come."""
        return self._next + (ticks - 1) * self.divider


class RtcClock(Clock):
    """32.768 kHz out of the clock of the timer, of which `divider` is the divider.

    Members
    -------
    phase : what of a tick has passed, in units of 1 / PIT_HZ.
    """

    phase = 0

    def pass_to(self, now: int) -> int:
        ticks, self.phase = divmod(self.phase + RTC_HZ * super().pass_to(now), PIT_HZ)
        return ticks

    def when(self, ticks: int) -> int:
        return super().when(-(-(ticks * PIT_HZ - self.phase) // RTC_HZ))
