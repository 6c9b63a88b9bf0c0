"""Timer of a local APIC in software; rules in `rtl/irq/apic_timer.py`."""

from rtl.isa.apic import divide_shift
from vmm.devices.device import Device


class ApicTimer(Device):
    """Counts what is left in cycles.

    Members
    -------
    left : cycles up to the end of the count, 0 if it does not run.
    """

    STATE = ("initial", "divide", "left")

    def __init__(self) -> None:
        self.initial = self.divide = self.left = 0

    @property
    def current(self) -> int:
        """The count, of which the present unit is not over."""
        return -(-self.left >> divide_shift(self.divide))

    def set_initial(self, value: int) -> None:
        self.initial = value
        self.left = value << divide_shift(self.divide)

    def set_divide(self, value: int) -> None:
        count, self.divide = self.current, value & 0xB
        self.left = count << divide_shift(self.divide)

    def advance(self, cycles: int, periodic: bool) -> bool:
        """Let cycles go by; whether the count ended, once or several times."""
        if cycles < self.left:
            self.left -= cycles
            return False
        if not self.left:
            return False
        period = self.initial << divide_shift(self.divide)
        self.left = period - (cycles - self.left) % period if periodic and period else 0
        return True
