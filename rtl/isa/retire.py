"""What leaves through the retire port."""

import enum


class RetireCause(enum.Enum):
    """Why the retire port fires.

    ITERATION is one iteration of a REP instruction with more to come; the last one is INSTRUCTION. EXCEPTION and
    INTERRUPT are the end of a delivery, task switch included: the state is that of the handler's first instruction.
    """
    INSTRUCTION = 0
    ITERATION = 1
    EXCEPTION = 2
    INTERRUPT = 3
    HALT = 4
    SHUTDOWN = 5
    RESET = 6
    VMRUN = 8
    VMEXIT = 9
