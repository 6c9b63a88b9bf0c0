"""What the core tells the memory-management units: paging controls and TLB maintenance.

AMD64 APM vol. 2, 15.16 (TLB control), 15.25 (nested paging).
"""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out


class PagingControl(data.Struct):
    """The control-register bits that decide how an address is translated.

    With `nested`, what `paging`, `cr3_base` and the others translate to (or with `paging` 0 the linear address itself)
    is a guest-physical address, and the tables at `n_cr3_base` translate that, and each table address, once more.

    Members
    -------
    paging : CR0.PG.
    wp : CR0.WP: supervisor writes respect read-only pages.
    pse : CR4.PSE: a page-directory entry may map 4 MiB.
    pge : CR4.PGE: the G bit of an entry is obeyed.
    cache_disable : CR0.CD: misses no longer allocate cache lines; hits are still served.
    cr3_base : CR3[31:12].
    asid : address-space identifier; 0 is the host.
    nested : in guest mode with nested paging.
    n_pse : the host's CR4.PSE at VMRUN, for the nested tables.
    n_cr3_base : N_CR3[31:12].
    """

    paging: 1
    wp: 1
    pse: 1
    pge: 1
    cache_disable: 1
    cr3_base: 20
    asid: 4
    nested: 1
    n_pse: 1
    n_cr3_base: 20

    def translates(self):
        """Whether a linear address is anything but the physical one."""
        return self.paging | self.nested


class TlbMaintenance(wiring.Signature):
    """One-cycle invalidation pulses, given while the pipeline is drained and no walk is in progress.

    1. `inv_all` forgets everything of every address space, global translations and the nested dimension included.
    2. `inv_asid` does the same for address space `asid` alone (TLB_CONTROL 3; a guest's writes of CR0.PG/WP and
       CR4.PSE/PGE).
    3. `inv_nonglobal` forgets what is not global in address space `asid` (a write of CR3, TLB_CONTROL 7). The nested
       dimension stays.
    4. `inv_page` forgets the page of address space `asid` that contains `inv_linear`, global or not. The nested
       dimension stays.
    5. A unit may forget more than it is told to.

    Members
    -------
    inv_all, inv_asid, inv_nonglobal, inv_page : Out(1)
    asid : Out(4)
    inv_linear : Out(32)
    """

    def __init__(self):
        super().__init__({
            "inv_all": Out(1),
            "inv_asid": Out(1),
            "inv_nonglobal": Out(1),
            "inv_page": Out(1),
            "asid": Out(4),
            "inv_linear": Out(32),
        })
