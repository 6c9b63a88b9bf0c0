"""A translation as the walker returns it, and the port by which it is asked for."""

from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out


class Translation(data.Struct):
    """One page's translation: the product of a walk, the content of a TLB entry.

    Members
    -------
    frame : physical page number, for 4 MiB pages too (its low 10 bits then equal the linear ones).
    user, writable : R/W and U/S, each the AND of all levels.
    dirty : D of the leaf.
    uncached : PCD of the leaf.
    shared : G of the leaf, when CR4.PGE is set.
    large : the page is 4 MiB.
    """

    frame: 20
    user: 1
    writable: 1
    dirty: 1
    uncached: 1
    shared: 1
    large: 1


class Outcome(enum.Enum, shape=2):
    """How a walk ended."""

    #: `translation` is valid; every A (and D) bit the access needs is set in memory.
    TRANSLATED = 0
    #: The access is not allowed; `fault_code` is the page-fault error code; nothing was written.
    PAGE_FAULT = 1
    #: The backing translation of the walker itself failed (nested paging).
    BACKING_FAULT = 2


class WalkPort(wiring.Signature):
    """A request to the page walker, seen by the requester.

    1. `valid` stays 1, with stable `page`, `write` and `user`, until the cycle where `done` is 1, and falls after it
       (or asks for another walk).
    2. `outcome`, `fault_code` and `translation` are valid in the cycle where `done` is 1 only.
    3. A walk once started always ends; there is no way to cancel it.

    Members
    -------
    valid : Out(1)
    page : Out(20)
        Linear page number.
    write, user : Out(1)
        The access writes; the access is made at CPL 3.
    done : In(1)
    outcome : In(Outcome)
    fault_code : In(5)
    translation : In(Translation)
    """

    def __init__(self):
        super().__init__({
            "valid": Out(1),
            "page": Out(20),
            "write": Out(1),
            "user": Out(1),
            "done": In(1),
            "outcome": In(Outcome),
            "fault_code": In(5),
            "translation": In(Translation),
        })
