"""Page walker for 32-bit paging."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.cache.port import RequestPort
from rtl.isa.layout import shape
from rtl.isa.paging import LargePageEntry, PageTableEntry
from rtl.mmu.control import PagingControl, TlbMaintenance
from rtl.mmu.walkcache import WalkCache
from rtl.mmu.walkport import Outcome, WalkPort

__all__ = ["Walker"]


class Walker(wiring.Component):
    """Walk two-level page tables on behalf of the data and the instruction TLB.

    Intel SDM vol. 3A, 4.3 (32-bit paging), 4.6 (access rights), 4.7 (error code), 4.8 (accessed and dirty flags).

    1. One walk at a time; the data side is preferred.
    2. All levels are read, then permissions are checked: U/S and R/W are the AND of the levels; a supervisor write
       ignores R/W when CR0.WP is 0. A 4 MiB entry with any of bits 21:12 set faults with RSVD (no PAT, no PSE-36).
    3. A faulting walk writes nothing. An allowed one sets A where it lacks, directory first, and D in the leaf if the
       access writes, each by a locked read and write. If the locked read finds another value than the walk did, the
       walk begins anew.
    4. The walk cache holds directory entries. A walk that would fault after taking one from there is done again
       without it, so that a page fault is always decided by memory. Any maintenance pulse empties the walk cache.
    5. A `fault` on the backing port ends the walk with `Outcome.NESTED_FAULT`.
    6. `at_directory` tells which entry the request on the backing port is for. A locked read, or a write, is of the
       entry of that level which this walk has read last.

    Parameters
    ----------
    walk_cache_entries : int
        Size of the walk cache; 0 for none.

    Members
    -------
    d, i : In(WalkPort())
        Requests of the data and of the instruction side.
    backing : Out(RequestPort())
        Memory that holds the page tables, or another translation on the way to it.
    control : In(PagingControl)
    maintenance : In(TlbMaintenance())
    for_i : Out(1)
        The walk in progress is the instruction side's.
    at_directory : Out(1)
    reference : Out(1)
        Pulse for each entry a walk reads.
    update : Out(1)
        Pulse for each entry whose A or D is set.
    cache_hit, cache_miss : Out(1)
        Pulse for each directory entry found in the walk cache, or read although there is one.
    """

    def __init__(self, *, walk_cache_entries):
        self._walk_cache_entries = walk_cache_entries
        super().__init__({
            "d": In(WalkPort()),
            "i": In(WalkPort()),
            "backing": Out(RequestPort()),
            "control": In(PagingControl),
            "maintenance": In(TlbMaintenance()),
            "for_i": Out(1),
            "at_directory": Out(1),
            "reference": Out(1),
            "update": Out(1),
            "cache_hit": Out(1),
            "cache_miss": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        backing, control = self.backing, self.control

        for_i = self.for_i
        page = Signal(20)
        write = Signal()
        user = Signal()

        directory = Signal(shape(PageTableEntry))
        table = Signal(shape(PageTableEntry))
        is_large = Signal()
        from_cache = Signal()
        may_use_cache = Signal()

        answer = shape(PageTableEntry)(backing.rdata)
        waiting = Signal()
        directory_address = Cat(Const(0, 2), page[10:], control.cr3_base)

        begin = Signal()
        cached_hit, cached_entry, inserted = self._walk_cache(m, begin, directory)

        # Walk checks, over the registers the entries were read into.
        leaf = Signal(shape(PageTableEntry))
        table_address = Cat(Const(0, 2), page[:10], directory.frame)
        user_ok = Signal()
        write_ok = Signal()
        present = Signal()
        reserved = Signal()
        allowed = Signal()
        permit = Signal(shape(PageTableEntry))
        m.d.comb += [
            leaf.eq(Mux(is_large, directory.as_value(), table.as_value())),
            permit.us.eq(directory.us & (is_large | table.us)),
            permit.rw.eq(directory.rw & (is_large | table.rw)),
            present.eq(directory.p & (is_large | table.p)),
            reserved.eq(is_large & shape(LargePageEntry)(directory.as_value()).has_reserved()),
            user_ok.eq(permit.us | ~user),
            write_ok.eq(permit.rw | ~write | (~user & ~control.wp)),
            allowed.eq(present & ~reserved & user_ok & write_ok),
        ]
        new_directory = Signal(shape(PageTableEntry))
        new_table = Signal(shape(PageTableEntry))
        m.d.comb += [
            new_directory.eq(directory),
            new_directory.a.eq(1),
            new_table.eq(table),
            new_table.a.eq(1),
        ]
        with m.If(write & is_large):
            m.d.comb += new_directory.d.eq(1)
        with m.If(write):
            m.d.comb += new_table.d.eq(1)
        directory_is_old = directory.as_value() != new_directory.as_value()
        table_is_old = ~is_large & (table.as_value() != new_table.as_value())

        done = Signal()
        outcome = Signal(Outcome)
        for side, selected in ((self.d, ~for_i), (self.i, for_i)):
            m.d.comb += [
                side.done.eq(done & selected),
                side.outcome.eq(outcome),
                side.fault_code.eq(Cat(present, write, user, reserved & present)),
                side.translation.frame.eq(Mux(is_large, Cat(page[:10], directory.frame[10:]), table.frame)),
                side.translation.user.eq(permit.us),
                side.translation.writable.eq(permit.rw),
                side.translation.dirty.eq(leaf.d | write),
                side.translation.uncached.eq(leaf.pcd),
                side.translation.shared.eq(leaf.g & control.pge),
                side.translation.large.eq(is_large),
            ]

        m.d.comb += [
            backing.mask.eq(0xF),
            self.reference.eq(backing.valid & backing.ready & ~backing.lock & ~backing.write),
            self.update.eq(backing.valid & backing.ready & backing.write),
        ]

        def read(address, *, lock=0):
            """Ask for the word at `address`; true in the cycle it comes."""
            m.d.comb += [
                backing.valid.eq(~waiting),
                backing.addr.eq(address),
                backing.lock.eq(lock),
            ]
            with m.If(backing.valid & backing.ready):
                m.d.sync += waiting.eq(1)
            with m.If(backing.rvalid | backing.fault):
                m.d.sync += waiting.eq(0)
            with m.If(backing.fault):
                m.next = "BACKING FAULT"
            return backing.rvalid

        def set_flags(address, old, following):
            """Locked read, comparison and write of one entry."""
            with m.If(read(address, lock=1)):
                with m.If(backing.rdata == old.as_value()):
                    m.next = f"WRITE {following}"
                with m.Else():
                    m.d.sync += may_use_cache.eq(0)
                    m.next = "DIRECTORY"

        def write_back(address, new, following):
            m.d.comb += [
                backing.valid.eq(1),
                backing.write.eq(1),
                backing.addr.eq(address),
                backing.wdata.eq(new),
            ]
            with m.If(backing.ready):
                m.next = following

        # An idle walker stays behind one condition, which spares a simulator the work.
        active = Signal()
        with m.If(active):
            with m.FSM() as fsm:
                with m.State("IDLE"):
                    for side, chosen in ((self.i, 1), (self.d, 0)):
                        with m.If(side.valid):
                            m.d.sync += [
                                for_i.eq(chosen),
                                page.eq(side.page),
                                write.eq(side.write),
                                user.eq(side.user),
                            ]
                    with m.If(self.d.valid | self.i.valid):
                        m.d.comb += begin.eq(1)
                        m.d.sync += [may_use_cache.eq(1), from_cache.eq(0)]
                        m.next = "DIRECTORY"
                with m.State("DIRECTORY"):
                    m.d.comb += self.at_directory.eq(1)
                    m.d.sync += [is_large.eq(0), from_cache.eq(0)]
                    with m.If(may_use_cache & cached_hit & ~waiting):
                        m.d.comb += self.cache_hit.eq(1)
                        m.d.sync += [directory.eq(cached_entry), from_cache.eq(1)]
                        m.next = "TABLE"
                    with m.Else():
                        if self._walk_cache_entries:
                            m.d.comb += self.cache_miss.eq(backing.valid & backing.ready)
                        with m.If(read(directory_address)):
                            m.d.sync += [
                                directory.eq(answer),
                                is_large.eq(answer.is_leaf(1, control.pse)),
                                table.eq(0),
                            ]
                            with m.If(answer.p & ~answer.is_leaf(1, control.pse)):
                                m.next = "TABLE"
                            with m.Else():
                                m.next = "CHECK"
                with m.State("TABLE"):
                    with m.If(read(table_address)):
                        m.d.sync += table.eq(answer)
                        m.next = "CHECK"
                with m.State("CHECK"):
                    with m.If(~allowed & from_cache):
                        m.d.sync += may_use_cache.eq(0)
                        m.next = "DIRECTORY"
                    with m.Elif(~allowed):
                        m.d.comb += [done.eq(1), outcome.eq(Outcome.PAGE_FAULT)]
                        m.next = "IDLE"
                    with m.Elif(directory_is_old & ~from_cache):
                        m.next = "LOCK DIRECTORY"
                    with m.Elif(table_is_old):
                        m.next = "LOCK TABLE"
                    with m.Else():
                        m.d.comb += [done.eq(1), inserted.eq(~is_large & ~from_cache)]
                        m.next = "IDLE"
                with m.State("LOCK DIRECTORY"):
                    m.d.comb += self.at_directory.eq(1)
                    set_flags(directory_address, directory, "DIRECTORY")
                with m.State("WRITE DIRECTORY"):
                    m.d.comb += self.at_directory.eq(1)
                    write_back(directory_address, new_directory, "CHECK")
                    m.d.sync += directory.eq(new_directory)
                with m.State("LOCK TABLE"):
                    set_flags(table_address, table, "TABLE")
                with m.State("WRITE TABLE"):
                    write_back(table_address, new_table, "CHECK")
                    m.d.sync += table.eq(new_table)
                with m.State("BACKING FAULT"):
                    m.d.comb += [done.eq(1), outcome.eq(Outcome.NESTED_FAULT)]
                    m.next = "IDLE"
        m.d.comb += active.eq(self.d.valid | self.i.valid | ~fsm.ongoing("IDLE"))
        return m

    def _walk_cache(self, m, begin, directory):
        """Build the walk cache if there is one: (hit, entry, insert strobe)."""
        inserted = Signal()
        if not self._walk_cache_entries:
            return Const(0), directory, inserted
        cache = WalkCache(self._walk_cache_entries)
        m.submodules.cache = cache
        kept = self.maintenance
        m.d.comb += [
            cache.go.eq(begin),
            cache.directory.eq(Mux(self.d.valid, self.d.page[10:], self.i.page[10:])),
            cache.asid.eq(self.control.asid),
            cache.insert.eq(inserted),
            cache.inserted.eq(directory),
            cache.flush.eq(kept.inv_all | kept.inv_asid | kept.inv_nonglobal | kept.inv_page),
        ]
        return cache.hit, cache.entry, inserted
