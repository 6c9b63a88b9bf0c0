"""The processor.

::

      predictor         decode and        registers,       TLB and        execute, branch, microbranch,
          |           microcode ROM        segments        D-cache        exceptions, guest mode
          v                 |                 |               |                     |
    F -------> queue -----> D --> latch a --> A --> latch m > M --> latch x ------> X --> registers, store, port,
    ^                       |                 ^             (lsu)                   |     retire port, counters
    |<----- d_redirect -----+                 +------------ forwarding -------------|
    +<----- x_redirect -------------------------------------------------------------+

A micro-operation moves on when the latch before it is free. Only X changes the state of the processor; it may flush
what is younger.
"""

from dataclasses import dataclass, field

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.bus.io import IoSignature
from rtl.bus.memory import MemorySignature
from rtl.cache.config import CacheConfig
from rtl.cache.port import RequestPort
from rtl.isa.registers import Gpr
from rtl.mmu.config import MmuConfig

from .addressing import AddressStage
from .branch import BranchUnit
from .decode_rom import build
from .events import AccessFault
from .exceptions import ExceptionUnit
from .execute import Execute
from .fetch import Fetch
from .guestmode import GuestMode
from .issue import Issue
from .lsu import Lsu
from .microbranch import MicroBranch
from .microcode import CPUID_ROM, assembled
from .operands import Operands, SystemRead
from .perf import PerfCounters
from .perfevents import PerfEvents
from .predictor import Predictor, PredictorConfig
from .regfile import RegisterFile
from .retire import RetireSignature, RetireUnit
from .segments import SegmentCaches
from .stages import CARRIED, MEMORY, RESULT, Latch
from .sysregs import SystemRegisters
from .uop import Alu, Aseg, Mem, Next, Reg, Step, Sys
from .wires import same

__all__ = ["Core", "CoreConfig"]


@dataclass(frozen=True)
class CoreConfig:
    """Sizes of the processor's units."""
    cache: CacheConfig = field(default_factory=CacheConfig)
    mmu: MmuConfig = field(default_factory=MmuConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)


