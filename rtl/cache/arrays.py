"""The memories of the data cache: tags, data, dirty bits and replacement bits."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.cache.config import LINE_BYTES, LINE_WORDS, WAYS

__all__ = ["CacheArrays"]


class CacheArrays(wiring.Component):
    """Two ways of 32-byte lines behind one read port.

    1. `read_word` is sampled at the edge where `read` is 1; the outputs answer from the next cycle on, until the next
       `read`.
    2. The words read show a write of `data_word` at the same edge; tags, dirty and replacement bits do not.

    Parameters
    ----------
    size : int
        Bytes of the cache.

    Members
    -------
    read : In(1)
    read_word : In(word_bits)
        Word index: set, then word in the line.
    compare : In(tag_bits)
        The tag to compare with: physical address bits above the set index.
    hit : Out(2)
        By way. At most one is 1.
    hit_data : Out(32)
        Word of the way that hits.
    tag0, tag1 : Out(tag_bits)
    valid, dirty : Out(2)
        By way.
    word0, word1 : Out(32)
    victim : Out(1)
        Way to replace: an invalid one, or the least recently used.
    data_we : In(4), by way in data_way
    data_way, data_word, data_value
        Write of one word under a byte mask.
    tag_we : In(1), tag_way, tag_set, tag_value, tag_valid
        Write of one tag.
    dirty_we : In(1), dirty_way, dirty_set, dirty_value
        Write of one dirty bit.
    used_we : In(1), used_set, used_way
        Note that a way was used.
    """

    def __init__(self, size):
        self.sets = size // (WAYS * LINE_BYTES)
        self.set_bits = exact_log2(self.sets)
        self.word_bits = self.set_bits + exact_log2(LINE_WORDS)
        self.tag_bits = 30 - self.word_bits
        super().__init__({
            "read": In(1),
            "read_word": In(self.word_bits),
            "compare": In(self.tag_bits),
            "hit": Out(WAYS),
            "hit_data": Out(32),
            "tag0": Out(self.tag_bits),
            "tag1": Out(self.tag_bits),
            "valid": Out(WAYS),
            "dirty": Out(WAYS),
            "word0": Out(32),
            "word1": Out(32),
            "victim": Out(1),
            "data_we": In(4),
            "data_way": In(1),
            "data_word": In(self.word_bits),
            "data_value": In(32),
            "tag_we": In(1),
            "tag_way": In(1),
            "tag_set": In(self.set_bits),
            "tag_value": In(self.tag_bits),
            "tag_valid": In(1),
            "dirty_we": In(1),
            "dirty_way": In(1),
            "dirty_set": In(self.set_bits),
            "dirty_value": In(1),
            "used_we": In(1),
            "used_set": In(self.set_bits),
            "used_way": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        word_of_line = exact_log2(LINE_WORDS)
        read_set = self.read_word[word_of_line:]
        row_shape = data.StructLayout({"tag": self.tag_bits, "valid": 1})

        for way, (tag, word) in enumerate(((self.tag0, self.word0), (self.tag1, self.word1))):
            tags = Memory(shape=row_shape, depth=self.sets, init=[])
            words = Memory(shape=32, depth=self.sets * LINE_WORDS, init=[])
            m.submodules[f"tags{way}"] = tags
            m.submodules[f"words{way}"] = words
            tag_write = tags.write_port()
            tag_read = tags.read_port()
            word_write = words.write_port(granularity=8)
            word_read = words.read_port(transparent_for=[word_write])
            m.d.comb += [
                tag_read.en.eq(self.read),
                tag_read.addr.eq(read_set),
                word_read.en.eq(self.read),
                word_read.addr.eq(self.read_word),
                tag.eq(tag_read.data.tag),
                word.eq(word_read.data),
                self.valid[way].eq(tag_read.data.valid),
                self.hit[way].eq(tag_read.data.valid & (tag_read.data.tag == self.compare)),
                tag_write.en.eq(self.tag_we & (self.tag_way == way)),
                tag_write.addr.eq(self.tag_set),
                tag_write.data.tag.eq(self.tag_value),
                tag_write.data.valid.eq(self.tag_valid),
                word_write.en.eq(Mux(self.data_way == way, self.data_we, 0)),
                word_write.addr.eq(self.data_word),
                word_write.data.eq(self.data_value),
            ]
        m.d.comb += self.hit_data.eq(Mux(self.hit[1], self.word1, self.word0))

        dirty = Memory(shape=WAYS, depth=self.sets, init=[])
        m.submodules.dirty = dirty
        dirty_write = dirty.write_port(granularity=1)
        dirty_read = dirty.read_port()
        used = Memory(shape=1, depth=self.sets, init=[])
        m.submodules.used = used
        used_write = used.write_port()
        used_read = used.read_port()
        oldest = Signal()
        m.d.comb += [
            dirty_read.en.eq(self.read),
            dirty_read.addr.eq(read_set),
            self.dirty.eq(dirty_read.data),
            dirty_write.en.eq(Mux(self.dirty_we, Mux(self.dirty_way, 0b10, 0b01), 0)),
            dirty_write.addr.eq(self.dirty_set),
            dirty_write.data.eq(Mux(self.dirty_value, 0b11, 0b00)),
            used_read.en.eq(self.read),
            used_read.addr.eq(read_set),
            oldest.eq(~used_read.data),
            used_write.en.eq(self.used_we),
            used_write.addr.eq(self.used_set),
            used_write.data.eq(self.used_way),
            self.victim.eq(Mux(self.valid == 0b11, oldest, self.valid[0])),
        ]
        return m
