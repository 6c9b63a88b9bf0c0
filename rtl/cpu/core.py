"""The processor: F -> queue -> D -> A -> M -> X."""

from dataclasses import dataclass, field

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.bus.io import IoSignature
from rtl.bus.memory import MemorySignature
from rtl.cache.config import CacheConfig
from rtl.cache.port import RequestPort
from rtl.isa.exceptions import Vector
from rtl.isa.layout import shape
from rtl.isa.msrs import PerfEvent
from rtl.isa.registers import Cr0, Gpr
from rtl.isa.retire import RetireCause
from rtl.isa.svm import EventType, ExitCode, IoInfo
from rtl.mmu.config import MmuConfig
from rtl.mmu.control import PagingControl
from rtl.svm.unit import READABLE, WRITABLE, SvmUnit

from .address import AddressUnit
from .boundary import Boundary, Source
from .branch import BranchUnit
from .debug import DebugUnit
from .decode_rom import Check, build
from .descriptor_check import DescriptorCheck
from .events import AccessFault, EventUnit, Kind
from .execute import Execute
from .exits import ExitUnit
from .faults import FaultUnit
from .fetch import Fetch
from .fetched import FetchedBytes
from .issue import Issue
from .lsu import Lsu
from .microcode import CPUID_ROM, assembled
from .perf import PerfCounters
from .predictor import Predictor, PredictorConfig
from .regfile import RegisterFile
from .retire import RetireSignature
from .segments import SegmentCaches
from .stages import CARRIED, MEMORY, Latch
from .sysregs import SystemRegisters
from .uop import Alu, Aseg, Cond, Mem, Next, Reg, Size, Src, Status, Step, Sys

__all__ = ["Core", "CoreConfig"]

