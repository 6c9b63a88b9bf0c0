"""Exceptions and interrupts: whether X takes one, which, and what is kept of it until it is delivered."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.exceptions import Vector
from rtl.isa.layout import shape
from rtl.isa.registers import Cr0Layout, Cr4Layout, EflagsLayout
from rtl.isa.svm import EventType

from .boundary import Boundary, Source
from .debug import DebugUnit
from .decode_rom import Check
from .descriptor_check import DescriptorCheck
from .events import AccessFault, EventUnit, Kind
from .faults import FaultUnit
from .intercept import InterceptSignature
from .stages import Latch
from .uop import Mem, Sys
from .wires import same

__all__ = ["ExceptionUnit"]

#: The low bits of the opcode of INT n.
_INT_N = 0xD


class ExceptionUnit(wiring.Component):
    """Finds what goes before the micro-operation in X, and starts its delivery. SDM vol. 3A, chapter 6.

    1. ``any_event`` and ``breakpoint`` say early that the next instruction will not begin: something waits to be taken
       before it, or an instruction breakpoint is at ``code_address``, the linear address of the instruction in X, or in
       M if X is empty.
    2. ``take`` : an event (``event``) or a fault of X is taken in this cycle. An event needs ``here``: X holds the
       first micro-operation of an instruction, new and interruptible, or the pipeline is empty. A fault needs
       that the micro-operation is valid and not abandoned. Nothing of the micro-operation commits then; at the next
       edge the microprogram of the delivery starts, or with ``exit`` that of #VMEXIT, or ``shutdown``.
    3. ``active`` : from there to EVENT_DONE a delivery is in progress, described by ``e_*`` as in `EventUnit`.
       ``exiting`` : the microprogram begun last is that of #VMEXIT.
    4. ``go_on`` says that a REP instruction may begin another iteration without a look at what is pending.
    5. ``write`` (a committing WRSYS with ``b``) writes the registers of delivery, ``read`` is one of them, by
       ``x.sys``; others are ignored and read as zero. To EFLAGS a delivery adds the RF it pushes.
    6. ``cr2_*``, ``dr6_set``, ``debug_done`` and ``rf_clear`` are for `SystemRegisters`; ``override`` and
       ``e_restart`` for `Issue`.

    Parameters
    ----------
    x : Latch
        The micro-operation in X, read here.

    Members
    -------
    intercept : Out(InterceptSignature())
    intr, nmi, init : In(1); vector_in : In(8); intack, reset : Out(1)
        Pins: see `Boundary`.
    here, commit, last, done : In(1)
        An event fits here; X commits; with the last micro-operation; and the instruction is complete.
    eip, next_eip, code_address, a, b : In(32)
        Address of the instruction that an event would interrupt, and that behind it; operands of X.
    partial : In(1)
        Some iterations of the REP instruction at ``eip`` are done.
    io, divide_error, beyond_limit : In(1)
        X uses a port; its quotient does not exist; it branches out of the code segment.
    fetch_code : In(5); fetch_linear : In(32); selector : In(16)
        The page fault of the fetch; the selector of segment ``x_seg``.
    cpl, ncpl, eflags, cr0, cr4, dr, dr7, sti, write : In
        As in `SystemRegisters`.
    any_event, breakpoint, take, event, exit, shutdown, active, exiting, go_on, waking, override : Out(1)
        ``waking`` : HLT may end.
    e_vector, e_error, e_eip, e_restart, e_has_error, e_soft, e_interrupt, e_requested : Out
    read, cr2_data, dr6_set : Out(32); cr2_en, debug_done, rf_clear : Out(1)
    """

    def __init__(self, x: Latch):
        self._x = x
        super().__init__({
            "intercept": Out(InterceptSignature()),
            "intr": In(1), "nmi": In(1), "init": In(1), "vector_in": In(8), "intack": Out(1), "reset": Out(1),
            "here": In(1), "commit": In(1), "last": In(1), "done": In(1),
            "eip": In(32), "next_eip": In(32), "code_address": In(32), "a": In(32), "b": In(32), "partial": In(1),
            "io": In(1), "divide_error": In(1), "beyond_limit": In(1),
            "fetch_code": In(5), "fetch_linear": In(32), "selector": In(16),
            "cpl": In(2), "ncpl": In(2), "eflags": In(shape(EflagsLayout)), "cr0": In(shape(Cr0Layout)),
            "cr4": In(shape(Cr4Layout)), "dr": In(32).array(4), "dr7": In(32), "sti": In(1), "write": In(1),
            "any_event": Out(1), "breakpoint": Out(1), "take": Out(1), "event": Out(1), "exit": Out(1),
            "shutdown": Out(1), "active": Out(1), "exiting": Out(1), "go_on": Out(1), "waking": Out(1),
            "override": Out(1),
            "e_vector": Out(8), "e_error": Out(32), "e_eip": Out(32), "e_restart": Out(32), "e_has_error": Out(1),
            "e_soft": Out(1), "e_interrupt": Out(1), "e_requested": Out(1),
            "read": Out(32), "cr2_data": Out(32), "dr6_set": Out(32), "cr2_en": Out(1), "debug_done": Out(1),
            "rf_clear": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.boundary = boundary = Boundary()
        m.submodules.debug = debug = DebugUnit()
        m.submodules.descriptor = check = DescriptorCheck()
        m.submodules.faults = faults = FaultUnit()
        m.submodules.events = events = EventUnit()
        x, guest, take = self._x, self.intercept, self.take
        code_breakpoint = debug.x_execute & x.first
        ext = events.active & events.e_ext
        vector = Signal(8)
        kind = Signal(Kind)

        # The fault of X, if any.
        m.d.comb += [
            *same(check, self, "cpl", "ncpl"), check.kind.eq(x.const), check.high.eq(self.a),
            check.selector.eq(self.b), check.soft.eq(events.e_soft), check.ext.eq(ext),
            *same(faults, self, "a", "b", "selector", "fetch_code", "divide_error", "beyond_limit"),
            *same(faults, x, "check", "alu", "page_code"), faults.breakpoint.eq(code_breakpoint),
            faults.access.eq(x.fault), faults.number.eq(x.const), faults.ext.eq(ext),
            faults.iopl_ok.eq(self.cpl <= self.eflags.iopl),
            faults.escape_nm.eq(self.cr0.em | self.cr0.ts), faults.wait_nm.eq(self.cr0.mp & self.cr0.ts),
            faults.refused.eq(~check.ok), faults.refused_vector.eq(check.vector), faults.refused_code.eq(check.code),
        ]

        # What is taken.
        m.d.comb += [
            self.any_event.eq(boundary.any_event), self.breakpoint.eq(debug.x_execute),
            self.event.eq(boundary.any_event & self.here), self.exit.eq(guest.exit),
            take.eq(self.event | (x.valid & (code_breakpoint | (~x.abandoned & (faults.fault | guest.asked))))),
            vector.eq(Mux(self.event, boundary.vector, faults.vector)),
            kind.eq(Mux(self.event, boundary.kind, faults.kind)),
        ]
        with m.If(take):
            m.d.sync += self.exiting.eq(self.exit)

        # Its delivery.
        m.d.comb += [
            events.take.eq(take & ~self.exit), events.exit.eq(take & self.exit), events.forget.eq(guest.forget),
            events.injected.eq(boundary.injected), events.injected_error.eq(guest.inject_has_error),
            events.vector.eq(vector), events.kind.eq(kind),
            events.error.eq(Mux(boundary.injected, guest.inject_error, faults.error)),
            events.restart_eip.eq(self.eip),
            events.next_eip.eq(Mux(boundary.injected, guest.inject_next, self.next_eip)),
            # SDM vol. 3B, 18.3.1.1: faults push RF set, and so do events between REP iterations. An instruction
            # breakpoint pushes it as it is, which is clear.
            events.rf.eq(Mux(self.event, self.partial, (kind == Kind.FAULT) & ~code_breakpoint)),
            events.write_restart.eq(self.write & (x.sys == Sys.EEIP)), events.write_eip.eq(self.b),
            events.done.eq(self.write & (x.sys == Sys.EVENT_DONE)),
            self.override.eq(events.write_restart),
            *same(self, events, "shutdown", "active", "e_vector", "e_error", "e_eip", "e_restart", "e_has_error",
                  "e_soft", "e_interrupt", "e_requested"),
        ]
        with m.If(self.event):
            with m.Switch(boundary.source):
                with m.Case(Source.INJECTED):
                    m.d.comb += events.type.eq(guest.inject_type)
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
        with m.Switch(x.sys):
            for number, value in ((Sys.EVECTOR, events.e_vector), (Sys.EERROR, events.e_error),
                                  (Sys.EEIP, events.e_eip), (Sys.EXT, ext),
                                  (Sys.EFLAGS, (events.active & events.e_rf & ~self.exiting) << 16)):
                with m.Case(number):
                    m.d.comb += self.read.eq(value)

        # What guest mode is to know of it.
        m.d.comb += [
            guest.event.eq(self.event), guest.source.eq(boundary.source), guest.vector.eq(vector),
            guest.exception.eq((events.type == EventType.EXCEPTION) & (kind != Kind.TRAP)),
            guest.error.eq(Mux(events.has_error, faults.error, 0)), guest.address.eq(self.cr2_data),
            guest.first.eq(code_breakpoint | (x.check != Check.NONE) & faults.fault),
            *same(guest, events, "double", "fatal", "e_vector", "e_type", "e_has_error", "e_error"),
            guest.delivering.eq(events.active), *same(guest, boundary, "shadow", "injected", "virtual_taken"),
        ]

        # What pends. TF counts as it was before the instruction.
        old_tf = Signal()
        tf = Mux(x.first, self.eflags.tf, old_tf)
        with m.If(self.commit & x.first):
            m.d.sync += old_tf.eq(self.eflags.tf)
        m.d.comb += [
            *same(boundary, self, "intr", "nmi", "init", "vector_in", "take", "exit", "done", "sti"),
            *same(self, boundary, "intack", "reset"),
            *same(boundary, guest, "gif", "masking", "host_if", "init_exits", "inject", "inject_vector", "inject_kind",
                  "virtual", "virtual_vector", "forget", "shadow_set"),
            boundary.if_.eq(self.eflags.if_), boundary.take_event.eq(self.event),
            boundary.stack_load.eq(self.write & (x.sys == Sys.SHADOW)),
            # APM 15.5.1: for TF of the host, VMRUN ends with the #VMEXIT.
            boundary.step.eq(self.commit & self.last & Mux(x.event, self.exiting & self.eflags.tf,
                                                           tf & ~guest.entered)),
            boundary.task_trap.eq(events.done & self.b[0]), boundary.data_hits.eq(debug.x_data_hits),
            boundary.nmi_unblock.eq(self.write & (x.sys == Sys.NMI_UNBLOCK) & ~self.b[0]),
            boundary.nmi_as_before.eq(self.write & (x.sys == Sys.NMI_UNBLOCK) & self.b[0]),
            self.go_on.eq(boundary.go_on & ~tf), self.waking.eq(boundary.interruptible | boundary.waking),
        ]

        # Debug and paging registers.
        m.d.comb += [
            debug.dr7.eq(Mux(guest.gif, self.dr7, 0)), debug.linear.eq(x.linear), debug.width.eq(x.width),
            debug.mem.eq(Mux(x.physical, Mem.NONE, x.mem)), debug.access.eq(self.commit),
            debug.eip.eq(self.code_address), debug.rf.eq(self.eflags.rf | boundary.stack_shadow),
            debug.io.eq(self.io & self.cr4.de), debug.io_port.eq(self.a), debug.io_size.eq(x.size),
            *(mine.eq(register) for mine, register in zip(debug.dr, self.dr, strict=True)),
            # APM 15.12.2: an intercepted #DB leaves DR7 as its handler would find it.
            self.debug_done.eq((events.done & (events.e_vector == Vector.DB)) | (
                take & self.exit & ~guest.asked & (vector == Vector.DB) & (kind == Kind.FAULT))),
            self.rf_clear.eq(self.done | (take & ~self.exit & ((kind == Kind.SOFTWARE) | (kind == Kind.TRAP)))),
            # APM 15.12.15: an intercepted page fault leaves CR2 alone.
            self.cr2_en.eq(take & (~self.exit | guest.combined) & ~self.event & (vector == Vector.PF) & (
                (x.check == Check.FETCH) | (x.fault == AccessFault.PAGE))),
            self.cr2_data.eq(Mux(x.check == Check.FETCH, self.fetch_linear, x.linear)),
        ]
        with m.If(take & ~guest.asked & (vector == Vector.DB)):
            m.d.comb += self.dr6_set.eq(Mux(self.event, boundary.trap_bits, debug.x_fault_bits))
        return m
