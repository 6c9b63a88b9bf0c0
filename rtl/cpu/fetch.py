"""Instruction fetch: from redirections to a window of bytes for the decoder."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.cache.config import CacheConfig
from rtl.cache.icache import ICache
from rtl.mmu.config import MmuConfig

__all__ = ["WINDOW_BYTES", "Fetch"]

WINDOW_BYTES = 12
_LONGEST = 15
CHUNKS = 3


class Fetch(wiring.Component):
    """Fetches along the predicted path and shows the decoder the next bytes of code.

    Code arrives from the instruction cache in aligned 8-byte chunks and waits in a queue of three.

    1. ``q_bytes`` holds the next bytes of code, byte 0 at ``q_eip``; the first ``q_count`` of them are valid.
       The decoder removes ``d_take`` of them, at most ``q_count``, at the clock edge.
    2. ``d_redirect`` and ``x_redirect`` throw the queue away and fetch from ``d_redirect_eip`` or ``x_redirect_eip``;
       X wins. They override ``d_take``. The first bytes are in the window two cycles later if the cache has them.
       ``cs_base``, ``user`` and ``control`` must have their new values in the cycle of the redirection that is to
       obey them, and every change of them, of the page tables or of the TLB is to be followed by an ``x_redirect``.
    3. Fetching follows linear addresses, ``cs_base`` + EIP modulo 2**32. The CS limit is the decoder's affair.
    4. ``q_fault`` says that fetching the byte after the valid ones faults, with ``q_fault_code`` and
       ``q_fault_linear`` (for CR2). It stays until redirected. The decoder reports it if it needs that byte.
       ``q_fault_nested`` tells #NPF from #PF; ``q_fault_gpa`` is then the guest-physical address of the guest table's
       entry (``q_fault_table``) or of that byte.
    5. A page walk, or a fetch from uncached memory, happens only while ``starved`` and ``drained``. The decoder sets
       ``starved`` when the bytes in the window prove that the instruction needs more of them (and that these are
       within the CS limit); the core sets ``drained`` when nothing older than that instruction is in flight and no
       interrupt, trap or redirection is pending. While ``x_needed`` is 1 it may happen too: the code of an instruction
       that faults is fetched again.
    6. ``q_walked`` rises when such an access begins, and stays until the first bytes are taken or redirected. While
       it is set the core must not take an interrupt before the instruction at ``q_eip``: memory has already seen it.

    The remaining members and the parameters are those of the `ICache`.

    Members
    -------
    q_bytes : Out(96)
        Window on the code.
    q_count : Out(range(13))
        Valid bytes in the window.
    q_eip : Out(32)
        Offset in CS of byte 0.
    q_fault, q_fault_code, q_fault_nested, q_fault_table, q_fault_gpa, q_fault_linear, q_walked : Out
        See rules 4 and 6.
    x_wanted : In(1); x_bytes : Out(120); x_have : Out(5)
        While ``x_wanted`` is 1, the bytes of the queue and how many they are.
    x_needed : In(1)
        They are too few yet. See rule 5.
    d_take : In(range(13))
        Bytes taken by the decoder.
    d_redirect, d_redirect_eip, x_redirect, x_redirect_eip : In
        Redirections from decode (predicted) and execute (flush).
    cs_base : In(32)
        Base of the code segment.
    starved, drained : In
        See rule 5.
    p_stall : Out(1)
        The decoder waits for bytes in this cycle.
    """

    def __init__(self, cache: CacheConfig | None = None, mmu: MmuConfig | None = None):
        self.icache = ICache(cache, mmu)
        members = self.icache.signature.members
        own = {
            "q_bytes": Out(8 * WINDOW_BYTES),
            "q_count": Out(range(WINDOW_BYTES + 1)),
            "x_wanted": In(1),
            "x_needed": In(1),
            "x_bytes": Out(8 * _LONGEST),
            "x_have": Out(5),
            "q_eip": Out(32),
            "q_fault": Out(1),
            "q_fault_code": Out(5),
            "q_fault_nested": Out(1),
            "q_fault_table": Out(1),
            "q_fault_gpa": Out(32),
            "q_fault_linear": Out(32),
            "q_walked": Out(1),
            "d_take": In(range(WINDOW_BYTES + 1)),
            "d_redirect": In(1),
            "d_redirect_eip": In(32),
            "x_redirect": In(1),
            "x_redirect_eip": In(32),
            "cs_base": In(32),
            "starved": In(1),
            "drained": In(1),
            "p_stall": Out(1),
        }
        self.passed_on = [name for name in members if not name.startswith(("f_", "r_")) and name != "may_walk"]
        super().__init__(own | {name: members[name] for name in self.passed_on})

    def elaborate(self, platform):
        m = Module()
        m.submodules.icache = icache = self.icache
        for name in self.passed_on:
            member = icache.signature.members[name]
            inner, outer = getattr(icache, name), getattr(self, name)
            if member.is_signature:
                connect(m, inner, flipped(outer))
            elif member.flow == In:
                m.d.comb += inner.eq(outer)
            else:
                m.d.comb += outer.eq(inner)

        # Address: a redirection goes straight to the cache.
        redirect = Signal()
        target_eip = Signal(32)
        target = Signal(32)
        r_chunk = Signal(29)
        r_low = Signal(3)
        fault = Signal()
        push = Signal()
        m.d.comb += [
            redirect.eq(self.x_redirect | self.d_redirect),
            target_eip.eq(Mux(self.x_redirect, self.x_redirect_eip, self.d_redirect_eip)),
            target.eq(self.cs_base + target_eip),
            icache.r_kill.eq(redirect),
            icache.f_go.eq(redirect | push),
            icache.f_linear.eq(Mux(redirect, target[3:], r_chunk + 1)),
            icache.may_walk.eq(self.starved & self.drained | self.x_needed),
        ]
        with m.If(icache.f_go):
            m.d.sync += [
                r_chunk.eq(icache.f_linear),
                r_low.eq(Mux(redirect, target[:3], 0)),
            ]

        # Queue: the oldest chunk first, `offset` of its bytes taken. A chunk is pushed into the first empty place;
        # whether there is one is decided without looking at d_take, which comes late.
        chunks = [Signal(64, name=f"chunk{i}") for i in range(CHUNKS)]
        count = Signal(range(CHUNKS + 1))
        offset = Signal(3)
        end = Signal(5)
        left = Signal(range(CHUNKS + 1))
        accept = Signal()
        m.d.comb += [
            accept.eq(icache.r_done & (count != CHUNKS) & ~redirect),
            icache.r_take.eq(accept),
            push.eq(accept & ~icache.r_fault),
            end.eq(offset + self.d_take),
            left.eq(count - end[3:]),
        ]
        with m.If(redirect):
            m.d.sync += [count.eq(0), offset.eq(target[:3]), self.q_eip.eq(target_eip), fault.eq(0)]
        with m.Else():
            with m.If(self.d_take != 0):
                m.d.sync += [offset.eq(end[:3]), self.q_eip.eq(self.q_eip + self.d_take)]
            with m.If(end[3]):
                m.d.sync += [chunks[0].eq(chunks[1]), chunks[1].eq(chunks[2])]
            with m.If(end[4]):
                m.d.sync += chunks[0].eq(chunks[2])
            m.d.sync += count.eq(left + push)
            with m.If(push):
                with m.Switch(left):
                    for i, chunk in enumerate(chunks):
                        with m.Case(i):
                            m.d.sync += chunk.eq(icache.r_data)
            with m.If(accept & icache.r_fault):
                m.d.sync += fault.eq(1)

        # Window.
        shift = Cat(Const(0, 3), offset)
        m.d.comb += [
            self.q_bytes.eq(Cat((Cat(chunks[0], chunks[1]) >> shift)[:64], (Cat(chunks[1], chunks[2]) >> shift)[:32])),
            self.q_fault.eq(fault),
            self.q_fault_linear.eq(Cat(r_low, r_chunk)),
            # Nothing is fetched behind a fault, so the cache's answer stands.
            self.q_fault_code.eq(icache.r_fault_code),
            self.q_fault_nested.eq(icache.r_fault_nested),
            self.q_fault_table.eq(icache.r_fault_table),
            self.q_fault_gpa.eq(Mux(icache.r_fault_table, icache.r_fault_gpa,
                                    Cat(self.q_fault_linear[:12], icache.r_fault_gpa[12:]))),
            self.p_stall.eq(self.starved),
        ]
        with m.If(self.x_wanted):
            m.d.comb += [self.x_bytes.eq(Cat(chunks) >> shift),
                         self.x_have.eq(Mux(count == 0, 0, (count << 3) - offset))]
        with m.Switch(count):
            with m.Case(0):
                m.d.comb += self.q_count.eq(0)
            with m.Case(1):
                m.d.comb += self.q_count.eq(8 - offset)
            with m.Case(2):
                m.d.comb += self.q_count.eq(Mux(offset < 4, WINDOW_BYTES, 16 - offset))
            with m.Default():
                m.d.comb += self.q_count.eq(WINDOW_BYTES)

        # The first access the starved decoder waits for is the one that walks, so this is about the bytes at q_eip.
        walked = Signal()
        m.d.comb += self.q_walked.eq(walked | icache.r_walked)
        with m.If(redirect | (self.d_take != 0)):
            m.d.sync += walked.eq(0)
        with m.Elif(accept & icache.r_walked):
            m.d.sync += walked.eq(1)
        return m
