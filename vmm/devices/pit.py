"""8254 timer in software; rules in `rtl/dev/pit.py`."""

from rtl.isa.devices import PIT_FIRMWARE, UNCLAIMED
from vmm.devices.device import Device
from vmm.devices.pit_channel import PitChannel


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
