"""Translation look-aside buffer."""

from functools import reduce
from operator import or_

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.mmu.control import TlbMaintenance
from rtl.mmu.walkport import Translation

__all__ = ["Tlb"]


class Tlb(wiring.Component):
    """Two-way set-associative TLB for 4 KiB pages with a few fully associative entries for 4 MiB pages.

    1. `page`, `asid` and `translate` are sampled at the edge where `go` is 1; `hit` and `translation` answer from the
       next cycle on, until the next `go`.
    2. With `translate` 0 the answer is the identity, with every permission.
    3. `fill` stores `filled` as the translation of the page last looked up, replacing whatever that look-up hit. The
       answer of that look-up is not refreshed: look up again, from the cycle after `fill` on.
    4. An invalidation pulse does not refresh the answer either. `fill` never coincides with one.
    5. `inv_page` forgets the whole set, of all address spaces, and the pieces of any 4 MiB page of its address space:
       that of the page may be in every set.

    Parameters
    ----------
    entries : int
        Number of 4 KiB translations.
    large_entries : int
        Number of 4 MiB translations.

    Members
    -------
    go, translate : In(1)
    page : In(20)
        Linear page number.
    asid : In(4)
    hit : Out(1)
    translation : Out(Translation)
        Without `shared` and `piece`, which only invalidation needs.
    fill : In(1)
    filled : In(Translation)
    maintenance : In(TlbMaintenance())
    """

    def __init__(self, *, entries, large_entries=4):
        self._set_bits = exact_log2(entries // 2)
        self._large = large_entries
        super().__init__({
            "go": In(1),
            "translate": In(1),
            "page": In(20),
            "asid": In(4),
            "hit": Out(1),
            "translation": Out(Translation),
            "fill": In(1),
            "filled": In(Translation),
            "maintenance": In(TlbMaintenance()),
        })

    def elaborate(self, platform):
        m = Module()
        set_bits = self._set_bits
        sets = 1 << set_bits
        tag_bits = 20 - set_bits + 4
        row_shape = data.StructLayout({
            "tag": tag_bits, "frame": 20, "user": 1, "writable": 1, "dirty": 1, "uncached": 1,
        })

        l_page = Signal(20)
        l_asid = Signal(4)
        l_translate = Signal()
        l_set = l_page[:set_bits]
        l_tag = Cat(l_page[set_bits:], l_asid)
        go_set = self.page[:set_bits]
        with m.If(self.go):
            m.d.sync += [l_page.eq(self.page), l_asid.eq(self.asid), l_translate.eq(self.translate)]

        kept = self.maintenance
        page_set = kept.inv_linear[12:12 + set_bits]
        fill_small = self.fill & ~self.filled.large
        fill_large = self.fill & self.filled.large
        # Changes stay behind one condition, which spares a simulator the work.
        invalidates = Signal()
        changes = Signal()
        m.d.comb += [
            invalidates.eq(kept.inv_all | kept.inv_asid | kept.inv_nonglobal | kept.inv_page),
            changes.eq(invalidates | self.fill),
        ]

        # One bit of a register, written by a mask: simulated far faster than an addressed bit.
        at = Signal(sets)
        m.d.comb += at.eq(1 << l_set)

        def put(register, value):
            return register.eq(Mux(value, register | at, register & ~at))

        rows, hits, valids = [], [], []
        next_victim = Signal(sets)
        victim = Signal()
        for way in range(2):
            memory = Memory(shape=row_shape, depth=sets, init=[])
            m.submodules[f"way{way}"] = memory
            read = memory.read_port()
            write = memory.write_port()
            valid = Signal(sets, name=f"valid{way}")
            asids = [Signal(sets, name=f"asid{way}_{bit}") for bit in range(4)]
            shared, pieces = Signal(sets, name=f"shared{way}"), Signal(sets, name=f"pieces{way}")
            l_valid = Signal(name=f"l_valid{way}")
            hit = Signal(name=f"hit{way}")
            replaced = Signal(name=f"replaced{way}")
            row = read.data
            m.d.comb += [
                read.addr.eq(go_set),
                read.en.eq(self.go & self.translate),
                hit.eq(l_translate & l_valid & (row.tag == l_tag)),
                write.addr.eq(l_set),
                write.data.tag.eq(l_tag),
                write.data.frame.eq(self.filled.frame),
                write.data.user.eq(self.filled.user),
                write.data.writable.eq(self.filled.writable),
                write.data.dirty.eq(self.filled.dirty),
                write.data.uncached.eq(self.filled.uncached),
                replaced.eq(victim if way else ~victim),
                write.en.eq(fill_small & replaced),
            ]
            with m.If(self.go):
                m.d.sync += l_valid.eq(valid.bit_select(go_set, 1))
            others = Signal(sets, name=f"others{way}")  # entries of other address spaces
            m.d.comb += others.eq(reduce(or_, (plane ^ kept.asid[bit].replicate(sets)
                                               for bit, plane in enumerate(asids))))
            with m.If(changes):
                with m.If(write.en):
                    m.d.sync += [put(shared, self.filled.shared), put(pieces, self.filled.piece)]
                    m.d.sync += [put(plane, l_asid[bit]) for bit, plane in enumerate(asids)]
                with m.If(kept.inv_all):
                    m.d.sync += valid.eq(0)
                with m.Elif(kept.inv_asid):
                    m.d.sync += valid.eq(valid & others)
                with m.Elif(kept.inv_nonglobal):
                    m.d.sync += valid.eq(valid & (others | shared))
                with m.Elif(kept.inv_page):
                    m.d.sync += valid.eq(valid & ~(1 << page_set) & (others | ~pieces))
                with m.Elif(write.en | (fill_large & hit)):
                    m.d.sync += put(valid, write.en)
            rows.append(row)
            hits.append(hit)
            valids.append(l_valid)

        # The entry that hit without sufficing must go, or the page would be held twice.
        m.d.comb += victim.eq(Mux(hits[0] | hits[1], hits[1],
                                  Mux(valids[0] & valids[1], next_victim.bit_select(l_set, 1), valids[0])))
        with m.If(fill_small):
            m.d.sync += put(next_victim, ~victim)

        large_hits = []
        large_hit = Signal()
        large_next = Signal(range(self._large))
        large_values = []
        entry_shape = data.StructLayout({
            "tag": 14, "frame": 10, "user": 1, "writable": 1, "dirty": 1, "uncached": 1, "shared": 1,
        })
        for index in range(self._large):
            entry = Signal(entry_shape, name=f"large{index}")
            hit = Signal(name=f"large_hit{index}")
            valid = Signal(name=f"large_valid{index}")
            written = Signal(name=f"large_written{index}")
            m.d.comb += [
                hit.eq(l_translate & valid & (entry.tag == Cat(l_page[10:], l_asid))),
                written.eq(fill_large & Mux(large_hit, hit, large_next == index)),
            ]
            with m.If(changes & written):
                m.d.sync += [
                    entry.tag.eq(Cat(l_page[10:], l_asid)),
                    entry.frame.eq(self.filled.frame[10:]),
                    entry.user.eq(self.filled.user),
                    entry.writable.eq(self.filled.writable),
                    entry.dirty.eq(self.filled.dirty),
                    entry.uncached.eq(self.filled.uncached),
                    entry.shared.eq(self.filled.shared),
                ]
            with m.If(changes):
                with m.If(invalidates):
                    with m.If(kept.inv_all | (entry.tag[10:] == kept.asid) & (
                            kept.inv_asid | (kept.inv_nonglobal & ~entry.shared)
                            | (kept.inv_page & (entry.tag[:10] == kept.inv_linear[22:])))):
                        m.d.sync += valid.eq(0)
                with m.Elif(written | (fill_small & hit)):
                    m.d.sync += valid.eq(written)
            large_hits.append(hit)
            large_values.append(entry)
        m.d.comb += large_hit.eq(Cat(large_hits).any())
        with m.If(fill_large & ~large_hit):
            m.d.sync += large_next.eq(Mux(large_next == self._large - 1, 0, large_next + 1))

        answer = self.translation
        with m.If(~l_translate):
            m.d.comb += [
                self.hit.eq(1),
                answer.frame.eq(l_page),
                answer.user.eq(1),
                answer.writable.eq(1),
                answer.dirty.eq(1),
            ]
        with m.Elif(large_hit):
            m.d.comb += self.hit.eq(1)
            for index, entry in enumerate(large_values):
                with m.If(large_hits[index]):
                    m.d.comb += [
                        answer.frame.eq(Cat(l_page[:10], entry.frame)),
                        answer.user.eq(entry.user),
                        answer.writable.eq(entry.writable),
                        answer.dirty.eq(entry.dirty),
                        answer.uncached.eq(entry.uncached),
                        answer.large.eq(1),
                    ]
        with m.Else():
            row = Signal(row_shape)
            m.d.comb += [
                self.hit.eq(hits[0] | hits[1]),
                row.eq(Mux(hits[1], rows[1].as_value(), rows[0].as_value())),
                answer.frame.eq(row.frame),
                answer.user.eq(row.user),
                answer.writable.eq(row.writable),
                answer.dirty.eq(row.dirty),
                answer.uncached.eq(row.uncached),
            ]
        return m
