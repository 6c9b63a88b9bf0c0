"""Doorbell of the virtual machine monitor."""

from rtl.dev.exit import ExitPort

__all__ = ["Doorbell"]


class Doorbell(ExitPort):
    """A byte written to offset 0 asks the simulator to stop and to look after the guest, then to go on: an `ExitPort`
    with another reason.
    """
