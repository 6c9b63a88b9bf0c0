"""The retire port: everything that completes in the processor leaves a record here."""

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.layout import shape
from rtl.isa.registers import EflagsLayout
from rtl.isa.retire import RetireCause

from .stages import Latch
from .uop import Alu

__all__ = ["RetireSignature", "RetireUnit"]


class RetireSignature(wiring.Signature):
    """One record per completed instruction, REP iteration or delivery.

    1. ``valid`` is 1 for one cycle, the one after the commit; the registers then show the state after it.
    2. ``eip`` is the address of the instruction (of a delivery: where it broke in), ``next_eip`` EIP after it.
    3. ``vector`` and ``error`` belong to EXCEPTION and INTERRUPT.

    Members
    -------
    valid : Out(1)
    cause : Out(RetireCause)
    eip, next_eip : Out(32)
    length : Out(4)
        Bytes of the instruction.
    vector : Out(8)
    error : Out(32)
    cpl : Out(2)
    eflags : Out(EflagsLayout)
    gpr : Out(32) x 8
    """

    def __init__(self):
        super().__init__({
            "valid": Out(1), "cause": Out(RetireCause), "eip": Out(32), "next_eip": Out(32), "length": Out(4),
            "vector": Out(8), "error": Out(32), "cpl": Out(2), "eflags": Out(shape(EflagsLayout)),
            "gpr": Out(32).array(8),
        })


class RetireUnit(wiring.Component):
    """Writes the record of what X completes.

    1. ``done`` : the instruction or delivery in X is complete; ``iteration`` : an iteration of REP is. Never both.
    2. ``completes`` : an instruction is complete, the one included whose delivery (INT n) or #VMEXIT (VMRUN) is.
    3. ``partial`` : the last record was an iteration.

    Parameters
    ----------
    x : Latch
        The micro-operation in X, read here.

    Members
    -------
    done, iteration : In(1)
    e_vector, e_error, e_interrupt, e_requested, exiting, exit_code : In
        As in `ExceptionUnit` and `GuestMode`.
    eip, cpl, eflags, gpr : In
        The state of the processor.
    retire : Out(RetireSignature())
    completes, partial : Out(1)
    """

    def __init__(self, x: Latch):
        self._x = x
        super().__init__({
            "done": In(1), "iteration": In(1), "e_vector": In(8), "e_error": In(32), "e_interrupt": In(1),
            "e_requested": In(1), "exiting": In(1), "exit_code": In(32),
            "eip": In(32), "cpl": In(2), "eflags": In(shape(EflagsLayout)), "gpr": In(32).array(8),
            "retire": Out(RetireSignature()), "completes": Out(1), "partial": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        x, r = self._x, self.retire
        ends = self.done | self.iteration
        m.d.sync += r.valid.eq(ends)
        with m.If(ends):
            m.d.sync += [r.eip.eq(x.eip), r.length.eq(x.length), self.partial.eq(self.iteration)]
            with m.If(self.iteration):
                m.d.sync += r.cause.eq(RetireCause.ITERATION)
            with m.Else():
                m.d.sync += [r.vector.eq(self.e_vector), r.error.eq(self.e_error)]
                with m.If(x.event & self.exiting):
                    m.d.sync += [r.cause.eq(RetireCause.VMEXIT), r.vector.eq(0), r.error.eq(self.exit_code)]
                with m.Elif(x.event & ~self.e_requested):
                    m.d.sync += r.cause.eq(Mux(self.e_interrupt, RetireCause.INTERRUPT, RetireCause.EXCEPTION))
                with m.Elif(x.alu == Alu.HALT):
                    m.d.sync += r.cause.eq(RetireCause.HALT)
                with m.Else():
                    m.d.sync += r.cause.eq(RetireCause.INSTRUCTION)
        m.d.comb += [
            self.completes.eq(self.done & (~x.event | (self.e_requested & ~self.exiting))),
            r.next_eip.eq(self.eip), r.cpl.eq(self.cpl), r.eflags.eq(self.eflags),
            *(out.eq(value) for out, value in zip(r.gpr, self.gpr, strict=True)),
        ]
        return m
