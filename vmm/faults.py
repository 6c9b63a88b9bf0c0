"""What can interrupt an instruction of the guest, as Python exceptions of the software engines."""

from __future__ import annotations


class Fault(Exception):
    """The instruction in progress raises exception `vector`; nothing of it has been committed.

    `error` is the error code, or None for vectors that push none. `cr2` is the faulting linear address of a #PF.
    """

    def __init__(self, vector: int, error: int | None = None, cr2: int | None = None):
        super().__init__(vector, error)
        self.vector = vector
        self.error = error
        self.cr2 = cr2


class VmExit(Exception):
    """The guest leaves guest mode with exit code `code`; nothing of the instruction in progress has been committed.

    `info1` and `info2` are EXITINFO1 and EXITINFO2. `next_eip` is what NRIP becomes.
    """

    def __init__(self, code: int, info1: int = 0, info2: int = 0, next_eip: int = 0):
        super().__init__(code)
        self.code = code
        self.info1 = info1
        self.info2 = info2
        self.next_eip = next_eip


class Unfinished(Exception):
    """The instruction or delivery in progress waits for somebody outside; nothing of it has been committed."""


class Unsupported(Exception):
    """The virtual CPU cannot go on from its state; the message is one sentence that says why."""
