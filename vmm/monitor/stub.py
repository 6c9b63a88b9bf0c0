"""The few instructions of the monitor that the simulated processor executes: `firmware/monitor/stub.S` as bytes."""

from enum import IntEnum

CODE = bytes.fromhex(
    "0f01ddfbeb0f595a5b5d5e5f0f01d8575655535251c74424180000000066"
    "ba0006ee90908b5424184a74db78f74a75050f01daebd10f01dbebdb")

#: The frame: these registers of the guest, a word each, then a word with the `Wish`. ESP is FRAME_WISH behind its start
#: at each VMRUN, and at its start when the doorbell rings.
FRAME = ("ecx", "edx", "ebx", "ebp", "esi", "edi")
FRAME_WISH = 4 * len(FRAME)


class Wish(IntEnum):
    """What the stub is to do; it waits while there is nothing."""

    WAIT = 0     #: nothing yet
    RUN = 1      #: run the guest
    VMLOAD = 2   #: load what VMLOAD loads from the VMCB first
    VMSAVE = 3   #: save what VMSAVE saves to the VMCB, and ring again
