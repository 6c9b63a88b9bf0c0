"""What every software device offers to the I/O bus, and how its state is saved."""

from collections.abc import Callable
from typing import ClassVar

Value = int | bytes
Output = Callable[[int], None]
"""Takes a byte that leaves the computer, or the new level of an interrupt line."""


def nowhere(value: int) -> None:
    """An output that nobody watches."""


class Device:
    """Registers at offsets. A device does not know at which ports it sits.

    `STATE` names the attributes that hold its state; they have the names and encodings of the registers of the
    hardware twin, so that state moves between the two.
    """

    STATE: ClassVar[tuple[str, ...]] = ()

    def read(self, offset: int) -> int:
        """Read one byte, with its side effects."""
        raise TypeError(f"{type(self).__name__} has no registers to read")

    def write(self, offset: int, value: int) -> None:
        """Write one byte."""
        raise TypeError(f"{type(self).__name__} has no registers to write")

    def save(self) -> dict[str, Value]:
        """State by the names of `STATE`; memories as bytes."""
        state: dict[str, Value] = {}
        for name in self.STATE:
            value = getattr(self, name)
            state[name] = bytes(value) if isinstance(value, bytearray) else int(value)
        return state

    def load(self, state: dict[str, Value]) -> None:
        """Take over what `save` gave, or the hardware, whose memories are lists. Raises KeyError if a part is
        missing."""
        for name in self.STATE:
            memory = getattr(self, name)
            if isinstance(memory, bytearray):
                memory[:] = bytes(state[name])
            else:
                setattr(self, name, state[name])
