"""Where an instruction goes on: branches as X resolves them."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .uop import Alu, Size

__all__ = ["BranchUnit"]


class BranchUnit(wiring.Component):
    """Resolves JCC, LOOP, JCXZ, JMP and JMPI and compares with the prediction. Combinational.

    Members
    -------
    alu : In(Alu); opcode : In(4)
        Operation, and the low half of the opcode (which LOOP it is).
    size : In(Size); opsize16 : In(1)
        Width of an indirect target; of the instruction.
    next_eip, imm, a : In(32)
        Address of the next instruction; displacement, or the guessed target of JMPI; target of JMPI.
    holds, zero, zf : In(1)
        Condition of the opcode; the result is zero; ZF before the instruction.
    guess : In(1)
        Decode has turned the fetch to the predicted target.
    conditional, taken : Out(1)
        It is a conditional branch; it is a branch and is taken.
    target : Out(32)
    missed : Out(1)
        The fetch did not go where the branch goes.
    """

    def __init__(self):
        super().__init__({
            "alu": In(Alu), "opcode": In(4), "size": In(Size), "opsize16": In(1), "next_eip": In(32), "imm": In(32),
            "a": In(32), "holds": In(1), "zero": In(1), "zf": In(1), "guess": In(1),
            "conditional": Out(1), "taken": Out(1), "target": Out(32), "missed": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        relative = Signal(32)
        m.d.comb += [
            relative.eq(self.next_eip + self.imm),
            self.target.eq(Mux(self.opsize16, relative[:16], relative)),
        ]
        with m.Switch(self.alu):
            with m.Case(Alu.JCC):
                m.d.comb += [self.conditional.eq(1), self.taken.eq(self.holds)]
            with m.Case(Alu.LOOP):   # opcodes E0 LOOPNE, E1 LOOPE, E2 LOOP
                m.d.comb += [self.conditional.eq(1),
                             self.taken.eq(~self.zero & (self.opcode[1] | (self.zf == self.opcode[0])))]
            with m.Case(Alu.JCXZ):
                m.d.comb += [self.conditional.eq(1), self.taken.eq(self.zero)]
            with m.Case(Alu.JMP):
                m.d.comb += self.taken.eq(1)
            with m.Case(Alu.JMPI):
                m.d.comb += [self.taken.eq(1), self.target.eq(Mux(self.size == Size.W, self.a[:16], self.a))]
        with m.Switch(self.alu):
            with m.Case(Alu.JCC, Alu.LOOP, Alu.JCXZ, Alu.JMP):
                m.d.comb += self.missed.eq(self.taken != self.guess)
            with m.Case(Alu.JMPI):
                m.d.comb += self.missed.eq(~self.guess | (self.target != self.imm))
        return m
