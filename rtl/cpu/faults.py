"""Which exception a micro-operation raises."""

from amaranth.hdl import C, Cat, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.exceptions import Vector

from .decode_rom import Check
from .events import AccessFault, Kind
from .uop import Alu

__all__ = ["FaultUnit"]


class FaultUnit(wiring.Component):
    """Finds the first of: code breakpoint, check of decode, faulting access, fault of the operation itself.
    Combinational. SDM vol. 3A, table 6-2.

    Members
    -------
    breakpoint : In(1)
        An instruction breakpoint is at the instruction.
    check : In(Check); access : In(AccessFault)
        What decode and address generation or translation found.
    alu : In(Alu); number, a, b : In
        The operation, its number field and operands.
    fetch_code, page_code : In(5)
        Error codes of a page fault of the fetch and of the access.
    selector : In(16); ext : In(1)
        Selector of a new stack; bit 0 of error codes.
    iopl_ok, escape_nm, wait_nm : In(1)
        CPL <= IOPL; CR0 makes x87 escapes, and WAIT, #NM.
    refused, refused_vector, refused_code : In
        The descriptor check failed, and how.
    divide_error, beyond_limit : In(1)
        A quotient does not exist; a branch leaves the code segment.
    fault : Out(1); vector : Out(8); kind : Out(Kind); error : Out(32)
    """

    def __init__(self):
        super().__init__({
            "breakpoint": In(1), "check": In(Check), "access": In(AccessFault), "alu": In(Alu), "number": In(8),
            "a": In(32), "b": In(32), "fetch_code": In(5), "page_code": In(5), "selector": In(16), "ext": In(1),
            "iopl_ok": In(1), "escape_nm": In(1), "wait_nm": In(1),
            "refused": In(1), "refused_vector": In(8), "refused_code": In(32),
            "divide_error": In(1), "beyond_limit": In(1),
            "fault": Out(1), "vector": Out(8), "kind": Out(Kind), "error": Out(32),
        })

    def elaborate(self, platform):
        m = Module()

        def raises(vector, error=None, when=1):
            m.d.comb += [self.fault.eq(when), self.vector.eq(vector)]
            if error is not None:
                m.d.comb += self.error.eq(error)

        with m.If(self.breakpoint):
            raises(Vector.DB)
        with m.Elif(self.check != Check.NONE):
            with m.Switch(self.check):
                with m.Case(Check.UD):
                    raises(Vector.UD)
                with m.Case(Check.FETCH):
                    raises(Vector.PF, self.fetch_code)
                with m.Case(Check.IOPL):
                    raises(Vector.GP, when=~self.iopl_ok)
                with m.Case(Check.ESCAPE):
                    raises(Mux(self.escape_nm, Vector.NM, Vector.UD))
                with m.Case(Check.WAIT):
                    raises(Vector.NM, when=self.wait_nm)
                with m.Default():
                    raises(Vector.GP)
        with m.Elif(self.access != AccessFault.NONE):
            with m.Switch(self.access):
                with m.Case(AccessFault.STACK):
                    raises(Vector.SS, self.ext)
                with m.Case(AccessFault.NEW_STACK):
                    raises(Vector.SS, Cat(self.ext, C(0, 1), self.selector[2:]))
                with m.Case(AccessFault.ALIGNMENT):
                    raises(Vector.AC)
                with m.Case(AccessFault.PAGE):
                    raises(Vector.PF, self.page_code)
                with m.Default():
                    raises(Vector.GP, self.ext)
        with m.Else():
            with m.Switch(self.alu):
                with m.Case(Alu.CHECK):
                    raises(self.refused_vector, self.refused_code, when=self.refused)
                with m.Case(Alu.FAULT):
                    raises(self.number, self.a)
                with m.Case(Alu.SOFTINT):
                    raises(self.a[:8])
                    m.d.comb += self.kind.eq(Mux(self.b[0], Kind.TRAP, Kind.SOFTWARE))
                with m.Case(Alu.DIV, Alu.IDIV):
                    raises(Vector.DE, when=self.divide_error)
                with m.Default():
                    raises(Vector.GP, when=self.beyond_limit)
        return m
