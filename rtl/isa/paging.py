"""Two-level 32-bit paging: entries, error code, walk constants.

Intel SDM vol. 3A, 4.3 (32-bit paging), 4.6 (access rights), 4.7 (page-fault error code). No PAE, no PSE-36, no PAT.
"""

# Field widths are written as annotations, which are not types.
# mypy: disable-error-code="valid-type"

from typing import Any

from .layout import Struct, join, mask


class PageTableEntry(Struct):
    """A page-table entry that maps 4 KiB, or a page-directory entry; bits not present are ignored by the walk.

    In a directory entry `ps` makes it a leaf when CR4.PSE is set, and `d` and `g` mean something only then.
    In a table entry bit 7 (PAT) is ignored.
    """
    p: 1
    rw: 1
    us: 1
    pwt: 1
    pcd: 1
    a: 1
    d: 1
    ps: 1
    g: 1
    available: 3
    frame: 20

    def is_leaf(self, level: Any, pse: Any) -> Any:
        """Whether the walk ends here; `level` is 1 for the directory and 0 for the table."""
        return (level == 0) | ((self.ps == 1) & (pse == 1))

    def address(self) -> Any:
        """Physical address of the table or 4 KiB page."""
        return join((0, 12), (self.frame, 20))


class LargePageEntry(Struct):
    """A page-directory entry that maps 4 MiB. A reserved bit set is a page fault with RSVD."""
    p: 1
    rw: 1
    us: 1
    pwt: 1
    pcd: 1
    a: 1
    d: 1
    ps: 1
    g: 1
    available: 3
    pat: 1
    reserved: 9
    frame: 10

    def address(self) -> Any:
        """Physical address of the 4 MiB page."""
        return join((0, 22), (self.frame, 10))

    def has_reserved(self) -> Any:
        """Whether a reserved bit is set. There is no PAT and no PSE-36: bits 12-21 are all reserved."""
        return (self.reserved != 0) | (self.pat != 0)


PTE_P = mask(PageTableEntry, "p")
PTE_RW = mask(PageTableEntry, "rw")
PTE_US = mask(PageTableEntry, "us")
PTE_PWT = mask(PageTableEntry, "pwt")
PTE_PCD = mask(PageTableEntry, "pcd")
PTE_A = mask(PageTableEntry, "a")
PTE_D = mask(PageTableEntry, "d")
PTE_PS = mask(PageTableEntry, "ps")
PTE_G = mask(PageTableEntry, "g")
PTE_AVAILABLE = mask(PageTableEntry, "available")
FRAME_MASK = mask(PageTableEntry, "frame")
PDE_LARGE_RESERVED = mask(LargePageEntry, "pat", "reserved")
PDE_LARGE_MASK = mask(LargePageEntry, "frame")


class LinearAddress(Struct):
    """A linear address as the walk cuts it."""
    offset: 12
    table: 10
    directory: 10


PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
LARGE_PAGE_SHIFT = 22
LARGE_PAGE_SIZE = 1 << LARGE_PAGE_SHIFT
ENTRY_BYTES = 4
ENTRIES = 1024
LEVELS = 2


class PageFaultCode(Struct):
    """The error code of #PF. RSVD implies P. There is no execute-disable: bit 4 is never set."""
    p: 1
    w: 1
    u: 1
    rsvd: 1
    reserved: 28


PF_P = mask(PageFaultCode, "p")
PF_W = mask(PageFaultCode, "w")
PF_U = mask(PageFaultCode, "u")
PF_RSVD = mask(PageFaultCode, "rsvd")
