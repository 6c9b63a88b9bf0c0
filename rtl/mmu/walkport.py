"""A translation as the walker returns it, and the port by which it is asked for."""

from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out


class Translation(data.Struct):
    """One page's translation: the product of a walk, the content of a TLB entry.

    Members
    -------
    frame : physical page number, for 4 MiB pages too (its low 10 bits then equal the linear ones).
    user, writable : U/S of the guest's tables (the nested ones let user accesses pass or fault), R/W of all; each the
        AND of all levels.
    dirty : D of the leaf, and with nested paging D and R/W of the nested leaf too: a write that the other bits allow
        needs no walk.
    uncached : PCD of a leaf.
    shared : G of the guest's leaf, when CR4.PGE is set.
    large : the page is 4 MiB in both dimensions.
    piece : it is part of a 4 MiB page of the guest in smaller pages of the nested tables. Like `shared` for
        invalidation alone.
    """

    frame: 20
    user: 1
    writable: 1
    dirty: 1
    uncached: 1
    shared: 1
    large: 1
    piece: 1


class Outcome(enum.Enum, shape=2):
    """How a walk ended."""

    #: `translation` is valid; every A (and D) bit the access needs is set in memory.
    TRANSLATED = 0
    #: The access is not allowed; `fault_code` is the page-fault error code; no A or D bit of these tables was written.
    PAGE_FAULT = 1
    #: The nested tables do not allow the access (#NPF); `fault_code` is EXITINFO1[4:0], `fault_gpa` EXITINFO2 without
    #: the byte in the page, unless `fault_table`.
    NESTED_FAULT = 2


class WalkPort(wiring.Signature):
    """A request to the page walker, seen by the requester.

    1. `valid` stays 1, with stable `page`, `write` and `user`, until the cycle where `done` is 1, and falls after it
       (or asks for another walk).
    2. `outcome`, `fault_*` and `translation` are valid in the cycle where `done` is 1 only.
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
    fault_gpa : In(32)
        Guest-physical address of the entry (`fault_table`) or of the page.
    fault_table : In(1)
        The nested tables refused a guest table's entry: EXITINFO1[33]; else the access itself: EXITINFO1[32].
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
            "fault_gpa": In(32),
            "fault_table": In(1),
            "translation": In(Translation),
        })
