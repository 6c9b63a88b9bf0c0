"""Load/store unit: the data side of the pipeline."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.bus.memory import MemorySignature, is_cacheable
from rtl.cache.config import CacheConfig
from rtl.cache.dcache import DCache
from rtl.cache.port import RequestPort, SnoopPort
from rtl.cpu.lsuevents import LsuEvents
from rtl.cpu.notices import StoreNotices
from rtl.cpu.store import StorePart, StoreStage
from rtl.cpu.uop import Mem
from rtl.mmu.config import MmuConfig
from rtl.mmu.control import PagingControl, TlbMaintenance
from rtl.mmu.tlb import Tlb
from rtl.mmu.twodim import TwoDimensionalWalker
from rtl.mmu.walkport import Outcome, WalkPort

__all__ = ["Lsu"]


class Lsu(wiring.Component):
    """Translate, load and store for the pipeline; own the D-cache, the data TLB and the page walker.

    Stage A

    1. An access is sampled at the edge where `a_go` is 1, into M. `a_kind` is not `Mem.NONE`. M must be empty, or
       leave at the same edge (`m_go` or `m_kill`).

    Stage M

    2. `m_done` is 1 once the access is ready or has faulted, and stays so until the edge where `m_go` or `m_kill` is
       1. Aligned hits are done in their first cycle. `m_data`, `m_fault*`, `m_paddr` are valid while `m_done` is 1.
       With `m_fault`, `m_fault_nested` tells #NPF from #PF; `m_fault_gpa` is then the guest-physical address of the
       guest table's entry (`m_fault_table`) or of the access, whose first byte in that page `m_fault_linear` names.
    3. `m_go` is given only with `m_done` and without `m_fault`; a STORE then waits in X. `m_kill` abandons the access.
    4. A walk and an uncached load begin only in a cycle where `m_drained` is 1; `m_walked` is 1 from the next cycle
       on, and the core then completes the access, and its instruction unless that faults.
    5. An access that crosses a page is translated whole, low page first, before anything is read. A failing
       translation of the TLB is always decided by a walk.
    6. A load never passes an older store to the same word.

    Stage X

    7. The STORE in X is written at the edge where `x_commit` is 1, with the low bytes of `x_data`; `x_commit` is
       given only with `x_ready`. `x_kill` abandons it. `x_store` tells that a STORE waits.
    8. `snoop_hit` is valid while the STORE is in X: one of its lines is or was recently in the instruction cache.
    9. `store_valid` pulses with `x_commit`; `store_paddr`, `store_size` and `store_data` then tell what was written.
       `store_paddr_hi` is the address of the first byte beyond the word (its page may differ).

    Others

    10. `idle` is 1 when nothing is in flight: no store waiting, no walk, no miss, no requester.
    11. `wbinvd` (a pulse, given when `idle`) writes back and invalidates the D-cache; `idle` is 0 meanwhile. The
        instruction cache is the core's to invalidate.

    Parameters
    ----------
    cache : CacheConfig
    mmu : MmuConfig

    Members
    -------
    mem : Out(MemorySignature())
    walk_i : In(WalkPort())
        Walks for the instruction TLB.
    code, dma : In(RequestPort())
        Instruction refills; devices.
    snoop : Out(SnoopPort())
    control : In(PagingControl)
    maintenance : In(TlbMaintenance())
    ram_size_words : In(30)
    events : Out(LsuEvents)
    a_*, m_*, x_*, store_*, idle, wbinvd : see the rules.
    """

    a_go: In(1)
    a_linear: In(32)
    a_size: In(2)
    a_kind: In(Mem)
    a_user: In(1)
    a_phys: In(1)
    m_go: In(1)
    m_kill: In(1)
    m_drained: In(1)
    m_done: Out(1)
    m_data: Out(32)
    m_paddr: Out(32)
    m_fault: Out(1)
    m_fault_code: Out(5)
    m_fault_nested: Out(1)
    m_fault_table: Out(1)
    m_fault_gpa: Out(32)
    m_fault_linear: Out(32)
    m_walked: Out(1)
    x_commit: In(1)
    x_kill: In(1)
    x_data: In(32)
    x_ready: Out(1)
    x_store: Out(1)
    snoop_hit: Out(1)
    store_valid: Out(1)
    store_paddr: Out(32)
    store_paddr_hi: Out(32)
    store_size: Out(2)
    store_data: Out(32)
    idle: Out(1)
    wbinvd: In(1)
    mem: Out(MemorySignature())
    walk_i: In(WalkPort())
    code: In(RequestPort())
    dma: In(RequestPort())
    snoop: Out(SnoopPort())
    control: In(PagingControl)
    maintenance: In(TlbMaintenance())
    ram_size_words: In(30)
    events: Out(LsuEvents)

    def __init__(self, cache=None, mmu=None):
        self._cache = cache if cache is not None else CacheConfig()
        self._mmu = mmu if mmu is not None else MmuConfig()
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.tlb = tlb = Tlb(entries=self._mmu.dtlb_entries, large_entries=self._mmu.large_entries)
        m.submodules.walker = walker = TwoDimensionalWalker(self._mmu)
        m.submodules.cache = cache = DCache(self._cache)
        m.submodules.store = store = StoreStage(cache.word_bits)
        m.submodules.notices = notices = StoreNotices()
        connect(m, walker.memory, cache.walker)
        connect(m, flipped(self.walk_i), walker.i)
        connect(m, flipped(self.code), cache.code)
        connect(m, flipped(self.dma), cache.dma)
        connect(m, cache.mem, flipped(self.mem))
        connect(m, notices.snoop, flipped(self.snoop))
        connect(m, flipped(self.maintenance), walker.maintenance)
        connect(m, flipped(self.maintenance), tlb.maintenance)
        control = self.control
        page_bits = 10
        m.d.comb += [
            walker.control.eq(control),
            cache.ram_pages.eq(self.ram_size_words[10:]),
            cache.cache_disable.eq(control.cache_disable),
        ]

        # The access in M.
        m_valid = Signal()
        m_linear = Signal(32)
        m_size = Signal(2)
        m_kind = Signal(Mem)
        m_user = Signal()
        m_phys = Signal()
        m_cross = Signal()          # crosses a word
        m_translating = Signal()    # crosses a page and is not yet translated whole
        m_high = Signal()           # at the second of its two words
        m_dword = Signal(30)        # the word looked up
        m_looked = Signal()         # TLB and arrays answer for that word
        m_have = Signal()           # that word's result is held
        m_held = Signal(32)
        m_low = Signal(32)          # the first word, once at the second
        m_low_frame = Signal(20)
        m_low_part = Signal(StorePart)
        m_held_part = Signal(StorePart)
        m_faulted = Signal()
        m_filling = Signal()
        m_reading = Signal()
        m_missed = Signal()
        m_tlb_missed = Signal()

        is_store = m_kind == Mem.STORE
        writes = (m_kind == Mem.STORE) | (m_kind == Mem.RMW)
        entry = tlb.translation

        walking = Signal()
        walk_page = Signal(20)
        walk_write = Signal()
        walk_user = Signal()
        walk_live = Signal()
        fault_gpa = Signal(32)

        # M: what this cycle's answers mean.
        active = Signal()
        translated = Signal()
        conflict = Signal()
        hit = Signal()
        cacheable = Signal()
        ready = Signal()        # the result of the current word
        advance = Signal()      # go on to the second word
        rewind = Signal()       # go back to the first
        m.d.comb += [
            active.eq(m_valid & m_looked & ~m_faulted & ~walking),
            translated.eq(tlb.hit & (entry.user | ~m_user)
                          & (~writes | entry.dirty & (entry.writable | ~m_user & ~control.wp))),
            cache.look_tag.eq(Cat(m_dword[:page_bits], entry.frame)[cache.word_bits:]),
            conflict.eq(~is_store & store.blocks),
            store.load_word.eq(m_dword[:cache.word_bits]),
            cache.look_set.eq(m_dword[3:cache.word_bits]),
            hit.eq(cache.hit),
            cacheable.eq(is_cacheable(entry.frame, cache.ram_pages) & ~entry.uncached & ~control.cache_disable),
        ]
        begin_walk = Signal()
        with m.If(m_have):
            m.d.comb += ready.eq(m_valid)
        with m.Elif(active):
            with m.If(~translated):
                m.d.comb += begin_walk.eq(self.m_drained & ~self.m_kill)
            with m.Elif(m_translating):
                m.d.comb += [advance.eq(~m_high), rewind.eq(m_high)]
            with m.Elif(~conflict):
                # A store past the cache into a line being filled would leave the old bytes in the cache.
                with m.If(hit | (cache.arrived & ~is_store) | (is_store & ~cacheable & ~cache.filling)):
                    m.d.comb += ready.eq(1)
                with m.Elif(cacheable):
                    m.d.comb += cache.fill.eq(~m_filling)
                with m.Elif(~is_store):
                    m.d.comb += cache.read.eq(self.m_drained & ~m_reading)
        live = active & translated & ~m_translating & ~m_have & ready
        with m.If(ready & m_cross & ~m_high):
            m.d.comb += advance.eq(1)
        m.d.comb += self.m_done.eq(m_faulted | (ready & ~advance))

        # Look-ups: the next access, or the word M wants (again).
        come_back = cache.arriving & ~cache.arrived & ~is_store & ~m_filling
        again = Signal()
        next_dword = Signal(30)
        m.d.comb += [
            next_dword.eq(m_dword),
            again.eq(advance | rewind
                     | (m_valid & ~m_have & ~m_faulted & (~m_looked | ((conflict | come_back) & ~m_translating)))),
        ]
        with m.If(advance):
            m.d.comb += next_dword.eq(m_linear[2:] + 1)
        with m.Elif(rewind):
            m.d.comb += next_dword.eq(m_linear[2:])
        # A register whose neighbour was read has not been read.
        wanted = Signal(8)
        look_dword = Signal(30)
        m.d.comb += [
            look_dword.eq(Mux(self.a_go, self.a_linear[2:], next_dword)),
            cache.look.eq((self.a_go | again) & ~walking),
            cache.look_word.eq(look_dword[:cache.word_bits]),
            tlb.go.eq(cache.looked),
            tlb.page.eq(look_dword[page_bits:]),
            tlb.asid.eq(control.asid),
            tlb.translate.eq(control.translates() & ~Mux(self.a_go, self.a_phys, m_phys)),
            cache.used.eq(live & hit),
            cache.used_word.eq(m_dword[:cache.word_bits]),
            wanted.eq(Mux(m_size == 0, 0b1, Mux(m_size == 1, 0b11, 0b1111)) << m_linear[:2]),
            cache.miss_addr.eq(Cat(Const(0, 2), m_dword[:page_bits], entry.frame)),
            cache.miss_mask.eq(Mux(m_high, wanted[4:], wanted[:4])),
        ]

        m.d.sync += m_looked.eq((cache.looked | (m_looked & ~again & ~self.a_go)) & ~cache.stale)
        with m.If(advance | rewind):
            m.d.sync += [m_high.eq(advance), m_dword.eq(next_dword), m_have.eq(0), m_filling.eq(0), m_reading.eq(0)]
        with m.If(rewind):
            m.d.sync += m_translating.eq(0)
        word = Signal(32)
        part = Signal(StorePart)
        m.d.comb += word.eq(Mux(m_have, m_held, cache.hit_data))
        with m.If(m_have):
            m.d.comb += part.eq(m_held_part)
        with m.Else():
            m.d.comb += [part.uncached.eq(~hit), part.way.eq(cache.hit_way), part.clean.eq(~cache.hit_dirty)]
        with m.If(advance):
            m.d.sync += [m_low.eq(word), m_low_frame.eq(entry.frame), m_low_part.eq(part)]
        with m.If(cache.taken):
            m.d.sync += [m_missed.eq(1), m_filling.eq(cache.fill), m_reading.eq(~cache.fill)]
        with m.If(cache.done):
            m.d.sync += m_filling.eq(0)
        # A result not taken at once is held, for the engine may read the arrays meanwhile.
        with m.If(live & ~advance & ~self.m_go):
            m.d.sync += [m_have.eq(1), m_held.eq(cache.hit_data), m_held_part.eq(part)]
        with m.If(cache.word_valid & (m_filling & ~is_store | m_reading)):
            m.d.sync += [m_have.eq(1), m_held.eq(cache.word)]

        # Translation misses.
        m.d.comb += [
            walker.d.valid.eq(walking),
            walker.d.page.eq(walk_page),
            walker.d.write.eq(walk_write),
            walker.d.user.eq(walk_user),
            tlb.fill.eq(walking & walker.d.done & (walker.d.outcome == Outcome.TRANSLATED)),
            tlb.filled.eq(walker.d.translation),
        ]
        with m.If(begin_walk):
            m.d.sync += [
                walking.eq(1),
                walk_live.eq(1),
                walk_page.eq(m_dword[page_bits:]),
                walk_write.eq(writes),
                walk_user.eq(m_user),
                m_tlb_missed.eq(1),
            ]
        with m.If(begin_walk | (cache.taken & ~cache.fill)):
            m.d.sync += self.m_walked.eq(1)
        with m.If(walking & walker.d.done):
            m.d.sync += [walking.eq(0), m_looked.eq(0)]
            with m.If(walk_live & (walker.d.outcome != Outcome.TRANSLATED)):
                m.d.sync += [
                    m_faulted.eq(1),
                    self.m_fault_code.eq(walker.d.fault_code),
                    self.m_fault_nested.eq(walker.d.outcome == Outcome.NESTED_FAULT),
                    self.m_fault_table.eq(walker.d.fault_table),
                    fault_gpa.eq(walker.d.fault_gpa),
                ]
            # The walk may have evicted the line that the first word of a store found.
            with m.If(walk_live & is_store & ~m_translating):
                m.d.sync += [m_high.eq(0), m_dword.eq(m_linear[2:])]

        # Into and out of M.
        a_end = Signal(4)
        m.d.comb += a_end.eq(self.a_linear[:2] + Mux(self.a_size == 0, 0, Mux(self.a_size == 1, 1, 3)))
        with m.If(self.m_go | self.m_kill):
            m.d.sync += [m_valid.eq(0), walk_live.eq(0)]
        with m.If(self.a_go):
            m.d.sync += [
                m_valid.eq(1),
                m_linear.eq(self.a_linear),
                m_dword.eq(self.a_linear[2:]),
                m_size.eq(self.a_size),
                m_kind.eq(self.a_kind),
                m_user.eq(self.a_user),
                m_phys.eq(self.a_phys),
                m_cross.eq(a_end[2]),
                m_translating.eq(a_end[2] & self.a_linear[2:12].all()),
                m_high.eq(0),
                m_have.eq(0),
                m_faulted.eq(0),
                m_filling.eq(0),
                m_reading.eq(0),
                m_missed.eq(0),
                m_tlb_missed.eq(0),
                self.m_walked.eq(0),
            ]
        shifted = Signal(64)
        low_frame = Mux(m_cross, m_low_frame, entry.frame)
        m.d.comb += [
            shifted.eq(Cat(Mux(m_cross, m_low, word), word) >> Cat(Const(0, 3), m_linear[:2])),
            self.m_data.eq(Mux(m_size == 0, shifted[:8], Mux(m_size == 1, shifted[:16], shifted[:32]))),
            self.m_paddr.eq(Cat(m_linear[:12], low_frame)),
            self.m_fault.eq(m_faulted),
            self.m_fault_linear.eq(Mux(m_high, Cat(Const(0, 2), m_dword), m_linear)),
            self.m_fault_gpa.eq(Mux(self.m_fault_table, fault_gpa, Cat(self.m_fault_linear[:12], fault_gpa[12:]))),
        ]

        # X.
        take = Signal()
        m.d.comb += [
            take.eq(self.m_go & m_valid & is_store),
            store.take.eq(take),
            store.low.eq(Mux(m_cross, m_low_part.as_value(), part.as_value())),
            store.high.eq(part),
            store.paddr.eq(self.m_paddr),
            store.high_frame.eq(entry.frame),
            store.size.eq(m_size),
            store.cross.eq(m_cross),
            store.commit.eq(self.x_commit),
            store.kill.eq(self.x_kill),
            store.value.eq(self.x_data),
            self.x_ready.eq(store.ready),
            self.x_store.eq(store.waiting),
            cache.pending.eq(store.pending),
            cache.pending_any.eq(store.pending_any),
            cache.pending_word.eq(store.pending_word),
            # Its own walk makes a store look up again; that of the instruction side must not come between.
            cache.holding.eq(m_valid & is_store & ~walking & (m_looked | m_have | m_high)),
            cache.noticed.eq(m_valid & is_store & m_high & ~m_translating),
            cache.write.eq(store.write),
            cache.write_way.eq(store.write_way),
            cache.write_clean.eq(store.write_clean),
            cache.write_word.eq(store.write_word),
            cache.write_mask.eq(store.write_mask),
            cache.write_data.eq(store.write_data),
            store.write_ready.eq(cache.write_ready),
            cache.store.eq(store.store),
            cache.store_addr.eq(store.store_addr),
            cache.store_mask.eq(store.store_mask),
            cache.store_data.eq(store.store_data),
            store.store_done.eq(cache.store_done),
            self.store_valid.eq(self.x_commit & store.waiting),
            self.store_paddr.eq(store.x_paddr),
            self.store_paddr_hi.eq(store.x_paddr_hi),
            self.store_size.eq(store.x_size),
            self.store_data.eq(self.x_data),
        ]

        m.d.comb += [
            notices.begin.eq(self.a_go),
            notices.take.eq(take),
            notices.first.eq(advance & is_store & ~m_translating),
            notices.kill.eq(self.m_kill),
            notices.at_second.eq(m_valid & m_high & ~m_translating),
            notices.line.eq(Cat(m_dword[3:page_bits], entry.frame)),
            notices.other.eq(cache.snoop_write),
            notices.other_line.eq(cache.snoop_line),
            cache.snoop_busy.eq(notices.busy),
            self.snoop_hit.eq(notices.hit),
        ]

        cleaning = Signal()
        with m.If(self.wbinvd):
            m.d.sync += cleaning.eq(1)
        with m.Elif(cache.clean_done):
            m.d.sync += cleaning.eq(0)
        m.d.comb += [
            cache.clean.eq(cleaning),
            self.idle.eq(store.idle & ~cache.busy & ~walking & ~cleaning & ~self.wbinvd),
        ]

        leaves = Signal()
        m_is_store = Signal()
        waits = Signal()
        m.d.comb += [
            leaves.eq(self.m_go & m_valid),
            m_is_store.eq(is_store),
            waits.eq(m_valid & ~self.m_done),
            self.events.load_hit.eq(leaves & ~m_is_store & ~m_missed),
            self.events.load_miss.eq(leaves & ~m_is_store & m_missed),
            self.events.store_hit.eq(leaves & m_is_store & ~m_missed),
            self.events.store_miss.eq(leaves & m_is_store & m_missed),
            self.events.tlb_hit.eq(leaves & control.translates() & ~m_phys & ~m_tlb_missed),
            self.events.tlb_miss.eq(leaves & control.translates() & ~m_phys & m_tlb_missed),
            self.events.misaligned.eq(leaves & m_cross),
            self.events.writeback.eq(cache.writeback),
            self.events.walk_d.eq(walker.reference_d),
            self.events.walk_i.eq(walker.reference_i),
            self.events.walk_update.eq(walker.update),
            self.events.walk_cache_hit.eq(walker.cache_hit),
            self.events.walk_cache_miss.eq(walker.cache_miss),
            self.events.walk_nested_d.eq(walker.nested_reference_d),
            self.events.walk_nested_i.eq(walker.nested_reference_i),
            self.events.nested_cache_hit.eq(walker.nested_cache_hit),
            self.events.nested_cache_miss.eq(walker.nested_cache_miss),
            self.events.nested_tlb_hit.eq(walker.nested_tlb_hit),
            self.events.nested_tlb_miss.eq(walker.nested_tlb_miss),
            self.events.wait_walk.eq(waits & (walking | (active & ~translated))),
            self.events.wait_memory.eq(waits & (m_filling | m_reading | cache.fill | cache.read)),
            self.events.wait_store.eq(waits & active & translated & conflict),
        ]
        return m
