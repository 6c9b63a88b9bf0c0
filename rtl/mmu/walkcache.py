"""Page-walk cache: page-directory entries that point to page tables."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.isa.layout import shape
from rtl.isa.paging import PageTableEntry

__all__ = ["WalkCache"]


class WalkCache(wiring.Component):
    """Direct-mapped cache of page-directory entries, so that a walk begins at the page table.

    1. `directory` and `asid` are sampled at the edge where `go` is 1; `hit` and `entry` answer from the next cycle on,
       until the next `go`.
    2. `insert` stores `inserted` for the directory index last looked up. Only present entries with A set that point to
       page tables are inserted.
    3. `flush` forgets everything; it never coincides with `insert`.

    Parameters
    ----------
    entries : int
        A power of two, at least 2.

    Members
    -------
    go : In(1)
    directory : In(10)
        Linear address bits 31:22.
    asid : In(4)
    hit : Out(1)
    entry : Out(PageTableEntry)
        `frame`, `rw` and `us` are as in memory; `p` and `a` are 1.
    insert : In(1)
    inserted : In(PageTableEntry)
    flush : In(1)
    """

    def __init__(self, entries):
        self._entries = entries
        super().__init__({
            "go": In(1),
            "directory": In(10),
            "asid": In(4),
            "hit": Out(1),
            "entry": Out(shape(PageTableEntry)),
            "insert": In(1),
            "inserted": In(shape(PageTableEntry)),
            "flush": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        index_bits = exact_log2(self._entries)
        memory = Memory(shape=data.StructLayout({"tag": 14 - index_bits, "frame": 20, "rw": 1, "us": 1}),
                        depth=self._entries, init=[])
        m.submodules.memory = memory
        read = memory.read_port()
        write = memory.write_port()

        valid = Signal(self._entries)
        l_valid = Signal()
        l_directory = Signal(10)
        l_asid = Signal(4)
        l_tag = Cat(l_directory[index_bits:], l_asid)

        m.d.comb += [
            read.addr.eq(self.directory[:index_bits]),
            read.en.eq(self.go),
            self.hit.eq(l_valid & (read.data.tag == l_tag)),
            self.entry.p.eq(1),
            self.entry.a.eq(1),
            self.entry.rw.eq(read.data.rw),
            self.entry.us.eq(read.data.us),
            self.entry.frame.eq(read.data.frame),
            write.addr.eq(l_directory[:index_bits]),
            write.en.eq(self.insert),
            write.data.tag.eq(l_tag),
            write.data.frame.eq(self.inserted.frame),
            write.data.rw.eq(self.inserted.rw),
            write.data.us.eq(self.inserted.us),
        ]
        with m.If(self.go):
            m.d.sync += [
                l_directory.eq(self.directory),
                l_asid.eq(self.asid),
                l_valid.eq(valid.bit_select(self.directory[:index_bits], 1)),
            ]
        with m.If(self.flush | self.insert):
            m.d.sync += valid.eq(Mux(self.flush, 0, valid | (1 << l_directory[:index_bits])))
        return m
