"""I/O ports to devices."""

from collections.abc import Callable
from dataclasses import dataclass

from rtl.isa.devices import UNCLAIMED
from vmm.devices.device import Device

Hook = Callable[[], None]


def nothing() -> None:
    """A hook that does nothing."""


@dataclass(frozen=True, slots=True)
class _Claim:
    device: Device
    offset: int
    before: Hook
    after: Hook


class IoBus:
    """Each port belongs to at most one device, which sees an offset.

    Accesses of 2 and 4 bytes are made of byte accesses, lowest port first. A port that no device claims reads as all
    ones and ignores writes. Ports wrap at 65536.
    """

    def __init__(self) -> None:
        self._claims: dict[int, _Claim] = {}

    def add(self, base: int, size: int, device: Device, offset: int = 0, before: Hook = nothing,
            after: Hook = nothing) -> None:
        """Give the `size` ports from `base` to `device`, whose first register there is at `offset`.

        `before` and `after` are called around each access. Raises ValueError if a port is taken or outside of the I/O
        space.
        """
        if base < 0 or size < 1 or base + size > 0x10000:
            raise ValueError(f"Ports {base:X}h to {base + size - 1:X}h are not in the I/O space 0h to FFFFh")
        for port in range(base, base + size):
            if port in self._claims:
                owner = type(self._claims[port].device).__name__
                raise ValueError(f"Port {port:X}h for {type(device).__name__} already belongs to {owner}")
        for index in range(size):
            self._claims[base + index] = _Claim(device, offset + index, before, after)

    def read(self, port: int, size: int) -> int:
        """Read `size` bytes: 1, 2 or 4."""
        if size > 1:
            return sum(self.read(port + index, 1) << 8 * index for index in range(size))
        claim = self._claims.get(port & 0xFFFF)
        if claim is None:
            return UNCLAIMED
        claim.before()
        value = int(claim.device.read(claim.offset))
        claim.after()
        return value

    def write(self, port: int, size: int, value: int) -> None:
        """Write the low `size` bytes of `value`: 1, 2 or 4."""
        for index in range(size):
            claim = self._claims.get(port + index & 0xFFFF)
            if claim is not None:
                claim.before()
                claim.device.write(claim.offset, value >> 8 * index & 0xFF)
                claim.after()