#: The prefix F3 as decode has it; the low bits of the opcode of INT n.
_REP = 3
#: Changes of CR0 that the selective intercept of its writes heeds.
_SELECTIVE = 0xFFFF_FFFF & ~int(Cr0.TS | Cr0.MP)
_INT_N = 0xD


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
        m.submodules.address = address = AddressUnit()
        m.submodules.regs = regs = RegisterFile()
        m.submodules.segments = segments = SegmentCaches()
        m.submodules.lsu = lsu = Lsu(config.cache, config.mmu)
        m.submodules.execute = execute = Execute()
        m.submodules.check = check = DescriptorCheck()
        m.submodules.sysregs = sysregs = SystemRegisters()
        m.submodules.events = events = EventUnit()
        m.submodules.debug = debug = DebugUnit()
        m.submodules.branch = branch = BranchUnit()
        m.submodules.faults = faults = FaultUnit()
        m.submodules.boundary = boundary = Boundary()
        m.submodules.svm = svm = SvmUnit()
        m.submodules.exits = exits = ExitUnit()
        m.submodules.fetched = fetched = FetchedBytes()
        m.submodules.perf = perf = PerfCounters()
        m.submodules.constants = constants = Memory(shape=32, depth=256, init=rom.constants)
        m.submodules.cpuid = cpuid = Memory(shape=32, depth=len(CPUID_ROM), init=CPUID_ROM)

        a = issue.latch
        mm = Latch("m", CARRIED, MEMORY)
        x = Latch("x", CARRIED, MEMORY)
        x_load = Signal(32)
        x_page_code = Signal(5)
        # The page fault is of the nested tables: at which guest-physical address is in `linear`.
        x_nested = Signal()
        x_table = Signal()
        x_new = Signal()
        x_abandoned = Signal()
        a_go = Signal()
        m_go = Signal()
        x_go = Signal()
        m_free = Signal()
        x_free = Signal()
        flush = Signal()
        refetch = Signal()
        # Architectural EIP. A host that sets registers before the first cycle sets this one too: fetch starts there.
        eip = Signal(32, name="eip")
        start = Signal(init=1)
        m.d.sync += start.eq(0)
        commit = Signal()
        take = Signal()
        result = Signal(32, name="x_result")

        # ---- connections that need no decision -------------------------------------------------------------------
        connect(m, lsu.mem, flipped(self.mem))
        connect(m, lsu.dma, flipped(self.dma))
        connect(m, fetch.refill, lsu.code)
        connect(m, fetch.walk, lsu.walk_i)
        connect(m, lsu.snoop, fetch.snoop)
        user = Signal()
        paging = Signal(PagingControl)
        ram_pages = self.ram_size_words[10:]
        m.d.comb += [
            user.eq(sysregs.cpl == 3),
            lsu.control.eq(paging), fetch.control.eq(paging),
            lsu.ram_size_words.eq(self.ram_size_words), fetch.ram_pages.eq(ram_pages),
            fetch.user.eq(user), fetch.cs_base.eq(segments.cs_base),
            issue.q_bytes.eq(fetch.q_bytes), issue.q_count.eq(fetch.q_count), issue.q_eip.eq(fetch.q_eip),
            issue.q_fault.eq(fetch.q_fault), issue.q_walked.eq(fetch.q_walked),
            fetch.d_take.eq(issue.take), fetch.starved.eq(issue.starved),
            fetch.d_redirect.eq(issue.redirect), fetch.d_redirect_eip.eq(issue.redirect_eip),
            predictor.d_eip.eq(issue.p_eip), predictor.d_backward.eq(issue.p_backward),
            issue.p_taken.eq(predictor.d_taken), issue.p_counter.eq(predictor.d_counter),
            predictor.d_push.eq(issue.p_push), predictor.d_push_eip.eq(issue.p_push_eip),
            predictor.d_pop.eq(issue.p_pop), issue.p_return_eip.eq(predictor.d_return_eip),
            issue.p_pointer.eq(predictor.d_pointer), issue.p_indirect_eip.eq(predictor.d_indirect_eip),
            issue.cs_limit.eq(segments.cs_limit), issue.cs_32.eq(segments.cs_32), issue.ss_32.eq(segments.ss_32),
            issue.cpl.eq(sysregs.cpl), issue.svme.eq(svm.svme),
            svm.code.eq(issue.code), issue.intercepted.eq(svm.intercepted),
            issue.halted.eq(self.halted | self.shutdown | start),
        ]
        elsewhere = svm.flush_asid | svm.flush_nonglobal | svm.flush_page
        for unit in (lsu.maintenance, fetch.maintenance):
            m.d.comb += [unit.inv_all.eq(svm.flush_all), unit.inv_asid.eq(sysregs.inv_all | svm.flush_asid),
                         unit.inv_nonglobal.eq(sysregs.inv_nonglobal | svm.flush_nonglobal),
                         unit.inv_page.eq((sysregs.write & (x.sys == Sys.INVLPG)) | svm.flush_page),
                         unit.asid.eq(Mux(elsewhere, svm.flush_space, svm.asid)), unit.inv_linear.eq(sysregs.data)]
        m.d.comb += [
            paging.eq(sysregs.control), paging.asid.eq(svm.asid), paging.nested.eq(svm.nested),
            paging.n_pse.eq(svm.n_pse), paging.n_cr3_base.eq(svm.n_cr3[12:]),
        ]

        # ---- A: address generation -------------------------------------------------------------------------------
        def forwarded(row, present, file_value, name):
            """The value of an address register, and whether it must be waited for."""
            value, wait = Signal(32, name=f"a_{name}_value"), Signal(name=f"a_{name}_wait")
            with m.If(~present):
                pass
            with m.Elif(mm.valid & (mm.dst == row)):
                m.d.comb += wait.eq(1)
            with m.Elif(mm.valid & mm.step_en & (mm.step_reg == row)):
                m.d.comb += [value.eq(mm.step_value), wait.eq(mm.step_half)]
            with m.Elif(x.valid & (x.dst == row)):
                m.d.comb += [value.eq(result), wait.eq((x.dst_size != Size.D) | ~commit)]
            with m.Elif(x.valid & x.step_en & (x.step_reg == row)):
                m.d.comb += [value.eq(x.step_value), wait.eq(x.step_half)]
            with m.Else():
                m.d.comb += value.eq(file_value)
            return value, wait

        m.d.comb += [regs.a_base.eq(a.base), regs.a_index.eq(a.index)]
        base, base_wait = forwarded(a.base, a.has_base, regs.a_base_data, "base")
        index, index_wait = forwarded(a.index, a.has_index, regs.a_index_data, "index")
        a_wait = Signal()
        a_access = a.mem != Mem.NONE
        m.d.comb += [
            segments.a_seg.eq(a.aseg),
            address.base.eq(base), address.index.eq(index), address.scale.eq(a.scale), address.disp.eq(a.disp),
            address.wrap16.eq(a.wrap16 | (a.by_stack & ~segments.a_attr.db)),
            address.step.eq(a.step), address.delta.eq(a.delta),
            address.df.eq(sysregs.eflags.df), address.align.eq(user & sysregs.cr0.am & sysregs.eflags.ac),
            address.mem.eq(a.mem), address.width.eq(a.width), address.aseg.eq(a.aseg),
            address.seg_base.eq(segments.a_base), address.seg_limit.eq(segments.a_limit),
            address.seg_attr.eq(segments.a_attr),
            a_wait.eq(base_wait | index_wait
                      | ((a.aseg < Aseg.PHYS) & ((mm.valid & mm.system_write) | (x.valid & x.system_write)))
                      | ((a.step == Step.STRING) & ((mm.valid & mm.df_write) | (x.valid & x.df_write)))),
            a_go.eq(a.valid & ~a_wait & m_free & ~flush),
            issue.a_free.eq(~a.valid | a_go),
            lsu.a_go.eq(a_go & a_access & (address.fault == AccessFault.NONE)),
            lsu.a_linear.eq(address.linear), lsu.a_size.eq(a.width), lsu.a_kind.eq(a.mem),
            lsu.a_user.eq(user & ~a.supervisor & (a.aseg != Aseg.LIN)), lsu.a_phys.eq(a.aseg == Aseg.PHYS),
        ]
        with m.If(flush):
            m.d.sync += mm.valid.eq(0)
        with m.Elif(m_free):
            m.d.sync += mm.valid.eq(a_go)
        with m.If(a_go):
            m.d.sync += [
                *mm.load(a, CARRIED),
                mm.linear.eq(address.linear), mm.fault.eq(address.fault), mm.fault_seg.eq(a.aseg[0]),
                mm.physical.eq(a.aseg == Aseg.PHYS),
                mm.step_en.eq(a.step != Step.NONE), mm.step_reg.eq(a.step_reg),
                mm.step_half.eq(address.step_half), mm.step_value.eq(address.step_value),
            ]

        # ---- events that may be taken before an instruction ------------------------------------------------------
        any_event = boundary.any_event
        m.d.comb += [
            boundary.intr.eq(self.intr), boundary.if_.eq(sysregs.eflags.if_), boundary.nmi.eq(self.nmi),
            boundary.init.eq(self.init), boundary.init_exits.eq(svm.events[ExitCode.INIT & 31]),
            self.reset.eq(boundary.reset), self.apic_enable.eq(sysregs.apic_enable),
            boundary.vector_in.eq(self.vector), self.intack.eq(boundary.intack),
            boundary.gif.eq(svm.gif), boundary.masking.eq(svm.masking), boundary.host_if.eq(svm.host_if),
            boundary.virtual.eq(svm.virtual), boundary.virtual_vector.eq(svm.virtual_vector),
            svm.virtual_taken.eq(boundary.virtual_taken),
            boundary.inject.eq(svm.inject),
            boundary.inject_vector.eq(Mux(svm.event.type == EventType.NMI, Vector.NMI, svm.event.vector)),
            svm.injected.eq(boundary.injected),
        ]
        with m.Switch(svm.event.type):
            with m.Case(EventType.EXCEPTION):
                # APM 15.20: #BP and #OF are injected as INT3 and INTO would raise them.
                m.d.comb += boundary.inject_kind.eq(Mux(
                    (svm.event.vector == Vector.BP) | (svm.event.vector == Vector.OF), Kind.SOFTWARE, Kind.FAULT))
            with m.Case(EventType.SOFTWARE):
                m.d.comb += boundary.inject_kind.eq(Kind.SOFTWARE)
            with m.Default():
                m.d.comb += boundary.inject_kind.eq(Kind.INTERRUPT)

        # ---- M: memory -------------------------------------------------------------------------------------------
        m_access = Signal()
        m_skip = Signal()
        m_halted = Signal()
        m.d.comb += [
            # An event or an instruction breakpoint goes before what a walk or an uncached read would do.
            m_halted.eq(mm.first & ~x.valid & ((any_event & ~mm.uninterruptible) | debug.x_execute)),
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
                x_load.eq(lsu.m_data), x_page_code.eq(lsu.m_fault_code), x_abandoned.eq(m_skip),
                x.uninterruptible.eq(mm.uninterruptible | (m_access & lsu.m_walked)),
            ]
            with m.If(m_access & lsu.m_done & lsu.m_fault):
                m.d.sync += [
                    x.fault.eq(AccessFault.PAGE),
                    x.linear.eq(Mux(lsu.m_fault_nested, lsu.m_fault_gpa, lsu.m_fault_linear)),
                    x_nested.eq(lsu.m_fault_nested), x_table.eq(lsu.m_fault_table),
                ]

        # ---- X: operands -----------------------------------------------------------------------------------------
        constant = constants.read_port(domain="comb")
        next_eip = Signal(32, name="x_next_eip")
        exiting = Signal()
        entered = Signal()
        status = Signal(32)
        io_exits = svm.events[ExitCode.IOIO & 31]
        sys_value = Signal(32)
        m.d.comb += [
            constant.addr.eq(x.const), next_eip.eq(x.eip + x.length),
            regs.x_a.eq(x.a), regs.x_a_high.eq(x.a_high), regs.x_b.eq(x.b), regs.x_b_high.eq(x.b_high),
            segments.x_seg.eq(Mux(x.fault == AccessFault.NEW_STACK, Aseg.TMP0 + x.fault_seg, x.sreg)),
            sysregs.sys.eq(x.sys), sysregs.live.eq(x.valid), sysregs.dr_index.eq(x.reg),
        ]
        for bit, value in {
                Status.OPSIZE16: x.opsize16, Status.ADSIZE16: x.adsize16, Status.REP: x.repeat[1],
                Status.CPL0: sysregs.cpl == 0, Status.CPL3: user, Status.IOPL_OK: sysregs.cpl <= sysregs.eflags.iopl,
                Status.SS_B: segments.ss_32, Status.NT: sysregs.eflags.nt, Status.VM: sysregs.eflags.vm,
                Status.PE: sysregs.cr0.pe, Status.HAS_ERROR: events.e_has_error, Status.SOFT: events.e_soft,
                Status.MEMORY: x.memory, Status.DF: sysregs.eflags.df, Status.PCE: sysregs.cr4.pce,
                Status.TSD: sysregs.cr4.tsd, Status.PG: sysregs.cr0.pg, Status.SREG_SS: x.sreg == Aseg.SS,
                Status.TSS32: segments.x_attr.type[3], Status.DR_GD: sysregs.dr7[13],
                Status.DR_UD: (x.reg[1:] == 0b10) & sysregs.cr4.de,
                Status.IO_INTERCEPT: io_exits, Status.MSR_INTERCEPT: svm.events[ExitCode.MSR & 31],
                Status.TASK_INTERCEPT: svm.events[ExitCode.TASK_SWITCH & 31],
                Status.PORT_OK: (sysregs.cpl <= sysregs.eflags.iopl) & ~io_exits,
                Status.BITMAP_OK: segments.x_attr.type[3] & ~io_exits,
                Status.HSAVE_RAM: svm.r_hsave[12:] < ram_pages}.items():
            m.d.comb += status[bit].eq(value)
        # EXITINFO1 of an IOIO exit but for the port, from the opcode, the prefixes and the segment.
        io_info = Signal(shape(IoInfo))
        m.d.comb += [
            io_info.input.eq(~x.opcode[1]), io_info.rep.eq(x.repeat[1]), io_info.size8.eq(~x.opcode[0]),
            io_info.size16.eq(x.opcode[0] & x.opsize16), io_info.size32.eq(x.opcode[0] & ~x.opsize16),
            io_info.address16.eq(x.adsize16), io_info.address32.eq(~x.adsize16), io_info.segment.eq(x.sreg),
        ]
        with m.Switch(x.sys):
            for number, value in {
                    Sys.STATUS: status, Sys.EVECTOR: events.e_vector, Sys.EERROR: events.e_error,
                    Sys.EEIP: events.e_eip, Sys.SEL: segments.x_sel, Sys.BASE: segments.x_base,
                    Sys.LIMIT: segments.x_limit, Sys.ATTR: Cat(C(0, 8), segments.x_attr.as_value()[:8], C(0, 4),
                                                                segments.x_attr.as_value()[8:]),
                    Sys.MUL_HI: execute.mul_hi, Sys.DIV_REM: execute.div_rem, Sys.PERF_LO: perf.value[:32],
                    Sys.PERF_HI: perf.high, Sys.SEGWORD: Cat(segments.x_sel, segments.x_attr),
                    Sys.IO_INFO: io_info.as_value(), Sys.FETCHED: fetched.words[0], Sys.FETCHED_1: fetched.words[1],
                    Sys.FETCHED_2: fetched.words[2], Sys.FETCHED_3: fetched.words[3],
                    **{Sys[name]: getattr(svm, f"r_{name.lower()}") for name in READABLE},
                    Sys.EXT: events.active & events.e_ext,
                    Sys.EFLAGS: sysregs.read | (events.active & events.e_rf & ~exiting) << 16}.items():
                with m.Case(number):
                    m.d.comb += sys_value.eq(value)
            with m.Default():
                m.d.comb += sys_value.eq(sysregs.read)

        def operand(select, register, name):
            value = Signal(32, name=name)
            with m.Switch(select):
                for number, source in {
                        Src.SYS: sys_value, Src.IMM: x.imm, Src.MEM: x_load, Src.EIP: x.eip, Src.NEXT: next_eip,
                        Src.CONST: constant.data, Src.ZERO: C(0, 32), Src.IMM2: x.imm2, Src.ADDR: x.linear,
                        Src.RM_NUMBER: Cat(x.rm, C(0, 28), C(1, 1))}.items():
                    with m.Case(number):
                        m.d.comb += value.eq(source)
                with m.Default():
                    m.d.comb += value.eq(register)
            return value

        x_a = operand(x.a, regs.x_a_data, "x_a_value")
        x_b = operand(x.b, regs.x_b_data, "x_b_value")
        cpuid_port = cpuid.read_port(domain="comb")
        m.d.comb += [
            execute.op.eq(x.alu), execute.size.eq(x.size), execute.a.eq(x_a), execute.b.eq(x_b),
            execute.imm.eq(x.imm), execute.ecx.eq(self.retire.gpr[Gpr.ECX]), execute.edx.eq(self.retire.gpr[Gpr.EDX]),
            execute.flags_in.eq(sysregs.flags), execute.flag_set.eq(x.flags), execute.condition.eq(x.opcode),
            execute.start.eq(x.valid & x_new),
            check.kind.eq(x.const), check.high.eq(x_a), check.selector.eq(x_b), check.cpl.eq(sysregs.cpl),
            check.ncpl.eq(sysregs.ncpl), check.soft.eq(events.e_soft), check.ext.eq(events.active & events.e_ext),
            cpuid_port.addr.eq(x_a),
            # The number of an event, or of its MSR: PERF_BASE has zeros there.
            perf.index.eq(self.retire.gpr[Gpr.ECX]), perf.sample.eq(x.valid & (x.sys == Sys.PERF_LO)),
        ]
        is_io = (x.alu == Alu.IN) | (x.alu == Alu.OUT)
        # A port is used once, however long the store of INS has to wait after it.
        io_done = Signal()
        io_kept = Signal(32)
        with m.Switch(x.alu):
            with m.Case(Alu.IN):
                m.d.comb += result.eq(Mux(io_done, io_kept, self.io.rdata))
            with m.Case(Alu.ROM):
                m.d.comb += result.eq(cpuid_port.data)
            with m.Default():
                m.d.comb += result.eq(execute.result)

        # ---- X: branches -----------------------------------------------------------------------------------------
        flags, raw = sysregs.flags, execute.flags_out
        taken, target = branch.taken, branch.target
        m.d.comb += [
            branch.alu.eq(x.alu), branch.opcode.eq(x.opcode), branch.size.eq(x.size), branch.opsize16.eq(x.opsize16),
            branch.next_eip.eq(next_eip), branch.imm.eq(x.imm), branch.a.eq(x_a), branch.holds.eq(execute.cond),
            branch.zero.eq(raw.zf), branch.zf.eq(flags.zf), branch.guess.eq(x.taken),
        ]

        # Micro-branches.
        conditional = (x.next == Next.BR) | (x.next == Next.BRT)
        go_on = Signal()
        holds = Signal()
        iterating = Signal()
        refetch_pending = Signal()
        instruction_tf = Signal()
        tf = Mux(x.first, sysregs.eflags.tf, instruction_tf)
        more = Signal()
        m.d.comb += [
            go_on.eq(boundary.go_on & ~tf & ~refetch_pending),
            iterating.eq((x.cond == Cond.REPZ) | (x.cond == Cond.REPZ_GO)),
            more.eq(~raw.zf & (~iterating | (flags.zf == x.repeat[0]))),
        ]
        with m.Switch(x.cond):
            for number, value in {
                    Cond.Z: raw.zf, Cond.NZ: ~raw.zf, Cond.C: raw.cf, Cond.NC: ~raw.cf, Cond.S: raw.sf,
                    Cond.NS: ~raw.sf, Cond.BE: raw.cf | raw.zf, Cond.A: ~raw.cf & ~raw.zf,
                    Cond.REP: more, Cond.REPZ: more, Cond.REP_GO: more & go_on, Cond.REPZ_GO: more & go_on}.items():
                with m.Case(number):
                    m.d.comb += holds.eq(value)
        micro_missed = conditional & (holds != (x.next == Next.BRT))
        restart = (x.next == Next.ENDREP) & holds
        last = Signal()
        m.d.comb += last.eq((x.next == Next.END) | (x.next == Next.ENDREP))

        # ---- X: faults and events --------------------------------------------------------------------------------
        event_now = Signal()
        # Between instructions X is empty: in HLT, or while decode waits for bytes.
        idle = issue.drained & (self.halted | (issue.starved & ~fetch.q_walked))
        code_breakpoint = debug.x_execute & x.first
        # A far transfer has checked its target, or leaves that to the fetch in a new task.
        far = (x.alu == Alu.JMPI) & (x.sreg == Aseg.CS)
        vector = Signal(8)
        kind = Signal(Kind)
        m.d.comb += [
            event_now.eq(any_event & ((x.valid & x_new & x.first & ~x.uninterruptible) | idle) & ~start),
            faults.breakpoint.eq(code_breakpoint), faults.check.eq(x.check), faults.access.eq(x.fault),
            faults.alu.eq(x.alu), faults.number.eq(x.const), faults.a.eq(x_a), faults.b.eq(x_b),
            faults.fetch_code.eq(fetch.q_fault_code), faults.page_code.eq(x_page_code),
            faults.selector.eq(segments.x_sel), faults.ext.eq(events.active & events.e_ext),
            faults.iopl_ok.eq(sysregs.cpl <= sysregs.eflags.iopl),
            faults.escape_nm.eq(sysregs.cr0.em | sysregs.cr0.ts), faults.wait_nm.eq(sysregs.cr0.mp & sysregs.cr0.ts),
            faults.refused.eq(~check.ok), faults.refused_vector.eq(check.vector), faults.refused_code.eq(check.code),
            faults.divide_error.eq(execute.ready & execute.divide_error),
            faults.beyond_limit.eq(taken & ~far & (target > segments.cs_limit)),
            take.eq(event_now | (x.valid & (code_breakpoint | (~x_abandoned & (faults.fault | exits.asked))))),
            vector.eq(Mux(event_now, boundary.vector, faults.vector)),
            kind.eq(Mux(event_now, boundary.kind, faults.kind)),
        ]
        restart_eip = Signal(32)
        left = Signal()
        partial = Signal()
        m.d.comb += [
            restart_eip.eq(Mux(x.valid, x.eip, eip)),
            events.take.eq(take & ~exits.exit), events.exit.eq(take & exits.exit), events.forget.eq(left),
            events.injected.eq(boundary.injected), events.injected_error.eq(svm.event.ev),
            events.vector.eq(vector), events.kind.eq(kind),
            events.error.eq(Mux(boundary.injected, svm.event.error, faults.error)),
            events.restart_eip.eq(restart_eip),
            events.next_eip.eq(Mux(boundary.injected, restart_eip, next_eip)),
            # SDM vol. 3B, 18.3.1.1: faults push RF set, and so do events between REP iterations. An instruction
            # breakpoint pushes it as it is, which is clear.
            events.rf.eq(Mux(event_now, partial, (kind == Kind.FAULT) & ~code_breakpoint)),
            # APM 15.12.15: an intercepted page fault leaves CR2 alone.
            sysregs.cr2_en.eq(take & (~exits.exit | exits.combined) & ~event_now & (vector == Vector.PF) & (
                (x.check == Check.FETCH) | (x.fault == AccessFault.PAGE))),
            sysregs.cr2_data.eq(Mux(x.check == Check.FETCH, fetch.q_fault_linear, x.linear)),
        ]

        # Why the guest is left, if it is.
        m.d.comb += [
            exits.event.eq(event_now), exits.source.eq(boundary.source), exits.vector.eq(vector),
            exits.exception.eq((events.type == EventType.EXCEPTION) & (kind != Kind.TRAP)),
            exits.error.eq(Mux(events.has_error, faults.error, 0)), exits.address.eq(sysregs.cr2_data),
            exits.of_fetch.eq(x.check == Check.FETCH), exits.access.eq(x.fault == AccessFault.PAGE),
            exits.fetch_nested.eq(fetch.q_fault_nested), exits.fetch_code.eq(fetch.q_fault_code),
            exits.fetch_table.eq(fetch.q_fault_table), exits.fetch_gpa.eq(fetch.q_fault_gpa),
            exits.access_nested.eq(x_nested), exits.access_code.eq(x_page_code), exits.access_table.eq(x_table),
            exits.first.eq(code_breakpoint | (x.check != Check.NONE) & faults.fault),
            exits.row.eq(x.valid & x.intercept[8]), exits.code.eq(x.intercept[:8]),
            exits.forced.eq(x.valid & (x.alu == Alu.WRSYS) & (x.sys == Sys.FORCE_EXIT)),
            exits.a.eq(x_a), exits.b.eq(x_b),
            exits.spared.eq((x.alu == Alu.WRSYS) & (
                ((x_b ^ sysregs.cr0.as_value()) & _SELECTIVE) == 0)),
            exits.paused.eq((x.repeat != _REP) | svm.pausing),
            exits.guest.eq(svm.guest), exits.exceptions.eq(svm.exceptions), exits.events.eq(svm.events),
            exits.double.eq(events.double), exits.fatal.eq(events.fatal), exits.delivering.eq(events.active),
            exits.e_vector.eq(events.e_vector), exits.e_type.eq(events.e_type),
            exits.e_has_error.eq(events.e_has_error), exits.e_error.eq(events.e_error), exits.next_eip.eq(next_eip),
            svm.exit_en.eq(take & exits.exit), svm.exit_forced.eq(exits.is_forced),
            svm.exit_shadow.eq(boundary.shadow), svm.cause.eq(exits.cause),
            svm.pause.eq(commit & x.intercept[8] & (x.intercept[:8] == ExitCode.PAUSE) & (x.repeat == _REP)),
            svm.if_.eq(sysregs.eflags.if_), svm.paging.eq(sysregs.cr0.pg), svm.pse.eq(sysregs.cr4.pse),
            svm.data.eq(sysregs.data), sysregs.tsc_offset.eq(svm.tsc_offset),
            left.eq(svm.w_guest & ~x_b[0]), boundary.forget.eq(left), boundary.shadow_set.eq(svm.w_shadow_bit & x_b[0]),
            boundary.exit.eq(exits.exit),
        ]
        with m.If(event_now):
            with m.Switch(boundary.source):
                with m.Case(Source.INJECTED):
                    m.d.comb += events.type.eq(svm.event.type)
                with m.Case(Source.TRAP):
                    m.d.comb += events.type.eq(EventType.EXCEPTION)
                with m.Case(Source.NMI):
                    m.d.comb += events.type.eq(EventType.NMI)
                with m.Default():
                    m.d.comb += events.type.eq(EventType.INTERRUPT)
        with m.Else():
            # INT3 and INTO are exceptions.
            m.d.comb += events.type.eq(Mux((kind == Kind.SOFTWARE) & (x.opcode == _INT_N), EventType.SOFTWARE,
                                           EventType.EXCEPTION))
        with m.If(sysregs.write):
            with m.Switch(x.sys):
                for name in WRITABLE:
                    with m.Case(Sys[name]):
                        m.d.comb += getattr(svm, f"w_{name.lower()}").eq(1)

        # ---- X: commit -------------------------------------------------------------------------------------------
        # WBINVD: wait until the data side is idle, say so, wait again.
        flush_step = Signal(2)
        flushing = Signal()
        m.d.comb += [lsu.wbinvd.eq(flush_step == 1), fetch.invalidate.eq(flush_step == 1)]
        with m.If(x.valid & (x.alu == Alu.WRSYS) & (x.sys == Sys.WBINVD) & ~take & ~x_abandoned):
            m.d.comb += flushing.eq((flush_step != 2) | ~lsu.idle | fetch.invalidating)
            with m.If((flush_step == 1) | lsu.idle):
                m.d.sync += flush_step.eq(Mux(flushing, flush_step + (flush_step != 2), 0))
        x_done = Signal()
        m.d.comb += [
            x_done.eq(execute.ready & ((x.mem != Mem.STORE) | lsu.x_ready) & (~is_io | io_done | self.io.ready)
                      & ~flushing & ((x.sys != Sys.FETCHED) | fetched.ready)),
            commit.eq(x.valid & x_done & ~take & ~x_abandoned),
            x_go.eq(commit | (x.valid & (take | x_abandoned))),
            x_free.eq(~x.valid | x_go),
            self.io.valid.eq(x.valid & is_io & ~io_done & ~take & ~x_abandoned), self.io.write.eq(x.alu == Alu.OUT),
            self.io.port.eq(x_a), self.io.size.eq(x.size), self.io.wdata.eq(x_b),
            lsu.x_commit.eq(commit & (x.mem == Mem.STORE)), lsu.x_data.eq(result),
            lsu.x_kill.eq(lsu.x_store & x.valid & (take | x_abandoned)),
            regs.x_write.eq(commit & (x.dst != Reg.NONE)), regs.x_dst.eq(x.dst), regs.x_size.eq(x.dst_size),
            regs.x_high.eq(x.dst_high), regs.x_data.eq(result),
            regs.x_step.eq(commit & x.step_en), regs.x_step_reg.eq(x.step_reg), regs.x_step_half.eq(x.step_half),
            regs.x_step_data.eq(x.step_value),
            regs.x_mark.eq((commit & (x.first | ((x.alu == Alu.WRSYS) & (x.sys == Sys.EEIP))))
                           | (take & (event_now | x.first))),
            regs.x_restore.eq(take & ~event_now & ~x.first),
            sysregs.write.eq(commit & (x.alu == Alu.WRSYS)), sysregs.size.eq(x.size),
            sysregs.data.eq(Mux(x.alu == Alu.WRSYS, x_b, x_a)),
            sysregs.flags_en.eq(commit & (x.flags != 0)), sysregs.flags_in.eq(execute.flags_out),
            sysregs.flags_mask.eq(execute.flags_mask),
            sysregs.flag_op.eq(commit & (x.alu == Alu.FLAG)), sysregs.flag_kind.eq(x.const),
            sysregs.popf.eq(commit & (x.alu == Alu.POPF)), sysregs.iret.eq(commit & (x.alu == Alu.IRETF)),
            segments.x_load.eq(commit & (x.alu == Alu.DESC)), segments.x_high.eq(x_a), segments.x_low.eq(x_b),
            segments.x_data.eq(x_b),
            segments.x_write_sel.eq(sysregs.write & (x.sys == Sys.SEL)),
            segments.x_write_base.eq(sysregs.write & (x.sys == Sys.BASE)),
            segments.x_write_limit.eq(sysregs.write & (x.sys == Sys.LIMIT)),
            segments.x_write_attr.eq(sysregs.write & (x.sys == Sys.ATTR)),
            segments.x_write_word.eq(sysregs.write & (x.sys == Sys.SEGWORD)),
            events.write_restart.eq(sysregs.write & (x.sys == Sys.EEIP)), events.write_eip.eq(x_b),
            events.done.eq(sysregs.write & (x.sys == Sys.EVENT_DONE)),
            sysregs.debug_done.eq(events.done & (events.e_vector == Vector.DB)),
            issue.x_override.eq(events.write_restart), issue.context_eip.eq(events.e_restart),
        ]
        with m.If(x_go):
            m.d.sync += io_done.eq(0)
        with m.Elif(self.io.valid & self.io.ready):
            m.d.sync += [io_done.eq(1), io_kept.eq(self.io.rdata)]

        # ---- X: what follows -------------------------------------------------------------------------------------
        done = Signal()
        smc = lsu.snoop_hit & (x.mem == Mem.STORE)
        after = Signal(32)
        m.d.comb += [
            done.eq(commit & last & ~restart),
            after.eq(Mux(restart, x.eip, Mux(taken, target, next_eip))),
            refetch.eq((x.valid & x_abandoned & ~take)
                       | (commit & last & (restart | branch.missed | refetch_pending | smc))),
            flush.eq(take | refetch | (commit & micro_missed)),
            issue.x_flush.eq(flush | start), issue.x_event.eq(take & ~events.shutdown), issue.x_exit.eq(exits.exit),
            issue.x_branch.eq(commit & micro_missed), issue.x_target.eq(x.alt),
            issue.drained.eq(~a.valid & ~mm.valid & ~x.valid),
            issue.branching.eq(self._branching(a) | self._branching(mm) | self._branching(x)),
            fetch.x_redirect.eq(refetch | start | fetched.go),
            fetch.x_redirect_eip.eq(Mux(start, eip, Mux(x_abandoned | fetched.go, x.eip, after))),
            # The code of an access that faults: it has just been fetched, and is so again.
            fetched.go.eq(take & exits.exit & exits.of_access & ~events.active), fetched.drop.eq(take),
            fetched.linear.eq(segments.cs_base[:12] + x.eip[:12]), fetched.length.eq(x.length),
            fetched.have.eq(fetch.x_have), fetched.bytes.eq(fetch.x_bytes), fetch.x_wanted.eq(fetched.wanted),
            fetch.x_needed.eq(fetched.needed),
            fetch.drained.eq(issue.drained & ~any_event & ~flush),
            predictor.x_update.eq(commit & branch.conditional), predictor.x_eip.eq(x.eip),
            predictor.x_backward.eq(x.imm[31]), predictor.x_counter.eq(x.counter), predictor.x_taken.eq(taken),
            predictor.x_indirect.eq(commit & (x.alu == Alu.JMPI) & branch.missed & ~x.event),
            predictor.x_target.eq(target),
            predictor.x_restore.eq(flush & ~issue.x_branch), predictor.x_pointer.eq(x.ras),
        ]
        with m.If(commit & last):
            m.d.sync += refetch_pending.eq(0)
        with m.Elif(commit & smc):
            m.d.sync += refetch_pending.eq(1)
        # A new stack width changes what decode made of later instructions.
        with m.If((segments.x_load | segments.x_write_attr) & (x.sreg == Aseg.SS) & ~last):
            m.d.sync += refetch_pending.eq(1)

        with m.If(svm.w_guest):
            m.d.sync += entered.eq(x_b[0])
        with m.If(done):
            m.d.sync += entered.eq(0)
        with m.If(commit & x.first):
            m.d.sync += instruction_tf.eq(sysregs.eflags.tf)
        m.d.comb += [
            boundary.take.eq(take), boundary.take_event.eq(event_now), boundary.done.eq(done),
            boundary.sti.eq(sysregs.sti), boundary.stack_load.eq(sysregs.write & (x.sys == Sys.SHADOW)),
            # APM 15.5.1: for TF of the host, VMRUN ends with the #VMEXIT.
            boundary.step.eq(commit & last & Mux(x.event, exiting & sysregs.eflags.tf, tf & ~entered)),
            boundary.task_trap.eq(events.done & x_b[0]),
            boundary.data_hits.eq(debug.x_data_hits),
            boundary.nmi_unblock.eq(sysregs.write & (x.sys == Sys.NMI_UNBLOCK)),
        ]
        with m.If(take & ~exits.asked & (vector == Vector.DB)):
            m.d.comb += sysregs.dr6_set.eq(Mux(event_now, boundary.trap_bits, debug.x_fault_bits))
        m.d.comb += [
            debug.dr7.eq(Mux(svm.gif, sysregs.dr7, 0)), debug.linear.eq(x.linear), debug.width.eq(x.width),
            debug.mem.eq(Mux(x.physical, Mem.NONE, x.mem)),
            debug.access.eq(commit), debug.eip.eq(segments.cs_base + Mux(x.valid, x.eip, mm.eip)),
            debug.rf.eq(sysregs.eflags.rf | boundary.stack_shadow),
            debug.io.eq(is_io & sysregs.cr4.de), debug.io_port.eq(x_a), debug.io_size.eq(x.size),
            sysregs.rf_clear.eq(done | (take & ~exits.exit & ((kind == Kind.SOFTWARE) | (kind == Kind.TRAP)))),
        ]
        for index in range(4):
            m.d.comb += debug.dr[index].eq(sysregs.dr[index])

        with m.If(take):
            m.d.sync += self.halted.eq(0)
        with m.If(commit & (x.alu == Alu.HALT)):
            m.d.sync += self.halted.eq(1)
        with m.If(events.shutdown | (commit & (x.alu == Alu.SHUTDOWN))):
            m.d.sync += self.shutdown.eq(1)
        m.d.comb += self.stuck.eq(self.halted & ~boundary.interruptible & ~boundary.waking)

        # ---- performance counters --------------------------------------------------------------------------------
        completes = Signal()
        with m.If(take):
            m.d.sync += exiting.eq(exits.exit)
        m.d.comb += completes.eq(done & (~x.event | (events.e_requested & ~exiting)))
        in_guest = Signal()   # from the end of VMRUN to the beginning of #VMEXIT
        with m.If(take & exits.exit):
            m.d.sync += in_guest.eq(0)
        with m.Elif(completes & svm.guest):
            m.d.sync += in_guest.eq(1)
        # A jump to the next instruction is how microprograms drop what was fetched too early.
        refetches = (x.alu == Alu.JMPI) & (x.a == Src.NEXT)
        is_branch = completes & (taken | branch.conditional) & ~refetches & ~x.event
        turned = Signal()
        m.d.sync += turned.eq(fetch.x_redirect | issue.redirect)
        walking = issue.starved & fetch.walk.valid
        m_store = mm.mem == Mem.STORE
        pulses = lsu.events
        for event, pulse in {
                PerfEvent.CYCLES: C(1), PerfEvent.INSTRUCTIONS: completes, PerfEvent.HALTED: self.halted,
                PerfEvent.EXCEPTIONS: done & x.event & ~events.e_interrupt & ~exiting,
                PerfEvent.INTERRUPTS: done & x.event & events.e_interrupt & ~exiting,
                PerfEvent.BRANCHES: is_branch, PerfEvent.TAKEN_BRANCHES: is_branch & taken,
                PerfEvent.STALL_FETCH: issue.starved & ~turned & ~walking,
                PerfEvent.STALL_BRANCH: (issue.starved & turned) | issue.blocked,
                PerfEvent.STALL_LOAD_USE: a.valid & a_wait & m_free,
                PerfEvent.STALL_LOAD_MISS: pulses.wait_memory & ~m_store,
                PerfEvent.STALL_STORE: pulses.wait_store | (pulses.wait_memory & m_store)
                | (x.valid & (x.mem == Mem.STORE) & ~lsu.x_ready),
                PerfEvent.STALL_MICROCODE: issue.go & issue.micro,
                PerfEvent.STALL_MULDIV: x.valid & ~execute.ready,
                PerfEvent.STALL_WALK: pulses.wait_walk | walking,
                PerfEvent.STALL_IO: self.io.valid & ~self.io.ready,
                PerfEvent.ICACHE_HITS: fetch.p_hit, PerfEvent.ICACHE_MISSES: fetch.p_miss,
                PerfEvent.DCACHE_HITS: pulses.load_hit | pulses.store_hit,
                PerfEvent.DCACHE_MISSES: pulses.load_miss | pulses.store_miss,
                PerfEvent.ITLB_HITS: fetch.p_itlb_hit, PerfEvent.ITLB_MISSES: fetch.p_itlb_miss,
                PerfEvent.DTLB_HITS: pulses.tlb_hit, PerfEvent.DTLB_MISSES: pulses.tlb_miss,
                PerfEvent.WALK_CACHE_HITS: pulses.walk_cache_hit, PerfEvent.WALK_CACHE_MISSES: pulses.walk_cache_miss,
                PerfEvent.WALK_REFS_GUEST: pulses.walk_d | pulses.walk_i,
                PerfEvent.WALK_REFS_NESTED: pulses.walk_nested_d | pulses.walk_nested_i,
                PerfEvent.NESTED_TLB_HITS: pulses.nested_tlb_hit,
                PerfEvent.NESTED_TLB_MISSES: pulses.nested_tlb_miss,
                PerfEvent.NESTED_WALK_CACHE_HITS: pulses.nested_cache_hit,
                PerfEvent.NESTED_WALK_CACHE_MISSES: pulses.nested_cache_miss,
                PerfEvent.VMRUNS: svm.w_guest & x_b[0], PerfEvent.VMEXITS: take & exits.exit,
                PerfEvent.GUEST_CYCLES: in_guest, PerfEvent.GUEST_INSTRUCTIONS: completes & in_guest,
                PerfEvent.WALK_WRITES: pulses.walk_update}.items():
            m.d.comb += perf.pulse[event].eq(pulse)

        # ---- retire port -----------------------------------------------------------------------------------------
        r = self.retire
        iteration = commit & (restart | (x.iteration & holds))
        m.d.sync += r.valid.eq(done | iteration)
        with m.If(done | iteration):
            m.d.sync += [r.eip.eq(x.eip), r.length.eq(x.length), partial.eq(iteration)]
            with m.If(iteration):
                m.d.sync += r.cause.eq(RetireCause.ITERATION)
            with m.Else():
                m.d.sync += [eip.eq(after), r.vector.eq(events.e_vector), r.error.eq(events.e_error)]
                with m.If(x.event & exiting):
                    m.d.sync += [r.cause.eq(RetireCause.VMEXIT), r.vector.eq(0), r.error.eq(svm.r_exit_code)]
                with m.Elif(x.event & ~events.e_requested):
                    m.d.sync += r.cause.eq(Mux(events.e_interrupt, RetireCause.INTERRUPT, RetireCause.EXCEPTION))
                with m.Elif(x.alu == Alu.HALT):
                    m.d.sync += r.cause.eq(RetireCause.HALT)
                with m.Else():
                    m.d.sync += r.cause.eq(RetireCause.INSTRUCTION)
        m.d.comb += [
            r.next_eip.eq(eip), r.cpl.eq(sysregs.cpl), r.eflags.eq(sysregs.eflags),
            *(out.eq(value) for out, value in zip(r.gpr, regs.gpr, strict=True)),
            self.store_valid.eq(lsu.store_valid), self.store_paddr.eq(lsu.store_paddr),
            self.store_paddr_hi.eq(lsu.store_paddr_hi), self.store_size.eq(lsu.store_size),
            self.store_data.eq(lsu.store_data),
        ]
        return m

    @staticmethod
    def _branching(stage):
        return stage.valid & ((stage.next == Next.BR) | (stage.next == Next.BRT))
