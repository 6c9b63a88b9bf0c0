"""What the core tells the memory-management units: paging controls and TLB maintenance."""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out


class PagingControl(data.Struct):
    """The control-register bits that decide how an address is translated.

    Members
    -------
    paging : CR0.PG.
    wp : CR0.WP: supervisor writes respect read-only pages.
    pse : CR4.PSE: a page-directory entry may map 4 MiB.
    pge : CR4.PGE: the G bit of an entry is obeyed.
    cache_disable : CR0.CD: misses no longer allocate cache lines; hits are still served.
    cr3_base : CR3[31:12].
    asid : address-space identifier; 0 is the host.
    """

    paging: 1
    wp: 1
    pse: 1
    pge: 1
    cache_disable: 1
    cr3_base: 20
    asid: 4


class TlbMaintenance(wiring.Signature):
    """One-cycle invalidation pulses, given while the pipeline is drained and no walk is in progress.

    1. `inv_all` forgets everything, global translations included (writes of CR0.PG/WP, CR4.PSE/PGE).
    2. `inv_nonglobal` forgets everything that is not global (a write of CR3).
    3. `inv_page` forgets the page that contains `inv_linear`, global or not; a unit may forget more.

    Members
    -------
    inv_all, inv_nonglobal, inv_page : Out(1)
    inv_linear : Out(32)
    """

    def __init__(self):
        super().__init__({
            "inv_all": Out(1),
            "inv_nonglobal": Out(1),
            "inv_page": Out(1),
            "inv_linear": Out(32),
        })
