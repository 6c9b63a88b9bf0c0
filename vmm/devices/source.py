"""When a device that lives in time has to be looked at."""

import math
from collections.abc import Callable

from vmm.devices.clock import Clock

Ticks = Callable[[], int | None]


class Source:
    """A device that may change its interrupt line without an access.

    It need not live through each moment: it is brought to the present before an access, and when its line may change.

    Parameters
    ----------
    clock, advance : its clock, and what lets it live through ticks of it.
    to_change, to_rise : how many ticks from the present its line may change or rise, None for never. They may be early,
        never late.

    Members
    -------
    due : the time at which its line may change. `foresee` has to be called after an access that may have moved it.
    """

    def __init__(self, clock: Clock, advance: Callable[[int], None], to_change: Ticks, to_rise: Ticks) -> None:
        self.clock = clock
        self._advance = advance
        self._to_change = to_change
        self._to_rise = to_rise
        self.foresee()

    def foresee(self) -> None:
        ticks = self._to_change()
        self.due: float = math.inf if ticks is None else self.clock.when(ticks)

    def pass_to(self, now: int) -> None:
        """Bring the device to the present."""
        ticks = self.clock.pass_to(now)
        if ticks:
            self._advance(ticks)

    def rise(self) -> float:
        """The time at which its line may rise."""
        ticks = self._to_rise()
        return math.inf if ticks is None else self.clock.when(ticks)
