"""Data cache: the arrays, and the engine that serves misses and all requesters but the load/store unit."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from rtl.bus.memory import MemorySignature, is_cacheable
from rtl.cache.arrays import CacheArrays
from rtl.cache.port import RequestPort
from rtl.cache.victim import VictimBuffer

__all__ = ["DCache", "Owner"]


class Owner(enum.Enum, shape=3):
    """For whom the engine works."""

    STORE = 0
    FILL = 1
    READ = 2
    WALKER = 3
    CODE = 4
    DMA = 5
    CLEAN = 6


class DCache(wiring.Component):
    """Write-back, write-allocate data cache, the point of coherence of the computer.

    The load/store unit looks up and writes words of lines that it found there; one engine does everything slower, one
    request at a time: uncached stores, line fills, uncached loads, the walker, instruction refills, DMA, cleaning, in
    this order of preference.

    Look-ups

    1. In a cycle with `look` 1, the arrays read at `look_word` unless the engine reads in that cycle (`looked` 0).
       The engine reads first, except when it streams a line to a requester.
    2. `hit`, `hit_way`, `hit_data`, `hit_dirty` compare the last look-up with `look_tag`. They stand until `stale`
       was 1 in the cycle of the look-up or since: then look up again.
    3. `filling`: the line looked up (`look_tag`, `look_set`) is being filled: whether it is in the cache is known only
       after that. `arriving`: its words come now. With `arrived`, `hit_data` is the word looked up although `hit` is 0;
       without, look up again.

    Writes

    4. At an edge with `write` 1 and `write_ready` 1, the word is written under `write_mask` into `write_way`, which
       the caller knows to hold the line; `write_clean` tells that the line was not dirty.
    5. While `pending` is 1 a store to the set of `pending_word` (to any set with `pending_any`) is still to be
       written: the engine begins nothing in that set. While `holding` is 1 a store not yet pending relies on a look-up:
       the walker, whose reads may replace lines, waits. While `noticed` is 1 the instruction cache was told of a line
       of such a store: instruction refills wait.

    Misses

    6. `fill` asks for the line of `miss_addr`, `read` for the single uncached word. The request is taken in a cycle
       where `taken` is 1. `word_valid` then gives the word asked for, once, on `word`; the line hits when `done` was 1.
    7. `store` asks to write one word to memory past the cache; finished in the cycle where `store_done` is 1.

    Requesters

    8. Only fills and the walker (without lock) allocate lines, and only where `is_cacheable` and without
       `cache_disable`. A hit is served from the cache always. A requester's write that hits updates the cache, one
       that misses goes to memory.
    9. `clean` (kept at 1 until `clean_done`) writes back all dirty lines and invalidates all.

    Parameters
    ----------
    config : CacheConfig

    Members
    -------
    see the rules; besides:
    mem : Out(MemorySignature())
    walker, code, dma : In(RequestPort())
    snoop_write : Out(1), snoop_line : Out(27)
        A requester wrote this line (a pulse); the next write waits while `snoop_busy`.
    busy : Out(1)
        The engine works or keeps the walker's lock.
    writeback : Out(1)
        Pulse for each dirty line evicted.
    """

    def __init__(self, config):
        self._arrays = arrays = CacheArrays(config.dcache_bytes)
        self.word_bits = arrays.word_bits
        self.tag_bits = arrays.tag_bits
        super().__init__({
            "look": In(1),
            "look_word": In(arrays.word_bits),
            "look_tag": In(arrays.tag_bits),
            "looked": Out(1),
            "stale": Out(1),
            "look_set": In(arrays.set_bits),
            "filling": Out(1),
            "arriving": Out(1),
            "arrived": Out(1),
            "hit": Out(1),
            "hit_way": Out(1),
            "hit_dirty": Out(1),
            "hit_data": Out(32),
            "used": In(1),
            "used_word": In(arrays.word_bits),
            "write": In(1),
            "write_ready": Out(1),
            "write_way": In(1),
            "write_word": In(arrays.word_bits),
            "write_mask": In(4),
            "write_data": In(32),
            "write_clean": In(1),
            "pending": In(1),
            "pending_any": In(1),
            "pending_word": In(arrays.word_bits),
            "holding": In(1),
            "noticed": In(1),
            "fill": In(1),
            "read": In(1),
            "miss_addr": In(32),
            "miss_mask": In(4),
            "taken": Out(1),
            "done": Out(1),
            "word_valid": Out(1),
            "word": Out(32),
            "store": In(1),
            "store_addr": In(32),
            "store_mask": In(4),
            "store_data": In(32),
            "store_done": Out(1),
            "walker": In(RequestPort()),
            "code": In(RequestPort()),
            "dma": In(RequestPort()),
            "mem": Out(MemorySignature()),
            "snoop_write": Out(1),
            "snoop_line": Out(27),
            "snoop_busy": In(1),
            "clean": In(1),
            "clean_done": Out(1),
            "busy": Out(1),
            "writeback": Out(1),
            "ram_pages": In(20),
            "cache_disable": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arrays = arrays = self._arrays
        mem = self.mem
        set_bits = arrays.set_bits

        # The request in progress.
        owner = Signal(Owner)
        addr = Signal(32)
        write = Signal()
        line = Signal()
        mask = Signal(4)
        value = Signal(32)
        way = Signal()
        locked = Signal()
        tag = addr[5 + set_bits:]
        index = addr[5:5 + set_bits]

        word = Signal(3)
        left = Signal(3)
        first = Signal()
        streamed = Signal()
        # The victim on its way from the arrays to memory.
        victim_dirty = Signal()
        victim_tag = Signal(arrays.tag_bits)
        m.submodules.victim = victim = VictimBuffer()

        # Arrays: engine and load/store unit share each port.
        read = Signal()
        read_word = Signal(arrays.word_bits)
        engine_write = Signal(4)
        engine_data = Signal(32)
        engine_word = Signal(3)
        comparing = Signal()
        m.d.comb += [
            arrays.read.eq(read | self.look),
            arrays.read_word.eq(Mux(read, read_word, self.look_word)),
            arrays.compare.eq(Mux(comparing, tag, self.look_tag)),
            self.looked.eq(self.look & ~read),
            self.hit.eq(arrays.hit.any()),
            self.hit_way.eq(arrays.hit[1]),
            self.hit_data.eq(Mux(self.arriving, Mux(way, arrays.word1, arrays.word0), arrays.hit_data)),
            self.hit_dirty.eq(Mux(arrays.hit[1], arrays.dirty[1], arrays.dirty[0])),
            self.stale.eq(read | arrays.tag_we),
            self.write_ready.eq(engine_write == 0),
            arrays.data_we.eq(Mux(self.write, self.write_mask, engine_write)),
            arrays.data_way.eq(Mux(self.write, self.write_way, way)),
            arrays.data_word.eq(Mux(self.write, self.write_word, Cat(engine_word, index))),
            arrays.data_value.eq(Mux(self.write, self.write_data, engine_data)),
            arrays.tag_set.eq(index),
            arrays.tag_way.eq(way),
            arrays.tag_value.eq(tag),
        ]
        with m.If(self.write):
            m.d.comb += [
                arrays.dirty_we.eq(self.write_clean),
                arrays.dirty_set.eq(self.write_word[3:]),
                arrays.dirty_way.eq(self.write_way),
                arrays.dirty_value.eq(1),
            ]
        with m.Else():
            m.d.comb += [
                arrays.dirty_set.eq(index),
                arrays.dirty_way.eq(way),
            ]
        engine_used = Signal()
        m.d.comb += [
            arrays.used_we.eq(engine_used | self.used),
            arrays.used_set.eq(Mux(engine_used, index, self.used_word[3:])),
            arrays.used_way.eq(Mux(engine_used, way, self.hit_way)),
        ]

        # Answers to requesters.
        answer = Signal()
        answer_data = Signal(32)
        m.d.comb += [
            self.word.eq(answer_data),
            self.word_valid.eq(answer & ((owner == Owner.FILL) | (owner == Owner.READ))),
        ]
        for port, who in ((self.walker, Owner.WALKER), (self.code, Owner.CODE), (self.dma, Owner.DMA)):
            m.d.comb += [
                port.rvalid.eq(answer & (owner == who)),
                port.rdata.eq(answer_data),
            ]

        # Memory bus.
        m.d.comb += [
            mem.addr.eq(Cat(Const(0, 2), addr[2:])),
            mem.mask.eq(mask),
            mem.wdata.eq(value),
        ]

        chosen_addr = Signal(32)
        begin = Signal()
        free = ~(self.pending & (self.pending_any | (self.pending_word[3:] == chosen_addr[5:5 + set_bits])))
        clean_way = Signal()
        hit = arrays.hit.any()
        victim_is_dirty = (arrays.valid == 0b11) & arrays.dirty.bit_select(arrays.victim, 1)
        allocates = ((owner == Owner.FILL)
                     | ((owner == Owner.WALKER) & ~locked & ~self.cache_disable
                        & is_cacheable(addr[12:], self.ram_pages)))

        def ask(name):
            """Put a request on the memory bus; state `name` follows."""
            m.d.comb += mem.valid.eq(1)
            with m.If(mem.ready):
                m.next = name

        def serve(who, from_addr, following):
            """Begin the request at `from_addr` for `who`."""
            m.d.comb += chosen_addr.eq(from_addr)
            with m.If(begin):
                m.d.sync += [owner.eq(who), write.eq(0), line.eq(0)]
                m.next = following
                if following == "COMPARE":
                    m.d.comb += [read.eq(1), read_word.eq(chosen_addr[2:])]

        def serve_port(who, port, may_begin):
            serve(who, port.addr, "COMPARE")
            m.d.comb += [
                begin.eq(may_begin & ~(port.write & self.snoop_busy)),
                port.ready.eq(begin),
            ]
            with m.If(begin):
                m.d.sync += [
                    write.eq(port.write),
                    line.eq(port.line),
                    mask.eq(port.mask),
                    value.eq(port.wdata),
                ]

        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(locked):
                    # Replaces no line, so it need not wait for stores, which may be waiting for the engine.
                    with m.If(self.walker.valid):
                        serve_port(Owner.WALKER, self.walker, 1)
                with m.Elif(self.store):
                    serve(Owner.STORE, self.store_addr, "WORD REQUEST")
                    m.d.comb += begin.eq(1)
                    m.d.sync += [write.eq(1), mask.eq(self.store_mask), value.eq(self.store_data)]
                with m.Elif(self.fill):
                    serve(Owner.FILL, self.miss_addr, "COMPARE")
                    m.d.comb += [begin.eq(free), self.taken.eq(begin)]
                with m.Elif(self.read):
                    serve(Owner.READ, self.miss_addr, "WORD REQUEST")
                    m.d.comb += [begin.eq(free), self.taken.eq(begin)]
                    m.d.sync += mask.eq(self.miss_mask)
                with m.Elif(self.walker.valid):
                    serve_port(Owner.WALKER, self.walker, free & ~self.holding)
                with m.Elif(self.clean):
                    serve(Owner.CLEAN, Const(0, 32), "CLEAN READ")
                    m.d.comb += begin.eq(~self.pending)
                    m.d.sync += clean_way.eq(0)
                with m.Elif(self.code.valid):
                    serve_port(Owner.CODE, self.code, free & ~self.noticed)
                with m.Elif(self.dma.valid):
                    serve_port(Owner.DMA, self.dma, free)
                with m.If(begin):
                    m.d.sync += [
                        addr.eq(chosen_addr),
                        word.eq(chosen_addr[2:5]),
                        first.eq(1),
                        left.eq(7),
                        streamed.eq(0),
                    ]
                with m.If(begin & self.walker.ready):
                    m.d.sync += locked.eq(self.walker.lock)

            with m.State("COMPARE"):
                m.d.comb += comparing.eq(1)
                with m.If(hit):
                    m.d.sync += way.eq(arrays.hit[1])
                    with m.If(write):
                        m.next = "WRITE HIT"
                    with m.Else():
                        m.d.comb += [answer.eq(owner != Owner.FILL), answer_data.eq(arrays.hit_data)]
                        m.d.sync += word.eq(word + 1)
                        with m.If(line):
                            m.next = "LINE READ"
                        with m.Else():
                            m.d.comb += self.done.eq(owner == Owner.FILL)
                            m.next = "IDLE"
                with m.Elif(allocates & ~write):
                    m.d.comb += [
                        mem.line.eq(1),
                        arrays.tag_we.eq(1),
                        arrays.tag_way.eq(arrays.victim),
                        victim.begin.eq(victim_is_dirty),
                        victim.first.eq(word),
                    ]
                    m.d.sync += [
                        way.eq(arrays.victim),
                        victim_dirty.eq(victim_is_dirty),
                        victim_tag.eq(Mux(arrays.victim, arrays.tag1, arrays.tag0)),
                    ]
                    m.next = "FILL REQUEST"
                    ask("FILL")
                with m.Elif(line):
                    m.d.comb += mem.line.eq(1)
                    m.next = "STREAM REQUEST"
                    ask("STREAM")
                with m.Else():
                    m.d.comb += mem.write.eq(write)
                    m.next = "WORD REQUEST"
                    ask("WORD")

            with m.State("WRITE HIT"):
                m.d.comb += [
                    engine_write.eq(mask),
                    engine_word.eq(word),
                    engine_data.eq(value),
                    arrays.dirty_we.eq(1),
                    arrays.dirty_value.eq(1),
                    self.snoop_write.eq(1),
                ]
                m.next = "IDLE"

            with m.State("LINE READ"):
                # The load/store unit's look-ups go first; each granted read answers one cycle later.
                with m.If(streamed):
                    m.d.comb += [answer.eq(1), answer_data.eq(Mux(way, arrays.word1, arrays.word0))]
                    m.d.sync += [word.eq(word + 1), left.eq(left - 1), streamed.eq(0)]
                with m.If(streamed & (left == 1)):
                    m.next = "IDLE"
                with m.Elif(~self.look):
                    m.d.comb += [read.eq(1), read_word.eq(Cat((word + streamed)[:3], index))]
                    m.d.sync += streamed.eq(1)

            with m.State("FILL REQUEST"):
                m.d.comb += mem.line.eq(1)
                ask("FILL")
            with m.State("FILL"):
                with m.If(mem.rvalid):
                    m.d.comb += [
                        engine_write.eq(0xF),
                        engine_word.eq(word),
                        engine_data.eq(mem.rdata),
                        answer.eq(first),
                        answer_data.eq(mem.rdata),
                    ]
                    m.d.sync += [word.eq(word + 1), left.eq(left - 1), first.eq(0)]
                    with m.If(left == 0):
                        m.d.comb += [
                            arrays.tag_we.eq(1),
                            arrays.tag_valid.eq(1),
                            arrays.dirty_we.eq(1),
                            engine_used.eq(1),
                            self.done.eq(owner == Owner.FILL),
                        ]
                        m.next = "IDLE"
                        with m.If(victim_dirty):
                            m.next = "WRITEBACK REQUEST"

            with m.State("STREAM REQUEST"):
                m.d.comb += mem.line.eq(1)
                ask("STREAM")
            with m.State("STREAM"):
                m.d.comb += [answer.eq(mem.rvalid), answer_data.eq(mem.rdata)]
                with m.If(mem.rvalid):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 0):
                        m.next = "IDLE"

            with m.State("WORD REQUEST"):
                m.d.comb += mem.write.eq(write)
                ask("WORD")
            with m.State("WORD"):
                m.d.comb += [answer.eq(mem.rvalid), answer_data.eq(mem.rdata)]
                with m.If(mem.wready):
                    m.d.comb += [
                        self.store_done.eq(owner == Owner.STORE),
                        self.snoop_write.eq(owner != Owner.STORE),
                    ]
                with m.If(mem.rvalid | mem.wready):
                    m.next = "IDLE"

            with m.State("WRITEBACK REQUEST"):
                m.d.comb += [
                    mem.line.eq(1),
                    mem.write.eq(1),
                    mem.mask.eq(0xF),
                    mem.addr.eq(Cat(Const(0, 5), index, victim_tag)),
                ]
                m.d.comb += self.writeback.eq(mem.ready)
                m.d.sync += word.eq(0)
                ask("WRITEBACK")
            with m.State("WRITEBACK"):
                m.d.comb += mem.wdata.eq(victim.out)
                with m.If(mem.wready):
                    m.d.sync += word.eq(word + 1)
                    with m.If(word == 7):
                        m.next = "IDLE"
                        with m.If(owner == Owner.CLEAN):
                            m.next = "CLEAN NEXT"

            with m.State("CLEAN READ"):
                m.d.comb += [read.eq(1), read_word.eq(addr[2:])]
                m.next = "CLEAN CHECK"
            with m.State("CLEAN CHECK"):
                m.d.comb += [
                    comparing.eq(1),
                    arrays.tag_we.eq(1),
                    arrays.tag_way.eq(clean_way),
                ]
                m.d.sync += [
                    way.eq(clean_way),
                    victim_tag.eq(Mux(clean_way, arrays.tag1, arrays.tag0)),
                ]
                with m.If((arrays.valid & arrays.dirty).bit_select(clean_way, 1)):
                    m.d.comb += victim.begin.eq(1)
                    m.next = "CLEAN COPY"
                with m.Else():
                    m.next = "CLEAN NEXT"
            with m.State("CLEAN COPY"):
                with m.If(~victim.copying):
                    m.next = "WRITEBACK REQUEST"
            with m.State("CLEAN NEXT"):
                m.d.sync += clean_way.eq(~clean_way)
                m.next = "CLEAN READ"
                with m.If(clean_way):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == arrays.sets - 1):
                        m.d.comb += self.clean_done.eq(1)
                        m.next = "IDLE"

        # The victim is read word by word, each one at least a cycle before the word that replaces it.
        m.d.comb += [
            victim.data.eq(Mux(way, arrays.word1, arrays.word0)),
            victim.out_word.eq(word),
        ]
        with m.If(victim.copying & (fsm.ongoing("FILL") | fsm.ongoing("CLEAN COPY"))):
            m.d.comb += [victim.step.eq(1), read.eq(1), read_word.eq(Cat(victim.word, index))]

        # A load need not wait for the whole line.
        look_arrived = Signal()
        sought = (self.look_word[:3] - addr[2:5])[:3]
        arrivals = (7 - left)[:3]
        with m.If(fsm.ongoing("FILL") | fsm.ongoing("FILL REQUEST")):
            m.d.comb += [
                self.filling.eq((self.look_set == index) & (self.look_tag == tag)),
                self.arriving.eq(self.filling & fsm.ongoing("FILL")),
                self.arrived.eq(self.arriving & look_arrived),
            ]
        with m.If(self.looked):
            m.d.sync += look_arrived.eq(fsm.ongoing("FILL") & ((sought < arrivals)
                                                               | (mem.rvalid & (sought == arrivals))))

        m.d.comb += [
            self.snoop_line.eq(addr[5:]),
            self.busy.eq(~fsm.ongoing("IDLE") | locked),
        ]
        return m
