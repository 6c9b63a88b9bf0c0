"""Memory-mapped registers: the bus, and its address decoder."""

from dataclasses import dataclass

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class MmioSignature(wiring.Signature):
    """Accesses to memory-mapped registers, one 32-bit word at a time, seen by the initiator.

    1. An access happens at the edge where `valid` and `ready` are 1; until then everything stays stable. Side effects
       happen at that edge only.
    2. `rdata` is valid in the cycle where `ready` is 1.

    Members
    -------
    valid : Out(1)
    ready : In(1)
    addr : Out(32)
        Byte address; bits 1:0 are 0.
    write : Out(1)
    mask : Out(4)
        Bytes written, or wanted by a read.
    wdata : Out(32)
    rdata : In(32)
    """

    def __init__(self):
        super().__init__({
            "valid": Out(1),
            "ready": In(1),
            "addr": Out(32),
            "write": Out(1),
            "mask": Out(4),
            "wdata": Out(32),
            "rdata": In(32),
        })


@dataclass(frozen=True)
class Window:
    """A range of addresses that belongs to one device.

    Members
    -------
    name : str
        Name of the decoder's port for this device.
    base, size : int
        Bytes; `size` is a power of two and `base` a multiple of it.
    """

    name: str
    base: int
    size: int

    def __post_init__(self) -> None:
        if self.size < 4 or self.size & (self.size - 1):
            raise ValueError(f"size of window {self.name} must be a power of two of at least 4, not {self.size:#x}")
        if self.base % self.size:
            raise ValueError(f"base of window {self.name} must be a multiple of {self.size:#x}, not {self.base:#x}")


def address_map(*windows: Window) -> tuple[Window, ...]:
    """The windows given, checked to be disjoint."""
    for index, one in enumerate(windows):
        for other in windows[:index]:
            if one.base < other.base + other.size and other.base < one.base + one.size:
                raise ValueError(f"windows {other.name} and {one.name} overlap")
    return windows


class MmioDecoder(wiring.Component):
    """Give each access to the device that owns the address.

    Unclaimed addresses answer at once: reads give all ones, writes are lost.

    Parameters
    ----------
    windows : tuple of Window
        Disjoint: made by `address_map`.

    Members
    -------
    bus : In(MmioSignature())
    <window name> : Out(MmioSignature())
        `addr` is passed whole; a device looks at the bits below its size.
    """

    def __init__(self, windows=()):
        self._windows = tuple(windows)
        super().__init__({"bus": In(MmioSignature()),
                          **{window.name: Out(MmioSignature()) for window in self._windows}})

    def elaborate(self, platform):
        m = Module()
        bus = self.bus
        m.d.comb += [bus.ready.eq(1), bus.rdata.eq(0xFFFF_FFFF)]
        for window in self._windows:
            port = getattr(self, window.name)
            low = window.size.bit_length() - 1
            m.d.comb += [
                port.addr.eq(bus.addr),
                port.write.eq(bus.write),
                port.mask.eq(bus.mask),
                port.wdata.eq(bus.wdata),
            ]
            with m.If(bus.addr[low:] == window.base >> low):
                m.d.comb += [
                    port.valid.eq(bus.valid),
                    bus.ready.eq(port.ready),
                    bus.rdata.eq(port.rdata),
                ]
        return m
