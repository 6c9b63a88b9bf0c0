"""Why the board asks the simulation to stop."""

import enum

__all__ = ["StopReason"]


class StopReason(enum.IntEnum):
    """Value of the board's ``stop`` output. NONE lets the simulation go on."""
    NONE = 0
    EXIT = 1        #: the guest wrote to the exit port
    STUCK = 2       #: HLT with interrupts off
    SHUTDOWN = 3    #: triple fault
    RESET = 4       #: the guest asked for a reset
    DOORBELL = 5    #: a virtual machine monitor's part on the processor calls the part outside
