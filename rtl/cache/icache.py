"""Instruction cache with its TLB."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from rtl.bus.memory import is_cacheable
from rtl.cache.codewatch import CodeWatch
from rtl.cache.config import LINE_BYTES, WAYS, CacheConfig
from rtl.cache.fill import LineFill
from rtl.cache.port import RequestPort, SnoopPort
from rtl.mmu.config import MmuConfig
from rtl.mmu.control import PagingControl, TlbMaintenance
from rtl.mmu.tlb import Tlb
from rtl.mmu.walkport import Outcome, WalkPort

__all__ = ["ICache"]

LINE_BITS = exact_log2(LINE_BYTES)
PAGE_BITS = 12


class ICache(wiring.Component):
    """Two-way instruction cache, read by aligned 8-byte chunks, with 32-byte lines, virtually indexed, physically
    tagged, and the instruction TLB looked up in parallel.

    1. ``f_go`` begins an access to chunk ``f_linear`` at the clock edge. ``r_done`` answers from the next cycle on,
       with ``r_data`` or ``r_fault``. ``r_take`` or ``r_kill`` ends the access; ``f_go`` may begin the next one in
       the same cycle, and comes at no other time while an access is under way. ``r_take`` is given only with
       ``r_done``. While the answer is not taken ``r_done`` may fall again for a time.
    2. A miss fills the line through ``refill``, from the chunk asked for on. Chunks are given as they arrive. A fill
       goes on when its access is killed; other lines are served meanwhile.
    3. A page walk, or reading what may not be cached, has effects in memory and happens only while ``may_walk``; the
       access that used it has ``r_walked``. A translation without permission is walked again before it is a fault.
    4. Killing an access does not cancel a walk or a read under way; only its result is dropped.
    5. ``snoop`` gives notice of a line written (`SnoopPort`): it is invalidated.
    6. ``invalidate`` empties the cache (not the TLB); ``invalidating`` is 1 while that lasts, and no access is
       answered. ``maintenance`` and changes of ``control`` or ``user`` are obeyed by accesses begun in the cycle
       after them and later ones.

    Parameters
    ----------
    cache : CacheConfig
    mmu : MmuConfig

    Members
    -------
    f_go, f_linear : In
        Access; linear address without its 3 low bits.
    r_done, r_data, r_fault, r_fault_code, r_fault_nested, r_fault_table, r_fault_gpa, r_walked : Out
        Answer; ``r_fault_*`` are as in the `WalkPort`, and stay until the next fault. ``r_fault_nested``: it is #NPF.
    r_take, r_kill : In
        End of the access.
    may_walk, user : In(1)
        See rule 3; the access is made at CPL 3.
    control : In(PagingControl)
    maintenance : In(TlbMaintenance())
    ram_pages : In(20)
        Size of RAM in pages; only RAM is cached.
    refill : Out(RequestPort())
    walk : Out(WalkPort())
    snoop : In(SnoopPort())
    invalidate, invalidating : In, Out
    p_hit, p_miss, p_itlb_hit, p_itlb_miss : Out(1)
        Pulses: access answered from the cache, line (or uncached chunk) requested, page found in the TLB, page walked.
    """

    def __init__(self, cache: CacheConfig | None = None, mmu: MmuConfig | None = None):
        self.sets = (cache or CacheConfig()).icache_bytes // (WAYS * LINE_BYTES)
        self.mmu = mmu or MmuConfig()
        super().__init__({
            "f_go": In(1),
            "f_linear": In(29),
            "r_done": Out(1),
            "r_data": Out(64),
            "r_fault": Out(1),
            "r_fault_code": Out(5),
            "r_fault_nested": Out(1),
            "r_fault_table": Out(1),
            "r_fault_gpa": Out(32),
            "r_walked": Out(1),
            "r_take": In(1),
            "r_kill": In(1),
            "may_walk": In(1),
            "user": In(1),
            "control": In(PagingControl),
            "maintenance": In(TlbMaintenance()),
            "ram_pages": In(20),
            "refill": Out(RequestPort()),
            "walk": Out(WalkPort()),
            "snoop": In(SnoopPort()),
            "invalidate": In(1),
            "invalidating": Out(1),
            "p_hit": Out(1),
            "p_miss": Out(1),
            "p_itlb_hit": Out(1),
            "p_itlb_miss": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        set_bits = exact_log2(self.sets)
        tag_bits = 32 - LINE_BITS - set_bits
        row = data.StructLayout({"valid": 1, "tag": tag_bits})

        m.submodules.tlb = tlb = Tlb(entries=self.mmu.itlb_entries, large_entries=self.mmu.large_entries)
        m.submodules.watch = watch = CodeWatch()
        m.submodules.fill = fill = LineFill()
        m.submodules.tags = tags = Memory(shape=data.ArrayLayout(row, WAYS), depth=self.sets, init=[])
        m.submodules.older = older = Memory(shape=1, depth=self.sets, init=[])
        banks = [Memory(shape=64, depth=4 * self.sets, init=[]) for _ in range(WAYS)]
        for way, bank in enumerate(banks):
            m.submodules[f"data{way}"] = bank
        connect(m, fill.refill, flipped(self.refill))
        connect(m, watch.snoop, flipped(self.snoop))
        connect(m, tlb.maintenance, flipped(self.maintenance))

        def line_set(line):
            return line[:set_bits]

        # F: read everything by the linear address. `reread` repeats a look-up whose answer is out of date.
        r_linear = Signal(29)
        reread = Signal()
        read = Signal()
        read_chunk = Signal(29)
        f_tags = tags.read_port()
        f_older = older.read_port()
        f_data = [bank.read_port() for bank in banks]
        m.d.comb += [
            read.eq(self.f_go | reread),
            read_chunk.eq(Mux(self.f_go, self.f_linear, r_linear)),
            tlb.go.eq(read),
            tlb.page.eq(read_chunk[PAGE_BITS - 3:]),
            tlb.asid.eq(self.control.asid),
            tlb.translate.eq(self.control.translates()),
            f_tags.en.eq(read),
            f_tags.addr.eq(line_set(read_chunk[2:])),
            f_older.en.eq(read),
            f_older.addr.eq(line_set(read_chunk[2:])),
        ]
        for port in f_data:
            m.d.comb += [port.en.eq(read), port.addr.eq(read_chunk[:set_bits + 2])]

        # R: what was read, and whether it still stands.
        r_valid = Signal()
        r_fresh = Signal()       # tags and translation have not changed since they were read
        r_arrived = Signal()     # the chunk was in the line being filled when it was read
        r_uncached = Signal()    # the answer is in the buffer of the fill unit, not in the cache
        disturbed = Signal()
        with m.If(self.f_go):
            m.d.sync += [r_linear.eq(self.f_linear), r_valid.eq(1)]
        with m.Elif(self.r_take | self.r_kill):
            m.d.sync += r_valid.eq(0)
        with m.If(read):
            m.d.sync += [
                r_fresh.eq(~disturbed),
                r_arrived.eq(fill.arrived.bit_select(read_chunk[:2], 1)),
            ]
        with m.Elif(disturbed):
            m.d.sync += r_fresh.eq(0)

        r_line = Signal(27)
        r_looked_up = Signal()
        translated = Signal()
        way_hit = Signal(WAYS)
        filling = Signal()
        line_hit = Signal()
        buffered = Signal()
        m.d.comb += [
            r_line.eq(Cat(r_linear[2:PAGE_BITS - 3], tlb.translation.frame)),
            r_looked_up.eq(r_valid & r_fresh & ~self.r_fault & ~r_uncached),
            translated.eq(tlb.hit & (tlb.translation.user | ~self.user)),
            way_hit.eq(Cat(f_tags.data[way].as_value() == Cat(1, r_line[set_bits:]) for way in range(WAYS))),
            line_hit.eq(r_looked_up & translated & way_hit.any()),
            # Tags are written when a fill begins: a hit in that place must wait for its chunk.
            filling.eq((line_set(fill.line) == line_set(r_line)) & (fill.way == way_hit[1]) & ~r_arrived),
            buffered.eq(fill.b_valid & (fill.b_chunk == r_linear[:2])),
            self.r_done.eq(self.r_fault | r_uncached | (line_hit & (~filling | buffered))),
            self.r_data.eq(Mux(r_uncached | filling, fill.b_data, Mux(way_hit[1], f_data[1].data, f_data[0].data))),
        ]

        # Translation misses.
        walking = Signal()
        walk_wanted = Signal()   # the access that asked for the walk still waits for it
        walk_start = Signal()
        m.d.comb += [
            walk_start.eq(r_looked_up & ~translated & self.may_walk & ~walking & ~self.r_kill),
            self.walk.valid.eq(walking),
            tlb.filled.eq(self.walk.translation),
            tlb.fill.eq(walking & walk_wanted & self.walk.done & (self.walk.outcome == Outcome.TRANSLATED)),
        ]
        with m.If(walk_start):
            m.d.sync += [
                walking.eq(1),
                self.walk.page.eq(r_linear[PAGE_BITS - 3:]),
                self.walk.user.eq(self.user),
            ]
        with m.Elif(self.walk.done):
            m.d.sync += walking.eq(0)
        m.d.sync += walk_wanted.eq((walk_wanted & ~self.walk.done & ~self.r_kill) | walk_start)

        # Line misses. An invalid way is filled first.
        miss = Signal()
        cacheable = Signal()
        fill_way = Signal()
        sweeping = Signal()
        fill_start = Signal()
        uncached_start = Signal()
        m.d.comb += [
            miss.eq(r_looked_up & translated & ~way_hit.any() & ~fill.busy & ~self.r_kill),
            cacheable.eq(is_cacheable(tlb.translation.frame, self.ram_pages)
                         & ~tlb.translation.uncached & ~self.control.cache_disable),
            fill_way.eq(f_tags.data[0].valid & (~f_tags.data[1].valid | f_older.data)),
            fill_start.eq(miss & cacheable & ~sweeping & ~watch.w_valid),
            uncached_start.eq(miss & ~cacheable & self.may_walk),
            fill.go.eq(fill_start | uncached_start),
            fill.go_line.eq(r_line),
            fill.go_chunk.eq(r_linear[:2]),
            fill.go_way.eq(fill_way),
            fill.go_uncached.eq(uncached_start),
            fill.forget.eq(self.r_kill),
        ]
        victim_valid = Mux(fill_way, f_tags.data[1].valid, f_tags.data[0].valid)
        victim_tag = Mux(fill_way, f_tags.data[1].tag, f_tags.data[0].tag)
        m.d.comb += [
            watch.e_go.eq((fill_start & victim_valid) | uncached_start),
            watch.e_line.eq(Mux(uncached_start, r_line, Cat(line_set(r_line), victim_tag))),
        ]
        with m.If(self.r_take | self.r_kill):
            m.d.sync += [self.r_fault.eq(0), r_uncached.eq(0), self.r_walked.eq(0)]
        with m.Else():
            with m.If(walk_start | uncached_start):
                m.d.sync += self.r_walked.eq(1)
            with m.If(fill.uncached_done):
                m.d.sync += r_uncached.eq(1)
            with m.If(walking & walk_wanted & self.walk.done & (self.walk.outcome != Outcome.TRANSLATED)):
                m.d.sync += [
                    self.r_fault.eq(1),
                    self.r_fault_code.eq(self.walk.fault_code),
                    self.r_fault_nested.eq(self.walk.outcome == Outcome.NESTED_FAULT),
                    self.r_fault_table.eq(self.walk.fault_table),
                    self.r_fault_gpa.eq(self.walk.fault_gpa),
                ]
        m.d.comb += reread.eq(r_valid & ~self.r_fault & ~r_uncached & ~self.f_go & ~self.r_kill & (
            ~r_fresh | (line_hit & filling & ~buffered & fill.arrived.bit_select(r_linear[:2], 1))))

        for way, bank in enumerate(banks):
            port = bank.write_port()
            m.d.comb += [
                port.en.eq(fill.write & (fill.way == way)),
                port.addr.eq(Cat(fill.write_chunk, line_set(fill.line))),
                port.data.eq(fill.write_data),
            ]

        # Replacement: written only when it changes.
        older_port = older.write_port()
        m.d.comb += [
            older_port.en.eq(self.r_take & line_hit & (f_older.data == way_hit[1])),
            older_port.addr.eq(line_set(r_line)),
            older_port.data.eq(~way_hit[1]),
        ]

        # Tags: invalidation of a written line, then emptying, then a new line.
        w_tags = tags.read_port()
        tag_port = tags.write_port(granularity=1)
        sweep_set = Signal(set_bits)
        w_match = Signal(WAYS)
        m.d.comb += [
            w_tags.en.eq(self.snoop.valid),
            w_tags.addr.eq(line_set(self.snoop.line)),
            w_match.eq(Cat(w_tags.data[way].as_value() == Cat(1, watch.w_line[set_bits:]) for way in range(WAYS))),
            watch.tag_hit.eq(w_match.any()),
            self.invalidating.eq(sweeping),
            disturbed.eq(tag_port.en.any() | sweeping | self.invalidate | tlb.fill),
        ]
        for way in range(WAYS):
            m.d.comb += tag_port.data[way].tag.eq(r_line[set_bits:])
        with m.If(watch.w_valid):
            m.d.comb += [tag_port.addr.eq(line_set(watch.w_line)), tag_port.en.eq(w_match)]
        with m.Elif(sweeping):
            m.d.comb += [tag_port.addr.eq(sweep_set), tag_port.en.eq(3)]
            m.d.sync += [sweep_set.eq(sweep_set + 1), sweeping.eq(~sweep_set.all())]
        with m.Else():
            m.d.comb += [
                tag_port.addr.eq(line_set(r_line)),
                tag_port.en.eq(Cat(fill_start & ~fill_way, fill_start & fill_way)),
                tag_port.data[0].valid.eq(1),
                tag_port.data[1].valid.eq(1),
            ]
        with m.If(self.invalidate):
            m.d.sync += [sweeping.eq(1), sweep_set.eq(0)]

        r_missed = Signal()
        with m.If(self.f_go):
            m.d.sync += r_missed.eq(0)
        with m.Elif(fill.go):
            m.d.sync += r_missed.eq(1)
        m.d.comb += [
            self.p_hit.eq(self.r_take & ~self.r_fault & ~r_missed),
            self.p_miss.eq(fill.go),
            self.p_itlb_hit.eq(self.r_take & self.control.translates() & ~self.r_walked),
            self.p_itlb_miss.eq(walk_start),
        ]
        return m
