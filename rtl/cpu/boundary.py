"""What may be taken between two instructions: traps, NMI, interrupts, and what holds them off."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.exceptions import Vector

from .events import Kind

__all__ = ["Boundary"]


class Boundary(wiring.Component):
    """Keeps pending traps, NMI, and the shadows of STI and MOV SS, and picks the event that goes first.

    1. ``any_event`` says that something is to be taken at the next boundary: ``vector`` and ``kind``, by the order of
       SDM vol. 3A, table 6-2: debug trap, NMI, interrupt. ``take_event`` takes it; ``intack`` is then a pulse if it is
       the interrupt. ``take`` is that, or a fault; both forget pending traps and shadows, but for rule 6.
    2. ``done`` is the end of an instruction. The shadow of STI (``sti``, if IF was clear) and of MOV SS
       (``stack_load``) covers the one after it; that of MOV SS holds off traps and NMI too. SDM vol. 2B, MOV, STI.
    3. ``step`` is the end of an instruction or REP iteration that began with TF set, not heeded at a load of SS;
       ``task_trap`` the T bit of a new TSS; ``data_hits`` breakpoints touched. They are bits of DR6 in ``trap_bits``
       until the trap is taken.
    4. NMI is taken once per rising edge and blocked until ``nmi_unblock`` (IRET).
    5. ``go_on`` says that a REP instruction may begin another iteration.
    6. Breakpoints touched by a load of SS outlive an event taken in its shadow (INT n): their trap is taken before the
       first instruction of the handler. SDM vol. 3A, 6.8.3.

    Members
    -------
    intr, if_, nmi, vector_in : In
    take, take_event, done, sti, stack_load, step, task_trap, data_hits, nmi_unblock : In
    any_event, go_on, intack, waking, stack_shadow : Out(1)
        ``waking`` : something pends that ends HLT even with interrupts off. ``stack_shadow`` : the instruction follows
        a load of SS.
    vector : Out(8); kind : Out(Kind); trap_bits : Out(32)
    """

    def __init__(self):
        super().__init__({
            "intr": In(1), "if_": In(1), "nmi": In(1), "vector_in": In(8),
            "take": In(1), "take_event": In(1), "done": In(1), "sti": In(1), "stack_load": In(1), "step": In(1),
            "task_trap": In(1), "data_hits": In(4), "nmi_unblock": In(1),
            "any_event": Out(1), "go_on": Out(1), "intack": Out(1), "waking": Out(1),
            "stack_shadow": Out(1),
            "vector": Out(8), "kind": Out(Kind), "trap_bits": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        trap_pending = Signal()
        nmi_pending = Signal()
        nmi_blocked = Signal()
        shadow = Signal()
        shadow_stack = Signal()
        shadow_next = Signal()
        shadow_stack_next = Signal()
        interrupt = Signal()
        stack_load = Signal()
        new_bits = Signal(16)
        held = Signal(4)
        nmi = nmi_pending & ~nmi_blocked
        m.d.comb += [
            interrupt.eq(self.intr & self.if_ & ~shadow),
            self.any_event.eq(((trap_pending | nmi) & ~shadow_stack) | interrupt),
            self.go_on.eq(~interrupt & ~nmi & ~trap_pending),
            self.waking.eq(trap_pending | nmi),
        ]
        with m.If(trap_pending & ~shadow_stack):
            m.d.comb += self.vector.eq(Vector.DB)
        with m.Elif(nmi & ~shadow_stack):
            m.d.comb += [self.vector.eq(Vector.NMI), self.kind.eq(Kind.INTERRUPT)]
            with m.If(self.take_event):
                m.d.sync += [nmi_pending.eq(0), nmi_blocked.eq(1)]
        with m.Else():
            m.d.comb += [self.vector.eq(self.vector_in), self.kind.eq(Kind.INTERRUPT),
                         self.intack.eq(self.take_event)]

        m.d.comb += [
            self.stack_shadow.eq(shadow_stack),
            stack_load.eq(shadow_stack_next | self.stack_load),
            new_bits.eq(Cat(self.data_hits, C(0, 10), self.step & ~stack_load, self.task_trap)),
        ]
        with m.If(self.stack_load):
            m.d.sync += [shadow_next.eq(1), shadow_stack_next.eq(1)]
        with m.If(self.done):
            m.d.sync += [
                shadow.eq(shadow_next | self.sti | self.stack_load),
                shadow_stack.eq(stack_load),
                held.eq(Mux(stack_load, self.trap_bits[:4] | self.data_hits, 0)),
                shadow_next.eq(0), shadow_stack_next.eq(0),
            ]
        with m.If(new_bits != 0):
            m.d.sync += [trap_pending.eq(1), self.trap_bits.eq(self.trap_bits | new_bits)]
        with m.If(self.take):
            m.d.sync += [
                shadow.eq(0), shadow_stack.eq(0), shadow_next.eq(0), shadow_stack_next.eq(0),
                trap_pending.eq((held != 0) & ~self.take_event), self.trap_bits.eq(Mux(self.take_event, 0, held)),
            ]

        last_nmi = Signal()
        m.d.sync += last_nmi.eq(self.nmi)
        with m.If(self.nmi & ~last_nmi):
            m.d.sync += nmi_pending.eq(1)
        with m.If(self.nmi_unblock):
            m.d.sync += nmi_blocked.eq(0)
        return m