class Core(wiring.Component):
    """An IA-32 processor of the i586 class without x87, with paging and caches.

    1. All memory traffic leaves through ``mem``; ``dma`` enters it coherently. I/O goes through ``io``.
    2. ``intr`` is a level; the processor pulses ``intack`` and takes ``vector`` in the same cycle. ``nmi`` counts by
       its rising edge; ``init`` is a pulse, which gives ``reset``, at once or when GIF and the guest let it.
    3. ``halted`` is HLT in progress; ``stuck`` is HLT that only NMI or reset could end; ``shutdown`` is final.

    Parameters
    ----------
    config : CoreConfig

    Members
    -------
    mem : Out(MemorySignature()); dma : In(RequestPort()); io : Out(IoSignature())
    intr, nmi, init : In(1); intack, reset : Out(1); vector : In(8)
    apic_enable : Out(1)
        IA32_APIC_BASE bit 11.
    ram_size_words : In(30)
    retire : Out(RetireSignature())
    store_valid, store_paddr, store_paddr_hi, store_size, store_data : Out
        Every store as it commits (`Lsu`, rule 9).
    halted, stuck, shutdown : Out(1)
    """

    def __init__(self, config: CoreConfig | None = None):
        self.config = config or CoreConfig()
        super().__init__({
            "mem": Out(MemorySignature()), "dma": In(RequestPort()), "io": Out(IoSignature()),
            "intr": In(1), "intack": Out(1), "vector": In(8), "nmi": In(1), "init": In(1), "reset": Out(1),
            "apic_enable": Out(1), "ram_size_words": In(30),
            "retire": Out(RetireSignature()),
            "store_valid": Out(1), "store_paddr": Out(32), "store_paddr_hi": Out(32), "store_size": Out(2),
            "store_data": Out(32),
            "halted": Out(1), "stuck": Out(1), "shutdown": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, rom = self.config, assembled()
        m.submodules.fetch = fetch = Fetch(config.cache, config.mmu)
        m.submodules.predictor = predictor = Predictor(config.predictor)
        m.submodules.issue = issue = Issue(build(rom), rom)
        a, mm, x = issue.latch, Latch("m", CARRIED, MEMORY), Latch("x", CARRIED, MEMORY, RESULT)
        m.submodules.regs = regs = RegisterFile()
        m.submodules.segments = segments = SegmentCaches()
        m.submodules.sysregs = sysregs = SystemRegisters()
        m.submodules.addressing = addressing = AddressStage(a, mm, x)
        m.submodules.lsu = lsu = Lsu(config.cache, config.mmu)
        m.submodules.sysread = sysread = SystemRead(x)
        m.submodules.operands = operands = Operands(x, rom.constants)
        m.submodules.execute = execute = Execute()
        m.submodules.branch = branch = BranchUnit()
        m.submodules.microbranch = microbranch = MicroBranch(x)
        m.submodules.exceptions = exceptions = ExceptionUnit(x)
        m.submodules.guestmode = guestmode = GuestMode(x)
        m.submodules.retirement = retirement = RetireUnit(x)
        m.submodules.perfevents = perfevents = PerfEvents(mm, x)
        m.submodules.perf = perf = PerfCounters()
        m.submodules.cpuid = cpuid = Memory(shape=32, depth=len(CPUID_ROM), init=CPUID_ROM)

        # Each stage's micro-operation leaves (`go`), its latch may be written (`free`); X commits it or `take`s what
        # goes before it. `done` is the end of an instruction; `flush` empties A and M.
        a_go, m_go, x_go = Signal(), Signal(), Signal()
        m_free, x_free, x_new = Signal(), Signal(), Signal()
        commit, done, flush, refetch = Signal(), Signal(), Signal(), Signal()
        take, last = exceptions.take, microbranch.last
        result = Signal(32, name="x_result")
        # Architectural EIP. A host that sets registers before the first cycle sets this one too: fetch starts there.
        eip = Signal(32, name="eip")
        start = Signal(init=1)
        m.d.sync += start.eq(0)
        user = Signal()
        drained = Signal()
        m.d.comb += [user.eq(sysregs.cpl == 3), drained.eq(~a.valid & ~mm.valid & ~x.valid)]

        # ---- memory and address space ----------------------------------------------------------------------------
        connect(m, lsu.mem, flipped(self.mem))
        connect(m, lsu.dma, flipped(self.dma))
        connect(m, fetch.refill, lsu.code)
        connect(m, fetch.walk, lsu.walk_i)
        connect(m, lsu.snoop, fetch.snoop)
        connect(m, guestmode.maintenance, lsu.maintenance, fetch.maintenance)
        ram_pages = self.ram_size_words[10:]
        m.d.comb += [
            *same(guestmode, sysregs, "control", "inv_all", "inv_nonglobal"),
            lsu.control.eq(guestmode.paging), fetch.control.eq(guestmode.paging),
            lsu.ram_size_words.eq(self.ram_size_words), fetch.ram_pages.eq(ram_pages),
            *same(self, lsu, "store_valid", "store_paddr", "store_paddr_hi", "store_size", "store_data"),
        ]

        # ---- F and D: fetch, decode ------------------------------------------------------------------------------
        m.d.comb += [
            *same(fetch, segments, "cs_base"), fetch.user.eq(user), fetch.d_take.eq(issue.take),
            fetch.d_redirect.eq(issue.redirect), fetch.d_redirect_eip.eq(issue.redirect_eip),
            *same(fetch, issue, "starved"), fetch.drained.eq(drained & ~exceptions.any_event & ~flush),
            *same(issue, fetch, "q_bytes", "q_count", "q_eip", "q_fault", "q_walked"),
            predictor.d_eip.eq(issue.p_eip), predictor.d_backward.eq(issue.p_backward),
            issue.p_taken.eq(predictor.d_taken), issue.p_counter.eq(predictor.d_counter),
            predictor.d_push.eq(issue.p_push), predictor.d_push_eip.eq(issue.p_push_eip),
            predictor.d_pop.eq(issue.p_pop), issue.p_return_eip.eq(predictor.d_return_eip),
            issue.p_pointer.eq(predictor.d_pointer), issue.p_indirect_eip.eq(predictor.d_indirect_eip),
            *same(issue, segments, "cs_limit", "cs_32", "ss_32"), issue.cpl.eq(sysregs.cpl),
            *same(issue, guestmode, "svme", "intercepted"), guestmode.code.eq(issue.code),
            issue.halted.eq(self.halted | self.shutdown | start), issue.a_free.eq(~a.valid | a_go),
            issue.drained.eq(drained), issue.branching.eq(Cat(_branching(stage) for stage in (a, mm, x)).any()),
        ]

        # ---- A: address generation -------------------------------------------------------------------------------
        m.d.comb += [
            regs.a_base.eq(a.base), regs.a_index.eq(a.index), segments.a_seg.eq(a.aseg),
            addressing.base.eq(regs.a_base_data), addressing.index.eq(regs.a_index_data),
            addressing.result.eq(result), addressing.commit.eq(commit), addressing.user.eq(user),
            *same(addressing, sysregs, "cr0", "eflags"), addressing.seg_base.eq(segments.a_base),
            addressing.seg_limit.eq(segments.a_limit), addressing.seg_attr.eq(segments.a_attr),
            a_go.eq(a.valid & ~addressing.wait & m_free & ~flush),
            lsu.a_go.eq(a_go & (a.mem != Mem.NONE) & (addressing.fault == AccessFault.NONE)),
            lsu.a_linear.eq(addressing.linear), lsu.a_size.eq(a.width), lsu.a_kind.eq(a.mem),
            lsu.a_user.eq(user & ~a.supervisor & (a.aseg != Aseg.LIN)), lsu.a_phys.eq(a.aseg == Aseg.PHYS),
        ]
        with m.If(flush):
            m.d.sync += mm.valid.eq(0)
        with m.Elif(m_free):
            m.d.sync += mm.valid.eq(a_go)
        with m.If(a_go):
            m.d.sync += [
                *mm.load(a, CARRIED), *same(mm, addressing, "linear", "fault", "step_half", "step_value"),
                mm.fault_seg.eq(a.aseg[0]), mm.physical.eq(a.aseg == Aseg.PHYS),
                mm.step_en.eq(a.step != Step.NONE), mm.step_reg.eq(a.step_reg),
            ]

        # ---- M: memory -------------------------------------------------------------------------------------------
        m_access = Signal()
        m_skip = Signal()
        m_halted = Signal()
        m.d.comb += [
            # An event or an instruction breakpoint goes before what a walk or an uncached read would do.
            m_halted.eq(mm.first & ~x.valid & (
                (exceptions.any_event & ~mm.uninterruptible) | exceptions.breakpoint)),
            m_access.eq(mm.valid & (mm.mem != Mem.NONE) & (mm.fault == AccessFault.NONE)),
            # An access that must not start because an event goes first leaves as it is; X then takes the event.
            m_skip.eq(m_access & m_halted & ~lsu.m_done & ~lsu.m_walked),
            m_go.eq(mm.valid & x_free & (~m_access | lsu.m_done | m_skip) & ~flush),
            m_free.eq(~mm.valid | m_go),
            lsu.m_drained.eq(~x.valid & ~m_halted),
            lsu.m_go.eq(m_go & m_access & ~m_skip & ~lsu.m_fault),
            lsu.m_kill.eq(m_access & (flush | (m_go & (m_skip | lsu.m_fault)))),
        ]
        with m.If(flush):
            m.d.sync += x.valid.eq(0)
        with m.Elif(x_free):
            m.d.sync += x.valid.eq(m_go)
        m.d.sync += x_new.eq(m_go)
        with m.If(m_go):
            m.d.sync += [
                *x.load(mm, CARRIED, MEMORY),
                x.loaded.eq(lsu.m_data), x.page_code.eq(lsu.m_fault_code), x.abandoned.eq(m_skip),
                x.uninterruptible.eq(mm.uninterruptible | (m_access & lsu.m_walked)),
            ]
            with m.If(m_access & lsu.m_done & lsu.m_fault):
                m.d.sync += [
                    x.fault.eq(AccessFault.PAGE),
                    x.linear.eq(Mux(lsu.m_fault_nested, lsu.m_fault_gpa, lsu.m_fault_linear)),
                    x.nested.eq(lsu.m_fault_nested), x.table.eq(lsu.m_fault_table),
                ]

        # ---- X: operands, result ---------------------------------------------------------------------------------
        cpuid_port = cpuid.read_port(domain="comb")
        x_a, x_b, next_eip = operands.a, operands.b, operands.next_eip
        is_io = (x.alu == Alu.IN) | (x.alu == Alu.OUT)
        # A port is used once, however long the store of INS has to wait after it.
        io_done = Signal()
        io_kept = Signal(32)
        m.d.comb += [
            regs.x_a.eq(x.a), regs.x_a_high.eq(x.a_high), regs.x_b.eq(x.b), regs.x_b_high.eq(x.b_high),
            segments.x_seg.eq(Mux(x.fault == AccessFault.NEW_STACK, Aseg.TMP0 + x.fault_seg, x.sreg)),
            sysregs.sys.eq(x.sys), sysregs.live.eq(x.valid), sysregs.dr_index.eq(x.reg),
            # The number of an event, or of its MSR: PERF_BASE has zeros there.
            perf.index.eq(regs.gpr[Gpr.ECX]), perf.sample.eq(x.valid & (x.sys == Sys.PERF_LO)),
            *same(sysread, sysregs, "cpl", "eflags", "cr0", "cr4", "dr7"),
            *same(sysread, segments, "x_sel", "x_base", "x_limit", "x_attr", "ss_32"),
            *same(sysread, execute, "mul_hi", "div_rem"), *same(sysread, exceptions, "e_has_error", "e_soft"),
            sysread.count_low.eq(perf.value[:32]), sysread.count_high.eq(perf.high),
            sysread.events.eq(guestmode.events), sysread.hsave_ram.eq(guestmode.hsave[12:] < ram_pages),
            *(mine.eq(unit.read) for mine, unit in zip(sysread.reads, (sysregs, exceptions, guestmode), strict=True)),
            operands.a_row.eq(regs.x_a_data), operands.b_row.eq(regs.x_b_data), operands.system.eq(sysread.value),
            execute.op.eq(x.alu), execute.size.eq(x.size), execute.a.eq(x_a), execute.b.eq(x_b),
            execute.imm.eq(x.imm), execute.ecx.eq(regs.gpr[Gpr.ECX]), execute.edx.eq(regs.gpr[Gpr.EDX]),
            execute.flags_in.eq(sysregs.flags), execute.flag_set.eq(x.flags), execute.condition.eq(x.opcode),
            execute.start.eq(x.valid & x_new), cpuid_port.addr.eq(x_a),
        ]
        with m.Switch(x.alu):
            with m.Case(Alu.IN):
                m.d.comb += result.eq(Mux(io_done, io_kept, self.io.rdata))
            with m.Case(Alu.ROM):
                m.d.comb += result.eq(cpuid_port.data)
            with m.Default():
                m.d.comb += result.eq(execute.result)

        # ---- X: branches, exceptions, guest mode -----------------------------------------------------------------
        refetch_pending = Signal()
        # A far transfer has checked its target, or leaves that to the fetch in a new task.
        far = (x.alu == Alu.JMPI) & (x.sreg == Aseg.CS)
        # Between instructions X is empty: in HLT, or while decode waits for bytes.
        between = drained & (self.halted | (issue.starved & ~fetch.q_walked))
        connect(m, exceptions.intercept, guestmode.intercept)
        m.d.comb += [
            *same(branch, x, "alu", "opcode", "size", "opsize16", "imm"), branch.next_eip.eq(next_eip),
            branch.a.eq(x_a), branch.holds.eq(execute.cond), branch.zero.eq(execute.flags_out.zf),
            branch.zf.eq(sysregs.flags.zf), branch.guess.eq(x.taken),
            microbranch.raw.eq(execute.flags_out), microbranch.zf.eq(sysregs.flags.zf),
            microbranch.go_on.eq(exceptions.go_on & ~refetch_pending),
            *same(exceptions, self, "intr", "nmi", "init"), exceptions.vector_in.eq(self.vector),
            *same(self, exceptions, "intack", "reset"), self.apic_enable.eq(sysregs.apic_enable),
            exceptions.here.eq(((x.valid & x_new & x.first & ~x.uninterruptible) | between) & ~start),
            exceptions.eip.eq(Mux(x.valid, x.eip, eip)), exceptions.partial.eq(retirement.partial),
            exceptions.code_address.eq(segments.cs_base + Mux(x.valid, x.eip, mm.eip)),
            exceptions.io.eq(is_io), exceptions.divide_error.eq(execute.ready & execute.divide_error),
            exceptions.beyond_limit.eq(branch.taken & ~far & (branch.target > segments.cs_limit)),
            exceptions.selector.eq(segments.x_sel), exceptions.fetch_linear.eq(fetch.q_fault_linear),
            *same(exceptions, sysregs, "cpl", "ncpl", "eflags", "cr0", "cr4", "dr7", "sti", "write"),
            *(mine.eq(register) for mine, register in zip(exceptions.dr, sysregs.dr, strict=True)),
            *same(guestmode, sysregs, "cr0", "cr4", "eflags", "write", "data"),
            *same(guestmode, segments, "cs_base", "cs_limit"), *same(guestmode, fetch, "x_bytes", "x_have"),
            *same(fetch, guestmode, "x_wanted", "x_needed"),
            guestmode.fetch_nested.eq(fetch.q_fault_nested), guestmode.fetch_table.eq(fetch.q_fault_table),
            guestmode.fetch_fault.eq(fetch.q_fault), guestmode.fetch_gpa.eq(fetch.q_fault_gpa), guestmode.take.eq(take),
            exceptions.last.eq(last),
        ]
        for unit in (exceptions, guestmode):
            m.d.comb += [unit.a.eq(x_a), unit.b.eq(x_b), unit.next_eip.eq(next_eip), unit.commit.eq(commit),
                         unit.done.eq(done), unit.fetch_code.eq(fetch.q_fault_code)]

        # ---- X: commit -------------------------------------------------------------------------------------------
        # WBINVD: wait until the data side is idle, say so, wait again.
        flush_step = Signal(2)
        flushing = Signal()
        m.d.comb += [lsu.wbinvd.eq(flush_step == 1), fetch.invalidate.eq(flush_step == 1)]
        with m.If(x.valid & (x.alu == Alu.WRSYS) & (x.sys == Sys.WBINVD) & ~take & ~x.abandoned):
            m.d.comb += flushing.eq((flush_step != 2) | ~lsu.idle | fetch.invalidating)
            with m.If((flush_step == 1) | lsu.idle):
                m.d.sync += flush_step.eq(Mux(flushing, flush_step + (flush_step != 2), 0))
        writes, stores = x.alu == Alu.WRSYS, x.mem == Mem.STORE
        x_done = Signal()
        m.d.comb += [
            x_done.eq(execute.ready & (~stores | lsu.x_ready) & (~is_io | io_done | self.io.ready) & ~flushing
                      & guestmode.ready),
            commit.eq(x.valid & x_done & ~take & ~x.abandoned),
            x_go.eq(commit | (x.valid & (take | x.abandoned))),
            x_free.eq(~x.valid | x_go),
            self.io.valid.eq(x.valid & is_io & ~io_done & ~take & ~x.abandoned), self.io.write.eq(x.alu == Alu.OUT),
            self.io.port.eq(x_a), self.io.size.eq(x.size), self.io.wdata.eq(x_b),
            lsu.x_commit.eq(commit & stores), lsu.x_data.eq(result),
            lsu.x_kill.eq(lsu.x_store & x.valid & (take | x.abandoned)),
            regs.x_write.eq(commit & (x.dst != Reg.NONE)), regs.x_dst.eq(x.dst), regs.x_size.eq(x.dst_size),
            regs.x_high.eq(x.dst_high), regs.x_data.eq(result),
            regs.x_step.eq(commit & x.step_en), regs.x_step_reg.eq(x.step_reg), regs.x_step_half.eq(x.step_half),
            regs.x_step_data.eq(x.step_value),
            regs.x_mark.eq((commit & (x.first | (writes & (x.sys == Sys.EEIP))))
                           | (take & (exceptions.event | x.first))),
            regs.x_restore.eq(take & ~exceptions.event & ~x.first),
            sysregs.write.eq(commit & writes), sysregs.size.eq(x.size), sysregs.data.eq(Mux(writes, x_b, x_a)),
            sysregs.flags_en.eq(commit & (x.flags != 0)), sysregs.flags_in.eq(execute.flags_out),
            sysregs.flags_mask.eq(execute.flags_mask),
            sysregs.flag_op.eq(commit & (x.alu == Alu.FLAG)), sysregs.flag_kind.eq(x.const),
            sysregs.popf.eq(commit & (x.alu == Alu.POPF)), sysregs.iret.eq(commit & (x.alu == Alu.IRETF)),
            *same(sysregs, exceptions, "cr2_en", "cr2_data", "dr6_set", "debug_done", "rf_clear"),
            *same(sysregs, guestmode, "tsc_offset"),
            segments.x_load.eq(commit & (x.alu == Alu.DESC)), segments.x_high.eq(x_a), segments.x_low.eq(x_b),
            segments.x_data.eq(x_b),
            *(getattr(segments, f"x_write_{name}").eq(sysregs.write & (x.sys == register)) for name, register in (
                ("sel", Sys.SEL), ("base", Sys.BASE), ("limit", Sys.LIMIT), ("attr", Sys.ATTR),
                ("word", Sys.SEGWORD))),
        ]
        with m.If(x_go):
            m.d.sync += io_done.eq(0)
        with m.Elif(self.io.valid & self.io.ready):
            m.d.sync += [io_done.eq(1), io_kept.eq(self.io.rdata)]
        with m.If(take):
            m.d.sync += self.halted.eq(0)
        with m.If(commit & (x.alu == Alu.HALT)):
            m.d.sync += self.halted.eq(1)
        with m.If(exceptions.shutdown | (commit & (x.alu == Alu.SHUTDOWN))):
            m.d.sync += self.shutdown.eq(1)
        m.d.comb += self.stuck.eq(self.halted & ~exceptions.waking)

        # ---- X: what follows -------------------------------------------------------------------------------------
        restart, turned = microbranch.restart, commit & microbranch.missed
        smc = lsu.snoop_hit & stores
        after = Signal(32)
        m.d.comb += [
            done.eq(commit & last & ~restart),
            after.eq(Mux(restart, x.eip, Mux(branch.taken, branch.target, next_eip))),
            refetch.eq((x.valid & x.abandoned & ~take)
                       | (commit & last & (restart | branch.missed | refetch_pending | smc))),
            flush.eq(take | refetch | turned),
            issue.x_flush.eq(flush | start), issue.x_event.eq(take & ~exceptions.shutdown),
            issue.x_exit.eq(exceptions.exit), issue.x_branch.eq(turned), issue.x_target.eq(x.alt),
            issue.x_override.eq(exceptions.override), issue.context_eip.eq(exceptions.e_restart),
            fetch.x_redirect.eq(refetch | start | guestmode.refetch),
            fetch.x_redirect_eip.eq(Mux(start, eip, Mux(x.abandoned | guestmode.refetch, x.eip, after))),
            predictor.x_update.eq(commit & branch.conditional), predictor.x_eip.eq(x.eip),
            predictor.x_backward.eq(x.imm[31]), predictor.x_counter.eq(x.counter), predictor.x_taken.eq(branch.taken),
            predictor.x_indirect.eq(commit & (x.alu == Alu.JMPI) & branch.missed & ~x.event),
            predictor.x_target.eq(branch.target),
            predictor.x_restore.eq(flush & ~issue.x_branch), predictor.x_pointer.eq(x.ras),
        ]
        with m.If(done):
            m.d.sync += eip.eq(after)
        with m.If(commit & last):
            m.d.sync += refetch_pending.eq(0)
        with m.Elif(commit & smc):
            m.d.sync += refetch_pending.eq(1)
        # A new stack width changes what decode made of later instructions.
        with m.If((segments.x_load | segments.x_write_attr) & (x.sreg == Aseg.SS) & ~last):
            m.d.sync += refetch_pending.eq(1)

        # ---- what the outside sees -------------------------------------------------------------------------------
        connect(m, retirement.retire, flipped(self.retire))
        m.d.comb += [
            retirement.done.eq(done), retirement.iteration.eq(commit & microbranch.iterates), retirement.eip.eq(eip),
            *same(retirement, exceptions, "e_vector", "e_error", "e_interrupt", "e_requested", "exiting"),
            *same(retirement, guestmode, "exit_code"), *same(retirement, sysregs, "cpl", "eflags"),
            *(mine.eq(register) for mine, register in zip(retirement.gpr, regs.gpr, strict=True)),
            *same(perfevents, issue, "starved", "blocked"), perfevents.microcode.eq(issue.go & issue.micro),
            perfevents.turned.eq(fetch.x_redirect | issue.redirect), perfevents.walking.eq(fetch.walk.valid),
            *same(perfevents, fetch, "p_hit", "p_miss", "p_itlb_hit", "p_itlb_miss"),
            perfevents.load_use.eq(a.valid & addressing.wait & m_free),
            perfevents.memory.eq(lsu.events), perfevents.x_ready.eq(lsu.x_ready),
            perfevents.computing.eq(~execute.ready), perfevents.io_waits.eq(self.io.valid & ~self.io.ready),
            perfevents.done.eq(done), perfevents.completes.eq(retirement.completes),
            *same(perfevents, exceptions, "e_interrupt", "exiting"), *same(perfevents, branch, "taken", "conditional"),
            perfevents.halted.eq(self.halted), perfevents.guest.eq(guestmode.guest),
            perfevents.vmrun.eq(guestmode.entering), perfevents.vmexit.eq(take & exceptions.exit),
            perf.pulse.eq(perfevents.pulse),
        ]
        return m


def _branching(stage: Latch):
    return stage.valid & ((stage.next == Next.BR) | (stage.next == Next.BRT))
