"""Page walks in one dimension or in two."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.cache.port import RequestPort
from rtl.mmu.control import PagingControl, TlbMaintenance
from rtl.mmu.nested import NestedTranslator
from rtl.mmu.walker import Walker
from rtl.mmu.walkport import Outcome, Translation, WalkPort

__all__ = ["TwoDimensionalWalker"]


class TwoDimensionalWalker(wiring.Component):
    """Walks page tables for both TLBs; with nested paging, every address on the way and at the end once more.

    AMD64 APM vol. 2, 15.25.

    1. With `nested` 0 this is a `Walker`, to the cycle.
    2. With `nested` 1, each entry of the guest's tables is read where the nested tables put it, which a user write
       must be allowed to do. Then the guest's permissions are checked, its A and D set (in the entries just read), and
       at last the page itself is translated, for a user access that writes if the access does.
    3. With `nested` 1 and `paging` 0 the guest-physical page is the linear one.
    4. A nested fault ends the walk. What was written until then stays: A and D of the nested entries used, and, if the
       page itself is refused, of the guest's.
    5. `translation` has both dimensions: see `Translation`.

    Parameters
    ----------
    config : MmuConfig

    Members
    -------
    d, i : In(WalkPort())
    memory : Out(RequestPort())
    control : In(PagingControl)
    maintenance : In(TlbMaintenance())
    reference_d, reference_i : Out(1)
        Pulse for each entry read of the tables under CR3, by side.
    nested_reference_d, nested_reference_i : Out(1)
        The same under N_CR3.
    update : Out(1)
        Pulse for each entry whose A or D is set.
    cache_hit, cache_miss, nested_cache_hit, nested_cache_miss : Out(1)
        Pulse for each directory entry found in the walk cache of its dimension, or read although there is one.
    nested_tlb_hit, nested_tlb_miss : Out(1)
    """

    def __init__(self, config):
        self._config = config
        super().__init__({
            "d": In(WalkPort()),
            "i": In(WalkPort()),
            "memory": Out(RequestPort()),
            "control": In(PagingControl),
            "maintenance": In(TlbMaintenance()),
            "reference_d": Out(1),
            "reference_i": Out(1),
            "nested_reference_d": Out(1),
            "nested_reference_i": Out(1),
            "update": Out(1),
            "cache_hit": Out(1),
            "cache_miss": Out(1),
            "nested_cache_hit": Out(1),
            "nested_cache_miss": Out(1),
            "nested_tlb_hit": Out(1),
            "nested_tlb_miss": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.guest = guest = Walker(walk_cache_entries=self._config.walk_cache_entries)
        m.submodules.nested = nested = NestedTranslator(self._config)
        connect(m, flipped(self.maintenance), guest.maintenance)
        connect(m, flipped(self.maintenance), nested.maintenance)
        control, memory, backing, request = self.control, self.memory, guest.backing, nested.request
        m.d.comb += [guest.control.eq(control), nested.control.eq(control)]

        # The guest's walk is followed by the translation of the page.
        final = Signal()
        final_i = Signal()
        walked = Signal()
        m.d.comb += walked.eq(control.nested & (guest.d.done | guest.i.done) & (guest.d.outcome == Outcome.TRANSLATED))
        with m.If(walked):
            m.d.sync += [final.eq(1), final_i.eq(guest.for_i)]
        with m.Elif(final):
            with m.If(request.done):
                m.d.sync += final.eq(0)
        with m.Elif(control.nested & ~control.paging & (self.d.valid | self.i.valid)):
            m.d.sync += [final.eq(1), final_i.eq(~self.d.valid)]

        for_i = Signal()
        m.d.comb += for_i.eq(Mux(final, final_i, guest.for_i))

        # Guest-physical pages to translate: of an entry before it is read, and of the page.
        placed = Signal()       # that of the entry asked for is done
        frames = [Signal(20, name="table_frame"), Signal(20, name="directory_frame")]
        held_frame = Mux(guest.at_directory, frames[1], frames[0])
        anew = Signal()
        translated = Signal()
        page = Signal(20)
        m.d.comb += [
            anew.eq(control.nested & backing.valid & ~backing.lock & ~backing.write & ~placed),
            page.eq(Mux(control.paging, guest.d.translation.frame, Mux(for_i, self.i.page, self.d.page))),
            request.valid.eq(anew | walked | final),
            request.page.eq(Mux(anew, backing.addr[12:], page)),
            request.write.eq(anew | Mux(for_i, self.i.write, self.d.write)),
            nested.keep.eq(anew),
            translated.eq(request.done & (request.outcome == Outcome.TRANSLATED)),
        ]
        fault_code = Signal(5)
        fault_gpa = Signal(32)
        with m.If(anew & request.done):
            for level, frame in enumerate(frames):
                with m.If(guest.at_directory == level):
                    m.d.sync += frame.eq(request.translation.frame)
            m.d.sync += [placed.eq(translated & ~memory.ready),
                         fault_code.eq(request.fault_code), fault_gpa.eq(backing.addr)]
        with m.Elif(memory.ready):
            m.d.sync += placed.eq(0)

        # One of the two walkers at a time uses the memory.
        forward = Signal()
        m.d.comb += [
            forward.eq(backing.valid & (~anew | translated)),
            memory.valid.eq(forward | nested.memory.valid),
            memory.addr.eq(Cat(backing.addr[:12],
                               Mux(control.nested, Mux(anew, request.translation.frame, held_frame),
                                   backing.addr[12:]))),
            memory.write.eq(backing.write),
            memory.lock.eq(backing.lock),
            memory.wdata.eq(backing.wdata),
            memory.mask.eq(0xF),
            backing.ready.eq(memory.ready & forward),
            backing.rvalid.eq(memory.rvalid & ~request.valid),
            backing.rdata.eq(memory.rdata),
            backing.fault.eq(anew & request.done & ~translated),
            nested.memory.ready.eq(memory.ready & ~forward),
            nested.memory.rvalid.eq(memory.rvalid),
            nested.memory.rdata.eq(memory.rdata),
        ]
        with m.If(nested.memory.valid):
            m.d.comb += [
                memory.addr.eq(nested.memory.addr),
                memory.write.eq(nested.memory.write),
                memory.lock.eq(nested.memory.lock),
                memory.wdata.eq(nested.memory.wdata),
            ]

        inner, outer = guest.d.translation, request.translation
        answer = Signal(Translation)
        outcome = Signal(Outcome)
        m.d.comb += [answer.eq(inner), outcome.eq(guest.d.outcome)]
        with m.If(final):
            m.d.comb += [
                answer.frame.eq(outer.frame),
                answer.user.eq(inner.user | ~control.paging),
                answer.writable.eq(outer.writable & (inner.writable | ~control.paging)),
                answer.dirty.eq(outer.writable & outer.dirty & (inner.dirty | ~control.paging)),
                answer.uncached.eq(outer.uncached | (inner.uncached & control.paging)),
                answer.shared.eq(inner.shared & control.paging),
                answer.large.eq(outer.large & (inner.large | ~control.paging)),
                answer.piece.eq(~outer.large & inner.large & control.paging),
                outcome.eq(Mux(translated, Outcome.TRANSLATED, Outcome.NESTED_FAULT)),
            ]
        for side, port, selected in ((self.d, guest.d, ~final_i), (self.i, guest.i, final_i)):
            m.d.comb += [
                port.valid.eq(side.valid & ~final & (control.paging | ~control.nested)),
                port.page.eq(side.page),
                port.write.eq(side.write),
                port.user.eq(side.user),
                side.done.eq((port.done & ~walked) | (final & request.done & selected)),
                side.outcome.eq(outcome),
                side.translation.eq(answer),
                side.fault_gpa.eq(Mux(final, Cat(Const(0, 12), page), fault_gpa)),
                side.fault_table.eq(~final),
            ]
            with m.If(final):
                m.d.comb += side.fault_code.eq(request.fault_code)
            with m.Elif(outcome == Outcome.NESTED_FAULT):
                m.d.comb += side.fault_code.eq(fault_code)
            with m.Else():
                m.d.comb += side.fault_code.eq(port.fault_code)

        m.d.comb += [
            self.reference_d.eq(guest.reference & ~guest.for_i),
            self.reference_i.eq(guest.reference & guest.for_i),
            self.nested_reference_d.eq(nested.reference & ~for_i),
            self.nested_reference_i.eq(nested.reference & for_i),
            self.update.eq(guest.update | nested.update),
            self.cache_hit.eq(guest.cache_hit),
            self.cache_miss.eq(guest.cache_miss),
            self.nested_cache_hit.eq(nested.cache_hit),
            self.nested_cache_miss.eq(nested.cache_miss),
            self.nested_tlb_hit.eq(nested.tlb_hit),
            self.nested_tlb_miss.eq(nested.tlb_miss),
        ]
        return m
