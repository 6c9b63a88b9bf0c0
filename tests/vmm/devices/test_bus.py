"""I/O bus."""

import pytest

from vmm.devices.bus import IoBus
from vmm.devices.device import Device


class Recorder(Device):
    def __init__(self):
        self.log = []

    def read(self, offset):
        self.log.append(("read", offset))
        return 0xA0 + offset

    def write(self, offset, value):
        self.log.append(("write", offset, value))


def test_unclaimed_ports_read_as_ones():
    bus = IoBus()
    assert [bus.read(0x1234, size) for size in (1, 2, 4)] == [0xFF, 0xFFFF, 0xFFFF_FFFF]
    bus.write(0x1234, 4, 0)


def test_wide_accesses_are_bytes_lowest_first():
    bus, device = IoBus(), Recorder()
    bus.add(0x300, 3, device, offset=4)
    assert bus.read(0x300, 4) == 0xFFA6_A5A4
    bus.write(0x2FF, 4, 0x4433_2211)
    bus.write(0x302, 2, 0x1234)
    assert device.log == [("read", 4), ("read", 5), ("read", 6), ("write", 4, 0x22), ("write", 5, 0x33),
                          ("write", 6, 0x44), ("write", 6, 0x34)]


def test_ports_wrap():
    bus, device = IoBus(), Recorder()
    bus.add(0, 1, device)
    assert bus.read(0xFFFF, 2) == 0xA0FF


def test_conflicts():
    bus = IoBus()
    bus.add(0x60, 2, Recorder())
    with pytest.raises(ValueError, match=r"^Port 61h for Recorder already belongs to Recorder$"):
        bus.add(0x61, 1, Recorder())
    with pytest.raises(ValueError, match=r"^Ports FFFFh to 10000h are not in the I/O space 0h to FFFFh$"):
        bus.add(0xFFFF, 2, Recorder())
