"""Whether an event leaves guest mode, and what #VMEXIT tells of it."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.exceptions import Vector
from rtl.isa.svm import EventType, ExitCode
from rtl.svm.unit import Exit

from .boundary import Source

__all__ = ["ExitUnit"]

_EXCEPTIONS = 0x40
#: The intercept word of debug registers.
_DEBUG_REGISTERS = 1
_INTR, _NMI, _INIT, _VINTR, _SHUTDOWN = (int(code) & 31 for code in (
    ExitCode.INTR, ExitCode.NMI, ExitCode.INIT, ExitCode.VINTR, ExitCode.SHUTDOWN))


class ExitUnit(wiring.Component):
    """Decides between an event and #VMEXIT. Combinational. AMD64 APM vol. 2, 15.9 to 15.14, 15.25.6.

    1. ``asked`` says that the micro-operation in X asks for an exit, by its own intercept (``row``, ``code``) or by
       FORCE_EXIT (``forced``, with the code in ``b``), and that no fault goes first (``first``). An intercepted write
       of CR0 for its value (65h) may be ``spared``, an intercepted PAUSE ``paused``.
    2. ``exit`` says that the event of X or of the boundary (``event``, ``source``, ``vector``, ``exception``) becomes a
       #VMEXIT with ``cause``: one that is asked for, a page fault of the nested tables, an interrupt or exception that
       is intercepted. The intercept of an exception's own vector goes before that of the #DF it makes (``double``) and
       of shutdown (``fatal``).
    3. ``is_forced`` : the exit is FORCE_EXIT's. ``of_access`` : it would be a page fault of an access, nested or not.
       ``combined`` : it is the #DF or the shutdown that an exception makes with another one.

    Members
    -------
    event : In(1); source : In(Source); vector : In(8); exception : In(1); error, address : In(32)
        ``exception`` : the event of X has an intercept of exceptions; INT n and ICEBP have not. ``error`` is zero for
        vectors without an error code; ``address`` that of a page fault, or the guest-physical one of an access.
    of_fetch, access, fetch_nested, access_nested, fetch_table, access_table : In(1); fetch_code, access_code : In(5)
    fetch_gpa : In(32)
        X has a page fault of its fetch, of its access; of the nested tables; at an entry of the guest's tables.
    first, row, forced, spared, paused : In(1); code : In(8); a, b, next_eip : In(32)
    guest, double, fatal, delivering : In(1); exceptions, events : In(32)
        ``exceptions`` and ``events``: intercept words, zero in host mode.
    e_vector, e_type, e_has_error, e_error : In
        The event in delivery.
    asked, exit, is_forced, of_access, combined : Out(1); cause : Out(Exit)
    """

    def __init__(self):
        super().__init__({
            "event": In(1), "source": In(Source), "vector": In(8), "exception": In(1),
            "error": In(32), "address": In(32),
            "of_fetch": In(1), "access": In(1), "fetch_nested": In(1), "access_nested": In(1), "fetch_table": In(1),
            "access_table": In(1), "fetch_code": In(5), "access_code": In(5), "fetch_gpa": In(32),
            "first": In(1), "row": In(1), "forced": In(1), "spared": In(1), "paused": In(1), "code": In(8),
            "a": In(32), "b": In(32), "next_eip": In(32),
            "guest": In(1), "double": In(1), "fatal": In(1), "delivering": In(1),
            "exceptions": In(32), "events": In(32),
            "e_vector": In(8), "e_type": In(EventType), "e_has_error": In(1), "e_error": In(32),
            "asked": Out(1), "exit": Out(1), "is_forced": Out(1), "of_access": Out(1), "combined": Out(1),
            "cause": Out(Exit),
        })

    def elaborate(self, platform):
        m = Module()
        cause = self.cause
        row = Signal()
        m.d.comb += row.eq(self.row)
        with m.Switch(self.code):
            with m.Case(ExitCode.CR0_SEL_WRITE):
                m.d.comb += row.eq(self.row & ~self.spared)
            with m.Case(ExitCode.PAUSE):
                m.d.comb += row.eq(self.row & ~self.paused)
        m.d.comb += self.of_access.eq(self.access & ~self.first & ~self.event & ~self.asked)
        m.d.comb += self.asked.eq((row | self.forced) & ~self.first & ~self.event)

        with m.If(self.asked):
            m.d.comb += [self.exit.eq(1), self.is_forced.eq(self.forced),
                         cause.code.eq(Mux(self.forced, self.b, self.code))]
            # APM 15.7.1: a task switch is not the intercept of an instruction.
            with m.If(self.guest & ~(self.forced & (self.b == ExitCode.TASK_SWITCH))):
                m.d.comb += cause.nrip.eq(self.next_eip)
            with m.If((self.code < _EXCEPTIONS) | (self.code == ExitCode.CR0_SEL_WRITE)):
                # Only MOV names a general register; bit 63 says that it is MOV CR.
                with m.If(self.a[31]):
                    m.d.comb += cause.info1.eq(Cat(self.a[:31], C(0, 32), self.code[5:] != _DEBUG_REGISTERS))
            with m.Elif((self.code == ExitCode.SWINT) | (self.code == ExitCode.INVLPG)):
                m.d.comb += cause.info1.eq(self.a)
        with m.Elif(self.guest):
            with m.If(self.event):
                with m.Switch(self.source):
                    for source, code, wanted in (
                            (Source.TRAP, ExitCode.EXCEPTION_DB, self.exceptions[Vector.DB]),
                            (Source.NMI, ExitCode.NMI, self.events[_NMI]),
                            (Source.INTERRUPT, ExitCode.INTR, self.events[_INTR]),
                            (Source.VIRTUAL, ExitCode.VINTR, self.events[_VINTR]),
                            (Source.INIT, ExitCode.INIT, self.events[_INIT])):
                        with m.Case(source):
                            m.d.comb += [self.exit.eq(wanted), cause.code.eq(code)]
            with m.Elif(self.of_fetch & self.fetch_nested):
                m.d.comb += [self.exit.eq(1), cause.code.eq(ExitCode.NPF),
                             cause.info1.eq(_nested(Cat(self.fetch_code[:4], ~self.fetch_table), self.fetch_table)),
                             cause.info2.eq(self.fetch_gpa)]
            with m.Elif(~self.first & self.access & self.access_nested):
                m.d.comb += [self.exit.eq(1), cause.code.eq(ExitCode.NPF),
                             cause.info1.eq(_nested(self.access_code, self.access_table)),
                             cause.info2.eq(self.address)]
            with m.Elif(self.exception):
                with m.If((self.vector < 32) & self.exceptions.bit_select(self.vector[:5], 1)):
                    m.d.comb += [self.exit.eq(1), cause.code.eq(_EXCEPTIONS | self.vector[:5]),
                                 cause.info1.eq(self.error)]
                    with m.Switch(self.vector):
                        with m.Case(Vector.PF):
                            m.d.comb += cause.info2.eq(self.address)
                        with m.Case(Vector.BP, Vector.OF, Vector.BR):
                            # APM 15.7.1: INT3, INTO and BOUND save the next EIP as instructions do.
                            m.d.comb += cause.nrip.eq(self.next_eip)
                with m.Elif(self.double & self.exceptions[Vector.DF]):
                    m.d.comb += [self.exit.eq(1), self.combined.eq(1), cause.code.eq(ExitCode.EXCEPTION_DF)]
                with m.Elif(self.fatal & self.events[_SHUTDOWN]):
                    m.d.comb += [self.exit.eq(1), self.combined.eq(1), cause.code.eq(ExitCode.SHUTDOWN)]
        with m.If(self.delivering):
            m.d.comb += cause.intinfo.eq(Cat(
                self.e_vector, C(0, 3) | self.e_type, self.e_has_error, C(0, 19), C(1, 1),
                Mux(self.e_has_error, self.e_error, 0)))
        return m


def _nested(code, table):
    """EXITINFO1 of a nested page fault: bit 33 for an entry of the guest's tables, else bit 32. Those are not fetched:
    bit 4 is for the final access."""
    return Cat(code, C(0, 27), ~table, table)
