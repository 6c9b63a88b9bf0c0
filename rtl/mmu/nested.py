"""Translation of guest-physical pages by the nested tables."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.cache.port import RequestPort
from rtl.mmu.control import PagingControl, TlbMaintenance
from rtl.mmu.tlb import Tlb
from rtl.mmu.walker import Walker
from rtl.mmu.walkport import Outcome, WalkPort

__all__ = ["NestedTranslator"]


class NestedTranslator(wiring.Component):
    """Nested TLB and, behind it, a walker of the tables at N_CR3.

    AMD64 APM vol. 2, 15.25.5 (nested table walk), 15.25.6 (nested page faults).

    1. Every access is a user access, whatever the guest's privilege; CR0.WP has no say.
    2. The nested TLB keeps 4 KiB translations for `keep` only, which are those of guest tables: the TLBs of both sides
       hold the others, combined with the guest's. Pages of 4 MiB are kept always. An entry that does not allow the
       access, or lacks D for a write, is not believed: a walk decides.
    3. `inv_all` and `inv_asid` empty TLB and walk cache; the guest's own invalidations leave them alone.

    Parameters
    ----------
    config : MmuConfig

    Members
    -------
    request : In(WalkPort())
        `page` is a guest-physical page number; `user` is ignored. The outcome is `TRANSLATED` or, for #NPF,
        `PAGE_FAULT` with EXITINFO1[4:0] as its code.
    keep : In(1)
        Stable like the request's payload.
    memory : Out(RequestPort())
    control : In(PagingControl)
    maintenance : In(TlbMaintenance())
    reference, update, cache_hit, cache_miss : Out(1)
        Pulses of the walker.
    tlb_hit, tlb_miss : Out(1)
        Pulse for each request answered from the nested TLB, or walked although there is one.
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "request": In(WalkPort()),
            "keep": In(1),
            "memory": Out(RequestPort()),
            "control": In(PagingControl),
            "maintenance": In(TlbMaintenance()),
            "reference": Out(1),
            "update": Out(1),
            "cache_hit": Out(1),
            "cache_miss": Out(1),
            "tlb_hit": Out(1),
            "tlb_miss": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.walker = walker = Walker(walk_cache_entries=self._config.nested_walk_cache_entries)
        connect(m, walker.backing, flipped(self.memory))
        request, control, kept = self.request, self.control, self.maintenance
        m.d.comb += [
            walker.d.page.eq(request.page),
            walker.d.write.eq(request.write),
            walker.d.user.eq(1),
            walker.control.pse.eq(control.n_pse),
            walker.control.cr3_base.eq(control.n_cr3_base),
            walker.control.asid.eq(control.asid),
            walker.maintenance.inv_all.eq(kept.inv_all | kept.inv_asid),
            self.reference.eq(walker.reference),
            self.update.eq(walker.update),
            self.cache_hit.eq(walker.cache_hit),
            self.cache_miss.eq(walker.cache_miss),
            request.outcome.eq(walker.d.outcome),
            request.fault_code.eq(walker.d.fault_code),
        ]
        if not self._config.nested_tlb_entries:
            m.d.comb += [
                walker.d.valid.eq(request.valid),
                request.done.eq(walker.d.done),
                request.translation.eq(walker.d.translation),
            ]
            return m

        m.submodules.tlb = tlb = Tlb(entries=self._config.nested_tlb_entries,
                                     large_entries=self._config.large_entries)
        found = tlb.translation
        enough = Signal()
        m.d.comb += [
            tlb.translate.eq(1),
            tlb.page.eq(request.page),
            tlb.asid.eq(control.asid),
            tlb.filled.eq(walker.d.translation),
            tlb.maintenance.inv_all.eq(kept.inv_all),
            tlb.maintenance.inv_asid.eq(kept.inv_asid),
            tlb.maintenance.asid.eq(kept.asid),
            enough.eq(tlb.hit & found.user & (~request.write | found.writable & found.dirty)),
            request.translation.eq(walker.d.translation),
        ]
        active = Signal()
        with m.If(active):
            with m.FSM() as fsm:
                with m.State("IDLE"):
                    m.d.comb += tlb.go.eq(request.valid)
                    with m.If(request.valid):
                        m.next = "LOOK"
                with m.State("LOOK"):
                    with m.If(enough):
                        m.d.comb += [
                            request.done.eq(1),
                            request.outcome.eq(Outcome.TRANSLATED),
                            request.translation.eq(found),
                            self.tlb_hit.eq(1),
                        ]
                        m.next = "IDLE"
                    with m.Else():
                        m.d.comb += [walker.d.valid.eq(1), self.tlb_miss.eq(1)]
                        m.next = "WALK"
                with m.State("WALK"):
                    m.d.comb += [
                        walker.d.valid.eq(1),
                        request.done.eq(walker.d.done),
                        tlb.fill.eq(walker.d.done & (walker.d.outcome == Outcome.TRANSLATED)
                                    & (self.keep | walker.d.translation.large)),
                    ]
                    with m.If(walker.d.done):
                        m.next = "IDLE"
        m.d.comb += active.eq(request.valid | ~fsm.ongoing("IDLE"))
        return m
