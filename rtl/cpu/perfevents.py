"""What the performance counters count: the pulses of `PerfEvent`, from what the stages do in a cycle."""

from amaranth.hdl import C, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.msrs import PerfEvent

from .lsuevents import LsuEvents
from .stages import Latch
from .uop import Alu, Mem, Src

__all__ = ["PerfEvents"]


class PerfEvents(wiring.Component):
    """Gives each `PerfEvent` its pulse. The sentences of the events are in `rtl.isa.msrs`.

    Parameters
    ----------
    m, x : Latch
        The micro-operations in M and X, read here.

    Members
    -------
    starved, blocked, turned, microcode : In(1)
        Decode waits for bytes; for X to say where to go on; the fetch is redirected in this cycle; a micro-operation
        of a microprogram issues.
    p_hit, p_miss, p_itlb_hit, p_itlb_miss, walking : In(1)
        As in `Fetch`; it waits for a page walk.
    load_use : In(1)
        A waits for an address register.
    memory : In(LsuEvents); x_ready : In(1)
        As in `Lsu`.
    computing, io_waits : In(1)
        The execution unit, or a port, is not ready.
    done, completes, e_interrupt, exiting : In(1)
        As in `RetireUnit` and `ExceptionUnit`.
    taken, conditional : In(1)
        As in `BranchUnit`.
    halted, guest, vmrun, vmexit : In(1)
        HLT; guest mode; pulses of the world switches.
    pulse : Out(n)
        By `PerfEvent`.
    """

    def __init__(self, m: Latch, x: Latch):
        self._stages = m, x
        super().__init__({
            "starved": In(1), "blocked": In(1), "turned": In(1), "microcode": In(1),
            "p_hit": In(1), "p_miss": In(1), "p_itlb_hit": In(1), "p_itlb_miss": In(1), "walking": In(1),
            "load_use": In(1), "memory": In(LsuEvents), "x_ready": In(1), "computing": In(1), "io_waits": In(1),
            "done": In(1), "completes": In(1), "e_interrupt": In(1), "exiting": In(1),
            "taken": In(1), "conditional": In(1),
            "halted": In(1), "guest": In(1), "vmrun": In(1), "vmexit": In(1),
            "pulse": Out(max(PerfEvent) + 1),
        })

    def elaborate(self, platform):
        m = Module()
        mm, x = self._stages
        memory = self.memory
        turned = Signal()
        m.d.sync += turned.eq(self.turned)
        in_guest = Signal()   # from the end of VMRUN to the beginning of #VMEXIT
        with m.If(self.vmexit):
            m.d.sync += in_guest.eq(0)
        with m.Elif(self.completes & self.guest):
            m.d.sync += in_guest.eq(1)
        # A jump to the next instruction is how microprograms drop what was fetched too early.
        refetches = (x.alu == Alu.JMPI) & (x.a == Src.NEXT)
        branch = self.completes & (self.taken | self.conditional) & ~refetches & ~x.event
        delivered = self.done & x.event & ~self.exiting
        walking = self.starved & self.walking
        m_store = mm.mem == Mem.STORE
        for event, pulse in {
                PerfEvent.CYCLES: C(1), PerfEvent.INSTRUCTIONS: self.completes, PerfEvent.HALTED: self.halted,
                PerfEvent.EXCEPTIONS: delivered & ~self.e_interrupt, PerfEvent.INTERRUPTS: delivered & self.e_interrupt,
                PerfEvent.BRANCHES: branch, PerfEvent.TAKEN_BRANCHES: branch & self.taken,
                PerfEvent.STALL_FETCH: self.starved & ~turned & ~walking,
                PerfEvent.STALL_BRANCH: (self.starved & turned) | self.blocked,
                PerfEvent.STALL_LOAD_USE: self.load_use,
                PerfEvent.STALL_LOAD_MISS: memory.wait_memory & ~m_store,
                PerfEvent.STALL_STORE: memory.wait_store | (memory.wait_memory & m_store)
                | (x.valid & (x.mem == Mem.STORE) & ~self.x_ready),
                PerfEvent.STALL_MICROCODE: self.microcode, PerfEvent.STALL_MULDIV: x.valid & self.computing,
                PerfEvent.STALL_WALK: memory.wait_walk | walking, PerfEvent.STALL_IO: self.io_waits,
                PerfEvent.ICACHE_HITS: self.p_hit, PerfEvent.ICACHE_MISSES: self.p_miss,
                PerfEvent.DCACHE_HITS: memory.load_hit | memory.store_hit,
                PerfEvent.DCACHE_MISSES: memory.load_miss | memory.store_miss,
                PerfEvent.ITLB_HITS: self.p_itlb_hit, PerfEvent.ITLB_MISSES: self.p_itlb_miss,
                PerfEvent.DTLB_HITS: memory.tlb_hit, PerfEvent.DTLB_MISSES: memory.tlb_miss,
                PerfEvent.WALK_CACHE_HITS: memory.walk_cache_hit, PerfEvent.WALK_CACHE_MISSES: memory.walk_cache_miss,
                PerfEvent.WALK_REFS_GUEST: memory.walk_d | memory.walk_i,
                PerfEvent.WALK_REFS_NESTED: memory.walk_nested_d | memory.walk_nested_i,
                PerfEvent.NESTED_TLB_HITS: memory.nested_tlb_hit, PerfEvent.NESTED_TLB_MISSES: memory.nested_tlb_miss,
                PerfEvent.NESTED_WALK_CACHE_HITS: memory.nested_cache_hit,
                PerfEvent.NESTED_WALK_CACHE_MISSES: memory.nested_cache_miss,
                PerfEvent.VMRUNS: self.vmrun, PerfEvent.VMEXITS: self.vmexit,
                PerfEvent.GUEST_CYCLES: in_guest, PerfEvent.GUEST_INSTRUCTIONS: self.completes & in_guest,
                PerfEvent.WALK_WRITES: memory.walk_update}.items():
            m.d.comb += self.pulse[event].eq(pulse)
        return m
