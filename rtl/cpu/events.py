"""Exceptions and interrupts: which one is taken, and what its delivery starts from."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.exceptions import CONTRIBUTORY_MASK, ERROR_CODE_MASK, SERIES, Vector
from rtl.isa.svm import EventType

__all__ = ["AccessFault", "EventUnit", "Kind"]


class AccessFault(enum.IntEnum, shape=3):
    """What address generation or translation found wrong with an access."""
    NONE = 0
    PROTECTION = 1   #: #GP(0)
    STACK = 2        #: #SS(0)
    NEW_STACK = 3    #: #SS(selector): the new stack of a transfer to another level
    ALIGNMENT = 4    #: #AC(0)
    PAGE = 5         #: #PF


class Kind(enum.IntEnum, shape=2):
    """What an event is, for the pushed EIP, the gate check and the double-fault rule."""
    FAULT = 0        #: exception that points at the instruction
    TRAP = 1         #: ICEBP: an exception that points after it
    SOFTWARE = 2     #: INT n, INT3, INTO: gate DPL is checked, points after
    INTERRUPT = 3    #: external, NMI included


class EventUnit(wiring.Component):
    """Holds the event in delivery and combines a fault met in its delivery with it. SDM vol. 3A, 6.15 (#DF).

    1. ``take`` starts the delivery of the event described by ``vector``, ``kind``, ``error``, with ``restart_eip`` the
       address of the instruction it interrupts and ``next_eip`` the following one.
    2. If a delivery is in progress (``active``) and ``vector`` is an exception, the result may be #DF, or ``shutdown``:
       one cycle, nothing is started.
    3. ``done`` ends the delivery: later events are first events again.
    4. ``write_restart`` changes the address that later faults of this delivery point at (task switch).
    5. ``double`` and ``fatal`` say, whether or not it is taken, that ``vector`` makes #DF or shuts the processor down.
    6. ``exit`` in place of ``take`` starts #VMEXIT: it keeps ``restart_eip``, and nothing else of the event.
    7. An event that VMRUN injects (``injected``) has an error code if ``injected_error`` says so and it is an
       exception, and no instruction has asked for it. An injected #DF is one. AMD64 APM vol. 2, 15.20.
    8. The last of `SERIES` exceptions in a row, each met in the delivery of the one before, shuts the processor down:
       #AC of a misaligned stack would go on for ever.

    Members
    -------
    take, exit, injected, injected_error : In(1)
    vector : In(8); kind : In(Kind); error, restart_eip, next_eip : In(32)
    rf : In(1)
        RF is to be set in the EFLAGS pushed.
    type : In(EventType)
        What EXITINTINFO calls the event.
    done, forget, write_restart : In(1); write_eip : In(32)
        ``forget`` drops the event in delivery.
    active : Out(1)
    e_vector : Out(8); e_error : Out(32); e_has_error : Out(1); e_type : Out(EventType)
    e_soft, e_interrupt : Out(1)
        Software interrupt: the gate's DPL is checked. External interrupt.
    e_ext, e_rf : Out(1)
        EXT of error codes raised by the delivery itself; RF to push.
    e_eip, e_restart : Out(32)
        EIP to push; EIP that a fault of the delivery points at.
    e_requested : Out(1)
        The delivery is the work of an instruction (INT n, INT3, INTO, ICEBP).
    has_error, double, fatal, shutdown : Out(1)
        ``has_error`` : exceptions of this vector push an error code.
    """

    def __init__(self):
        super().__init__({
            "take": In(1), "exit": In(1), "injected": In(1), "injected_error": In(1), "type": In(EventType),
            "forget": In(1), "vector": In(8), "kind": In(Kind), "error": In(32), "rf": In(1),
            "restart_eip": In(32), "next_eip": In(32), "done": In(1), "write_restart": In(1), "write_eip": In(32),
            "active": Out(1), "e_vector": Out(8), "e_error": Out(32), "e_has_error": Out(1),
            "e_soft": Out(1), "e_requested": Out(1), "e_ext": Out(1), "e_rf": Out(1),
            "e_eip": Out(32), "e_restart": Out(32), "e_interrupt": Out(1),
            "e_type": Out(EventType), "has_error": Out(1), "double": Out(1), "fatal": Out(1), "shutdown": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        def in_mask(vector, mask):
            return (vector < 32) & ((mask >> vector[:5]) & 1)

        e_class_contributory = Signal()
        e_class_page = Signal()
        e_class_double = Signal()
        contributory = Signal()
        page = Signal()
        double = self.double
        exception = Signal()
        series = Signal(range(SERIES))
        too_many = Signal()
        m.d.comb += [
            too_many.eq(self.active & exception & (series == SERIES - 1)),
            exception.eq((self.kind == Kind.FAULT) | (self.kind == Kind.TRAP)),
            contributory.eq(exception & in_mask(self.vector, CONTRIBUTORY_MASK)),
            page.eq(exception & (self.vector == Vector.PF)),
            double.eq(self.active & ~too_many & (
                (e_class_contributory & contributory) | (e_class_page & (contributory | page)))),
            self.has_error.eq(exception & in_mask(self.vector, ERROR_CODE_MASK)),
            self.fatal.eq(too_many | self.active & e_class_double & (contributory | page)),
            self.shutdown.eq(self.take & self.fatal),
        ]
        with m.If(self.take & ~self.shutdown):
            m.d.sync += [
                self.active.eq(1),
                series.eq(Mux(self.active, series + 1, 0)),
                self.e_vector.eq(Mux(double, Vector.DF, self.vector)),
                self.e_error.eq(Mux(double, 0, self.error)),
                self.e_has_error.eq(double | Mux(
                    self.injected, self.injected_error & (self.type == EventType.EXCEPTION), self.has_error)),
                self.e_type.eq(Mux(double, EventType.EXCEPTION, self.type)),
                self.e_soft.eq(self.kind == Kind.SOFTWARE),
                self.e_requested.eq(((self.kind == Kind.SOFTWARE) | (self.kind == Kind.TRAP)) & ~self.injected),
                # SDM vol. 3A, 6.13: EXT is set in error codes of faults met while delivering an event that the
                # program did not ask for.
                self.e_ext.eq(self.kind != Kind.SOFTWARE),
                self.e_interrupt.eq(self.kind == Kind.INTERRUPT),
                self.e_rf.eq(self.rf & ~double),
                self.e_eip.eq(Mux((self.kind == Kind.SOFTWARE) | (self.kind == Kind.TRAP),
                                  self.next_eip, self.restart_eip)),
                self.e_restart.eq(self.restart_eip),
                e_class_contributory.eq(contributory & ~double),
                e_class_page.eq(page & ~double),
                e_class_double.eq(double | (exception & (self.vector == Vector.DF))),
            ]
        with m.If(self.exit):
            m.d.sync += [self.e_eip.eq(self.restart_eip), self.e_restart.eq(self.restart_eip)]
        with m.If(self.done | self.forget):
            m.d.sync += [self.active.eq(0), e_class_double.eq(0)]
        with m.If(self.write_restart):
            m.d.sync += self.e_restart.eq(self.write_eip)
        return m
