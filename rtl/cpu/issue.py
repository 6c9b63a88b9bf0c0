"""The D stage: prefixes, decode, the microsequencer, predicted branches."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .decode import WINDOW, Decoder, Prefixes
from .decode_rom import Check, DecodeRoms
from .head import QueueHead
from .microasm import Rom
from .stages import ADDRESS, CARRIED, Latch
from .uop import Alu, Amode, Aseg, Mem, Next, Reg, Size, Src, Step, Sys, Uop

__all__ = ["Issue"]

#: The intercept word of debug registers.
_DEBUG_REGISTERS = 1
#: System registers that address generation looks at.
_USED_BY_ADDRESS = (Sys.SEL, Sys.BASE, Sys.LIMIT, Sys.ATTR, Sys.SEGWORD, Sys.CPL, Sys.EFLAGS)


class Issue(wiring.Component):
    """Turns code bytes into micro-operations, one per cycle, and fills the A latch.

    1. A prefix takes one cycle. The first micro-operation of an instruction comes from the decode ROM, the others from
       the microcode ROM; the instruction's bytes leave the queue with the last one.
    2. A micro-operation issues when ``a_free``; ``drained`` says that A, M and X are empty, ``branching`` that a
       conditional micro-branch is in A, M or X: the last micro-operation of an instruction waits for it.
    3. Direct branches are predicted here: ``redirect`` turns the fetch to ``redirect_eip``. After an instruction whose
       successor is not known, or that faults, nothing issues until ``x_flush``.
    4. ``x_flush`` forgets the instruction in decode. With ``x_event`` the event microprogram starts in its place, with
       ``context_eip`` as its address; with ``x_branch`` the current microprogram goes on at ``x_target``.

    Members
    -------
    latch : Latch
        The A latch, loaded here.
    q_bytes, q_count, q_eip, q_fault, q_walked : In; take, starved, redirect, redirect_eip : Out
        The queue: see `Fetch`.
    p_* : see `Predictor`, whose lookup, push and pop belong to the branch that issues.
    cs_limit, cs_32, ss_32, cpl, svme : In
        Processor state; ``svme`` is EFER.SVME.
    code : Out(8); intercepted : In(1)
        The exit code of the micro-operation, and whether it is intercepted now: then it reaches A without its access,
        and the latch says so in bit 8 of ``intercept``. Only VMRUN and #VMEXIT change that, and both flush.
    x_exit : In(1)
        With ``x_event``: microprogram "vmexit" is to start instead.
    a_free, drained, branching, halted : In(1)
    x_flush, x_event, x_branch : In(1); x_target : In(12); context_eip : In(32)
    x_override : In(1)
        From now on the instruction in decode has the address ``context_eip`` (task switch).
    go, micro, blocked : Out(1)
        A micro-operation issues; decode is inside a microprogram; nothing can issue until ``x_flush`` (rule 3).
    """

    def __init__(self, roms: DecodeRoms, rom: Rom):
        self._roms = roms
        self._rom = rom
        self.latch = Latch("a", CARRIED, ADDRESS)
        super().__init__({
            # queue
            "q_bytes": In(8 * WINDOW), "q_count": In(4), "q_eip": In(32), "q_fault": In(1), "q_walked": In(1),
            "take": Out(4), "starved": Out(1), "redirect": Out(1), "redirect_eip": Out(32),
            # predictor
            "p_eip": Out(32), "p_backward": Out(1), "p_taken": In(1), "p_counter": In(2), "p_push": Out(1),
            "p_push_eip": Out(32), "p_pop": Out(1), "p_return_eip": In(32), "p_pointer": In(3),
            "p_indirect_eip": In(32),
            # processor state
            "cs_limit": In(32), "cs_32": In(1), "ss_32": In(1), "cpl": In(2), "svme": In(1),
            "code": Out(8), "intercepted": In(1),
            # pipeline control
            "a_free": In(1), "drained": In(1), "branching": In(1), "halted": In(1),
            "x_flush": In(1), "x_event": In(1), "x_exit": In(1), "x_branch": In(1), "x_target": In(12),
            "x_override": In(1), "context_eip": In(32),
            "go": Out(1), "micro": Out(1), "blocked": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        a = self.latch
        m.submodules.decoder = decoder = Decoder(self._roms)
        m.submodules.head = head = QueueHead()
        m.submodules.microcode = microcode = Memory(shape=Uop, depth=len(self._rom.rows), init=[
            Uop.from_bits(row) for row in self._rom.rows])
        m.submodules.constants = constants = Memory(shape=32, depth=256, init=self._rom.constants)
        rows = microcode.read_port()
        constant = constants.read_port(domain="comb")

        prefixes = Signal(Prefixes)
        prefix_count = Signal(4)
        walked = Signal()
        event = Signal()
        override = Signal()
        stop = Signal()
        upc = Signal(12)
        uret = Signal(12)
        micro = self.micro
        micro_reg = Signal(name="in_microprogram")
        m.d.comb += micro.eq(micro_reg)

        m.d.comb += [
            decoder.bytes.eq(self.q_bytes),
            decoder.prefixes.eq(prefixes),
            decoder.code32.eq(self.cs_32),
        ]
        row = Signal(Uop)
        m.d.comb += row.eq(Mux(micro, rows.data, decoder.entry.uop))
        ops = decoder.operands

        m.d.comb += [
            head.byte.eq(self.q_bytes[:8]),
            head.count.eq(self.q_count),
            head.eip.eq(self.q_eip),
            head.cs_limit.eq(self.cs_limit),
            head.fault.eq(self.q_fault),
            head.prefixes.eq(prefixes),
            head.prefix_count.eq(prefix_count),
            head.decoded.eq(decoder.length),
            head.known.eq(decoder.known),
            head.check_row.eq(decoder.entry.check),
            head.lockable.eq(decoder.entry.lock),
            head.cpl.eq(self.cpl),
            head.svme.eq(self.svme),
        ]
        check = head.check

        take_prefix = Signal()
        open_ = Signal()
        valid = Signal()
        last = Signal()
        m.d.comb += [
            open_.eq(~micro & ~stop & ~self.halted),
            self.starved.eq(open_ & head.waiting),
            self.blocked.eq(stop & ~self.halted),
            take_prefix.eq(open_ & head.is_prefix),
            last.eq((row.next == Next.END) | (row.next == Next.ENDREP)),
            valid.eq(micro | (open_ & ~head.waiting & ~take_prefix)),
            self.go.eq(valid & self.a_free & ~(row.serial & ~self.drained) & ~(last & self.branching)),
        ]
        # IOPL and WAIT are decided in X, and may be allowed there.
        refused = ~micro & (check != Check.NONE) & (check != Check.IOPL) & (check != Check.WAIT)

        # Sequencer.
        following = Signal(12)
        with m.Switch(row.next):
            with m.Case(Next.SEQ, Next.BR):
                m.d.comb += following.eq(upc + 1)
            with m.Case(Next.RET):
                m.d.comb += following.eq(uret)
            with m.Default():
                m.d.comb += following.eq(row.target)
        m.d.comb += [
            rows.addr.eq(Mux(self.x_event, Mux(self.x_exit, self._rom.entry["vmexit"], self._rom.entry["event"]),
                             Mux(self.x_branch, self.x_target, following))),
            rows.en.eq(self.x_event | self.x_branch | self.go),
        ]
        ends = last | refused
        done = Signal()
        m.d.comb += done.eq(self.go & ends & ~event)
        with m.If(rows.en):
            m.d.sync += upc.eq(rows.addr)
        with m.If(self.go):
            m.d.sync += micro_reg.eq(~ends)
            with m.If(row.next == Next.CALL):
                m.d.sync += uret.eq(upc + 1)
        with m.If(take_prefix):
            m.d.sync += [prefixes.eq(head.next_prefixes), prefix_count.eq(prefix_count + 1),
                         walked.eq(self.q_walked | walked)]
        # A micro-branch stays in its instruction, which still has its prefixes.
        with m.If(done | (self.x_flush & ~self.x_branch)):
            m.d.sync += [prefixes.eq(0), prefix_count.eq(0), walked.eq(0), override.eq(0)]
        m.d.comb += self.take.eq(Mux(take_prefix, 1, Mux(done & ~refused, decoder.length, 0)))

        # Branches.
        width16 = ~event & ops.opsize16
        eip = Signal(32)
        next_eip = Signal(32)
        target = Signal(32)
        is_jcc = (row.alu == Alu.JCC) | (row.alu == Alu.LOOP) | (row.alu == Alu.JCXZ)
        is_jmp = row.alu == Alu.JMP
        is_ret = (row.alu == Alu.JMPI) & ((row.step == Step.POP) | (row.step == Step.POPN)) & ~micro
        is_indirect = (row.alu == Alu.JMPI) & (~micro | (row.step == Step.PUSH)) & ~is_ret & ~event
        guess = Signal(32)
        predictable = Signal()
        taken = Signal()
        m.d.comb += [
            eip.eq(Mux(event | override, self.context_eip, self.q_eip - prefix_count)),
            next_eip.eq(self.q_eip + decoder.length),
            target.eq(next_eip + ops.imm),
            guess.eq(Mux(is_ret, self.p_return_eip, self.p_indirect_eip)),
            predictable.eq(last & ~refused & (is_jcc | is_jmp | is_ret | is_indirect)),
            taken.eq(predictable & (~is_jcc | self.p_taken)),
            self.redirect.eq(self.go & taken),
            self.redirect_eip.eq(Mux(is_ret | is_indirect, guess, Mux(width16, target[:16], target))),
            self.p_eip.eq(eip),
            self.p_backward.eq(ops.imm[31]),
            self.p_push.eq(self.go & predictable & (row.step == Step.PUSH)),
            self.p_push_eip.eq(next_eip),
            self.p_pop.eq(self.go & last & is_ret & ~refused),
        ]
        unknown = last & ~taken & ((row.alu == Alu.JMPI) | (row.alu == Alu.HALT) | (row.alu == Alu.SHUTDOWN))
        with m.If(self.x_flush):
            m.d.sync += [stop.eq(0), micro_reg.eq(self.x_event | self.x_branch), event.eq(self.x_event | (
                event & self.x_branch))]
        with m.Elif(self.go & (unknown | refused | (row.alu == Alu.SOFTINT) | (row.alu == Alu.FAULT))):
            m.d.sync += stop.eq(1)
        with m.If(self.x_override):
            m.d.sync += override.eq(1)

        # Names to rows, widths to sizes.
        def size(value, name):
            result = Signal(Size, name=name)
            with m.Switch(value):
                with m.Case(Size.V):
                    m.d.comb += result.eq(Mux(width16, Size.W, Size.D))
                with m.Case(Size.A):
                    m.d.comb += result.eq(Mux(~event & ops.adsize16, Size.W, Size.D))
                with m.Case(Size.S):
                    m.d.comb += result.eq(Mux(self.ss_32, Size.D, Size.W))
                with m.Default():
                    m.d.comb += result.eq(value)
            return result

        def register(value, byte, name):
            number, high = Signal(6, name=name), Signal(name=f"{name}_high")
            field = Signal(3, name=f"{name}_field")
            with m.Switch(value):
                with m.Case(Reg.RM):
                    m.d.comb += field.eq(ops.rm)
                with m.Case(Reg.REG):
                    m.d.comb += field.eq(ops.reg)
                with m.Case(Reg.OPREG):
                    m.d.comb += field.eq(ops.opcode[:3])
            with m.If((value == Reg.RM) | (value == Reg.REG) | (value == Reg.OPREG)):
                m.d.comb += [high.eq(byte & field[2]), number.eq(Mux(byte, field[:2], field))]
            with m.Else():
                m.d.comb += number.eq(value)
            return number, high

        x_size = size(row.size, "x_size_d")
        width = size(row.width, "width_d")
        byte = row.size == Size.B
        operand_a, a_high = register(row.a, byte, "operand_a")
        operand_b, b_high = register(row.b, byte | (row.alu == Alu.ZX8) | (row.alu == Alu.SX8), "operand_b")
        operand_dst, dst_high = register(row.dst, byte, "operand_dst")
        base_reg, _ = register(row.base, 0, "base_reg")
        product = (row.alu == Alu.MUL) | (row.alu == Alu.IMUL) | (row.alu == Alu.DIV) | (row.alu == Alu.IDIV)
        m.d.comb += constant.addr.eq(row.number)
        bytes_ = Signal(3)
        with m.Switch(width):
            with m.Case(Size.B):
                m.d.comb += bytes_.eq(1)
            with m.Case(Size.W):
                m.d.comb += bytes_.eq(2)
            with m.Default():
                m.d.comb += bytes_.eq(4)

        disp = Signal(32)
        delta = Signal(32)
        modrm = row.amode == Amode.MODRM
        with m.Switch(row.amode):
            with m.Case(Amode.MODRM):
                m.d.comb += disp.eq(ops.disp)
            with m.Case(Amode.PUSH):
                m.d.comb += disp.eq(-bytes_)
            with m.Case(Amode.BASE, Amode.POP, Amode.FLAT, Amode.STACK):
                m.d.comb += disp.eq(constant.data)
        with m.Switch(row.step):
            with m.Case(Step.PUSH):
                m.d.comb += delta.eq(-bytes_)
            with m.Case(Step.POPN):
                m.d.comb += delta.eq(bytes_ + ops.imm)
            with m.Default():
                m.d.comb += delta.eq(bytes_)
        stack = (row.amode == Amode.PUSH) | (row.amode == Amode.POP)
        step_reg = Mux(row.step == Step.STRING, row.base, C(Reg.ESP, 5))
        dst_size = Mux(product & (x_size == Size.B), Size.W, x_size)
        used = Signal()
        with m.Switch(row.sys):
            with m.Case(*_USED_BY_ADDRESS):
                m.d.comb += used.eq(1)

        # The exit codes of debug registers have the register's number in their low bits.
        exits = Signal()
        m.d.comb += [
            self.code.eq(row.intercept[:8] | Mux(row.intercept[5:8] == _DEBUG_REGISTERS, ops.reg, 0)),
            exits.eq(row.intercept[8] & self.intercepted & ~refused),
        ]

        def resolve(seg, effective):
            with_sreg = Mux(seg == Aseg.SREG, ops.sreg, seg)
            return Mux(seg == Aseg.EFF, ops.segment, with_sreg) if effective else with_sreg

        with m.If(self.go):
            m.d.sync += [
                a.alu.eq(Mux(refused, Alu.MOV, row.alu)),
                a.a.eq(Mux(row.a >= Src.SYS, row.a, operand_a)), a.a_high.eq(a_high),
                a.b.eq(Mux(row.b >= Src.SYS, row.b, operand_b)), a.b_high.eq(b_high),
                a.dst.eq(operand_dst), a.dst_high.eq(dst_high), a.dst_size.eq(dst_size),
                a.size.eq(x_size), a.flags.eq(row.flags),
                a.sreg.eq(resolve(row.sreg, True)), a.sys.eq(row.sys), a.const.eq(row.number),
                a.imm.eq(Mux(row.alu == Alu.JMPI, guess, ops.imm)), a.imm2.eq(ops.imm2),
                a.eip.eq(eip), a.length.eq(head.length), a.first.eq(~micro), a.event.eq(event),
                a.next.eq(Mux(refused, Next.END, row.next)), a.cond.eq(row.cond),
                a.alt.eq(Mux(row.next == Next.BRT, upc + 1, row.target)), a.iteration.eq(row.iteration),
                a.opcode.eq(ops.opcode), a.reg.eq(ops.reg), a.rm.eq(ops.rm), a.opsize16.eq(width16),
                a.adsize16.eq(~event & ops.adsize16), a.repeat.eq(prefixes.repeat), a.memory.eq(ops.memory),
                a.taken.eq(taken), a.counter.eq(self.p_counter), a.ras.eq(self.p_pointer),
                a.check.eq(Mux(micro, Check.NONE, check)), a.intercept.eq(Cat(self.code, exits)),
                a.uninterruptible.eq(walked | self.q_walked),
                a.mem.eq(Mux(refused | exits, Mem.NONE, row.mem)), a.width.eq(width),
                a.system_write.eq((row.alu == Alu.DESC) | ((row.alu == Alu.WRSYS) & used)),
                a.df_write.eq((row.alu == Alu.FLAG) | (row.alu == Alu.POPF) | (row.alu == Alu.IRETF)
                              | ((row.alu == Alu.WRSYS) & used)),
                a.base.eq(Mux(modrm, ops.base, base_reg)),
                a.has_base.eq(Mux(modrm, ops.has_base, row.amode != Amode.NONE)),
                a.index.eq(ops.index), a.has_index.eq(modrm & ops.has_index), a.scale.eq(ops.scale),
                a.disp.eq(disp),
                a.wrap16.eq(Mux(stack, ~self.ss_32, ~event & ops.adsize16 & (row.amode != Amode.FLAT)
                                & (row.amode != Amode.STACK))),
                a.by_stack.eq(row.amode == Amode.STACK),
                a.aseg.eq(resolve(row.aseg, True)), a.supervisor.eq(row.supervisor),
                a.step.eq(row.step), a.step_reg.eq(step_reg), a.delta.eq(delta),
            ]
        with m.If(self.x_flush):
            m.d.sync += a.valid.eq(0)
        with m.Elif(self.a_free):
            m.d.sync += a.valid.eq(self.go)
        return m
