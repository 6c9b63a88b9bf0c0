"""8254 timer in software; rules in `rtl/dev/pit.py`."""

from rtl.isa.devices import PIT_FIRMWARE, UNCLAIMED
from vmm.devices.device import Device
from vmm.devices.pit_channel import PitChannel


class Pit8254(Device):
    """Three counters; give their outputs somewhere to go by `channels[n].on_out`.

    After `advance_channel0` the others have yet to live through its ticks: they do in `settle` and before any access.
    """

    def __init__(self) -> None:
        self.channels = [PitChannel(control, count) for control, count in PIT_FIRMWARE]
        self.channels[2].last_gate = 0
        self.channels[2].restore_mode()
        self._owed = 0

    def read(self, offset: int) -> int:
        self.settle()
        return UNCLAIMED if offset == 3 else self.channels[offset].read()

    def write(self, offset: int, value: int) -> None:
        self.settle()
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
        self.settle()
        self.channels[2].set_gate(level)

    def advance(self, ticks: int) -> None:
        self.advance_channel0(ticks)
        self.settle()

    def advance_channel0(self, ticks: int) -> None:
        """Many clocks; none but channel 0 interrupts, so that nobody need hear of the others until he looks."""
        self.channels[0].advance(ticks)
        self._owed += ticks

    def ticks_to_change(self) -> int | None:
        """Ticks after which the output of channel 0 could change."""
        return self.channels[0].ticks_to_event()

    def ticks_to_rise(self) -> int | None:
        """Ticks after which the output of channel 0 rises, None if it does not by itself."""
        return self.channels[0].ticks_to_rise()

    def settle(self) -> None:
        """Bring channels 1 and 2 to the present."""
        if self._owed:
            self.channels[1].advance(self._owed)
            self.channels[2].advance(self._owed)
            self._owed = 0

    def save(self) -> dict[str, int | bytes]:
        self.settle()
        return {f"channel{number}.{name}": int(getattr(channel, name))
                for number, channel in enumerate(self.channels) for name in channel.STATE}

    def load(self, state: dict[str, int | bytes]) -> None:
        self._owed = 0
        for number, channel in enumerate(self.channels):
            for name in channel.STATE:
                setattr(channel, name, state[f"channel{number}.{name}"])
            channel.restore_mode()
