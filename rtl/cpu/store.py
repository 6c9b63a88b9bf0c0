"""The store that waits in X, and what is left of it after it committed."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["StorePart", "StoreStage"]


class StorePart(data.Struct):
    """How one of the words of a store will be written.

    Members
    -------
    uncached : past the cache, else into way `way`.
    way : the way that holds the line.
    clean : the line was not yet dirty.
    """

    uncached: 1
    way: 1
    clean: 1


class StoreStage(wiring.Component):
    """Hold one translated store in X; write it at its commit.

    1. At the edge where `take` is 1 the store described by `low`, `high`, `paddr`, `high_frame`, `size`, `cross`
       enters X. X is empty, or commits or is killed at the same edge.
    2. At the edge where `commit` is 1 the word at `paddr` is written. The second word of a store that crosses one, and
       a word for which the arrays are busy, follows by itself from the next cycle on; the next store waits for it.
    3. `blocks`: a load of the word with index `load_word` must wait and look up again in this cycle.

    Parameters
    ----------
    word_bits : int
        Width of the cache's word index.
    """

    def __init__(self, word_bits):
        self._word_bits = word_bits
        super().__init__({
            "take": In(1),
            "low": In(StorePart),
            "high": In(StorePart),
            "paddr": In(32),
            "high_frame": In(20),
            "size": In(2),
            "cross": In(1),
            "commit": In(1),
            "kill": In(1),
            "value": In(32),
            "ready": Out(1),
            "waiting": Out(1),
            "load_word": In(word_bits),
            "blocks": Out(1),
            "idle": Out(1),
            "pending": Out(1),
            "pending_any": Out(1),
            "pending_word": Out(word_bits),
            "write": Out(1),
            "write_ready": In(1),
            "write_way": Out(1),
            "write_clean": Out(1),
            "write_word": Out(word_bits),
            "write_mask": Out(4),
            "write_data": Out(32),
            "store": Out(1),
            "store_done": In(1),
            "store_addr": Out(32),
            "store_mask": Out(4),
            "store_data": Out(32),
            "x_paddr": Out(32),
            "x_paddr_hi": Out(32),
            "x_size": Out(2),
        })

    def elaborate(self, platform):
        m = Module()
        word_bits = self._word_bits

        x_store = self.waiting
        x_low = Signal(StorePart)
        x_high = Signal(StorePart)
        x_cross = Signal()
        x_word = self.x_paddr[2:2 + word_bits]
        x_next = self.x_paddr_hi[2:2 + word_bits]

        tail = Signal()
        tail_part = Signal(StorePart)
        tail_addr = Signal(32)
        tail_mask = Signal(4)
        tail_data = Signal(32)

        offset = self.x_paddr[:2]
        mask = Signal(8)
        turned = Signal(32)     # one rotation serves both words, under different masks
        m.d.comb += [
            mask.eq(Mux(self.x_size == 0, 0b1, Mux(self.x_size == 1, 0b11, 0b1111)) << offset),
            turned.eq((Cat(self.value, self.value) << Cat(Const(0, 3), offset))[32:64]),
        ]

        do_commit = Signal()
        late = Signal()     # the arrays are busy with a fill
        m.d.comb += [
            do_commit.eq(self.commit & x_store),
            late.eq(do_commit & ~x_low.uncached & ~self.write_ready),
            self.ready.eq(~tail & Mux(x_low.uncached, ~self.store, self.write_ready | ~x_cross)),
            self.blocks.eq((tail & (self.load_word == tail_addr[2:2 + word_bits]))
                           | (x_store & ((self.load_word == x_word) | (x_cross & (self.load_word == x_next))))),
            self.idle.eq(~x_store & ~tail & ~self.store),
            self.pending.eq(x_store | tail),
            self.pending_any.eq(x_cross | tail),
            self.pending_word.eq(x_word),
        ]
        with m.If(tail):
            m.d.comb += [
                self.write.eq(~tail_part.uncached & self.write_ready),
                self.write_way.eq(tail_part.way),
                self.write_clean.eq(tail_part.clean),
                self.write_word.eq(tail_addr[2:]),
                self.write_mask.eq(tail_mask),
                self.write_data.eq(tail_data),
            ]
        with m.Else():
            m.d.comb += [
                self.write.eq(do_commit & ~x_low.uncached & ~late),
                self.write_way.eq(x_low.way),
                self.write_clean.eq(x_low.clean),
                self.write_word.eq(x_word),
                self.write_mask.eq(mask[:4]),
                self.write_data.eq(turned),
            ]

        with m.If(do_commit | self.kill):
            m.d.sync += x_store.eq(0)
        with m.If(self.take):
            m.d.sync += [
                x_store.eq(1),
                x_low.eq(self.low),
                x_high.eq(self.high),
                x_cross.eq(self.cross),
                self.x_paddr.eq(self.paddr),
                self.x_paddr_hi.eq(Cat(Const(0, 2), (self.paddr[2:12] + 1)[:10], self.high_frame)),
                self.x_size.eq(self.size),
            ]

        tail_stored = tail & tail_part.uncached & ~self.store
        with m.If(self.store_done):
            m.d.sync += self.store.eq(0)
        with m.If((do_commit & x_low.uncached) | tail_stored):
            m.d.sync += [
                self.store.eq(1),
                self.store_addr.eq(Mux(tail, tail_addr, self.x_paddr)),
                self.store_mask.eq(Mux(tail, tail_mask, mask[:4])),
                self.store_data.eq(Mux(tail, tail_data, turned)),
            ]
        with m.If(self.write | tail_stored):
            m.d.sync += tail.eq(0)
        with m.If(late):
            m.d.sync += [
                tail.eq(1),
                tail_part.eq(x_low),
                tail_addr.eq(self.x_paddr),
                tail_mask.eq(mask[:4]),
                tail_data.eq(turned),
            ]
        with m.Elif(do_commit & x_cross):
            m.d.sync += [
                tail.eq(1),
                tail_part.eq(x_high),
                tail_addr.eq(self.x_paddr_hi),
                tail_mask.eq(mask[4:]),
                tail_data.eq(turned),
            ]
        return m
