"""What may be taken between two instructions: traps, NMI, interrupts, and what holds them off."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.exceptions import Vector

from .events import Kind

__all__ = ["Boundary", "Source"]


class Source(enum.Enum, shape=3):
    """What is taken between two instructions."""
    #: The event that VMRUN injects.
    INJECTED = 0
    TRAP = 1
    NMI = 2
    INTERRUPT = 3
    #: The virtual interrupt of a guest.
    VIRTUAL = 4
    INIT = 5


class Boundary(wiring.Component):
    """Keeps pending traps, NMI, and the shadows of STI and MOV SS, and picks the event that goes first.

    1. ``any_event`` says that something is to be taken at the next boundary: ``source``, ``vector`` and ``kind``, by
       the order of SDM vol. 3A, table 6-2: INIT, debug trap, NMI, interrupt; before them the injected event, after
       them the virtual interrupt. ``take_event`` takes it, unless ``exit`` says that #VMEXIT goes in its place and an
       interrupt or NMI stays pending; ``intack``, ``injected`` and ``virtual_taken`` are then pulses of the one it is.
       ``take`` is that, or a fault; both forget pending traps and shadows, but for rule 6.
    2. ``done`` is the end of an instruction. The shadow of STI (``sti``, if IF was clear) and of MOV SS
       (``stack_load``) covers the one after it; that of MOV SS holds off traps and NMI too. SDM vol. 2B, MOV, STI.
       ``shadow_set`` makes a shadow like that of STI (VMRUN).
    3. ``step`` is the end of an instruction or REP iteration that began with TF set, not heeded at a load of SS;
       ``task_trap`` the T bit of a new TSS; ``data_hits`` breakpoints touched. They are bits of DR6 in ``trap_bits``
       until the trap is taken.
    4. NMI is taken once per rising edge and blocked until ``nmi_unblock`` (IRET, even one that faults). With
       ``nmi_as_before`` that is undone: the IRET is still to come.
    5. ``go_on`` says that a REP instruction may begin another iteration.
    6. Breakpoints touched by a load of SS outlive an event taken in its shadow (INT n): their trap is taken before the
       first instruction of the handler. SDM vol. 3A, 6.8.3.
    7. While ``gif`` is 0, NMI and interrupts wait. With ``masking`` IF of the host (``host_if``) takes the place of
       ``if_`` and shadow for interrupts, and ``if_`` and shadow hold off virtual ones only. AMD64 APM vol. 2, 15.17,
       15.21.
    8. ``forget`` (#VMEXIT) drops traps and shadows.
    9. ``init`` is a pulse that asks for ``reset``, a pulse too, at once if nothing holds it back: it waits for GIF, and
       while ``init_exits`` it is an event that leaves guest mode and goes on waiting. AMD64 APM vol. 2, 15.13.4, 15.17.

    Members
    -------
    intr, if_, nmi, vector_in, init, init_exits : In
    gif, masking, host_if : In(1)
    inject : In(1); inject_vector : In(8); inject_kind : In(Kind)
    virtual : In(1); virtual_vector : In(8)
    take, take_event, exit, done, sti, stack_load, shadow_set, step, task_trap, data_hits, nmi_unblock, nmi_as_before,
    forget : In
    any_event, go_on, intack, injected, virtual_taken, interruptible, waking, shadow, stack_shadow : Out(1)
        ``interruptible`` : no flag holds off interrupts. ``waking`` : something else pends that ends HLT. ``shadow`` :
        an interrupt shadow covers the instruction; ``stack_shadow`` : it follows a load of SS.
    reset : Out(1)
    source : Out(Source); vector : Out(8); kind : Out(Kind); trap_bits : Out(32)
    """

    def __init__(self):
        super().__init__({
            "intr": In(1), "if_": In(1), "nmi": In(1), "vector_in": In(8),
            "init": In(1), "init_exits": In(1), "reset": Out(1),
            "gif": In(1, init=1), "masking": In(1), "host_if": In(1),
            "inject": In(1), "inject_vector": In(8), "inject_kind": In(Kind),
            "virtual": In(1), "virtual_vector": In(8),
            "take": In(1), "take_event": In(1), "exit": In(1), "done": In(1), "sti": In(1), "stack_load": In(1),
            "shadow_set": In(1), "step": In(1), "task_trap": In(1), "data_hits": In(4), "nmi_unblock": In(1),
            "nmi_as_before": In(1), "forget": In(1),
            "any_event": Out(1), "go_on": Out(1), "intack": Out(1), "injected": Out(1), "virtual_taken": Out(1),
            "interruptible": Out(1), "waking": Out(1), "shadow": Out(1), "stack_shadow": Out(1),
            "source": Out(Source), "vector": Out(8), "kind": Out(Kind), "trap_bits": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        trap_pending = Signal()
        nmi_pending = Signal()
        nmi_blocked = Signal()
        nmi_was_blocked = Signal()
        shadow = self.shadow
        shadow_stack = Signal()
        shadow_next = Signal()
        shadow_stack_next = Signal()
        interruptible = self.interruptible
        interrupt = Signal()
        virtual = Signal()
        stack_load = Signal()
        new_bits = Signal(16)
        held = Signal(4)
        nmi = nmi_pending & ~nmi_blocked & self.gif
        init_pending = Signal()
        init = init_pending & self.gif & self.init_exits
        trap = trap_pending & ~shadow_stack
        taken = self.take_event & ~self.exit
        m.d.comb += [
            interruptible.eq(self.gif & Mux(self.masking, self.host_if, self.if_)),
            # A trap that the shadow of MOV SS holds off goes first all the same.
            interrupt.eq(self.intr & interruptible & (self.masking | ~shadow) & ~trap_pending),
            virtual.eq(self.virtual & self.gif & self.if_ & ~shadow),
            self.any_event.eq(self.inject | init | ((trap_pending | nmi) & ~shadow_stack) | interrupt | virtual),
            self.go_on.eq(~interrupt & ~nmi & ~trap_pending & ~virtual & ~self.inject & ~init),
            self.waking.eq(trap_pending | nmi | virtual | self.inject | init),
            self.reset.eq((self.init | init_pending) & self.gif & ~self.init_exits),
        ]
        with m.If(self.reset):
            m.d.sync += init_pending.eq(0)
        with m.Elif(self.init):
            m.d.sync += init_pending.eq(1)
        with m.If(self.inject):
            m.d.comb += [self.source.eq(Source.INJECTED), self.vector.eq(self.inject_vector),
                         self.kind.eq(self.inject_kind), self.injected.eq(taken)]
        with m.Elif(init):
            m.d.comb += self.source.eq(Source.INIT)
        with m.Elif(trap):
            m.d.comb += [self.source.eq(Source.TRAP), self.vector.eq(Vector.DB)]
        with m.Elif(nmi & ~shadow_stack):
            m.d.comb += [self.source.eq(Source.NMI), self.vector.eq(Vector.NMI), self.kind.eq(Kind.INTERRUPT)]
            with m.If(taken):
                m.d.sync += [nmi_pending.eq(0), nmi_blocked.eq(1)]
        with m.Elif(interrupt):
            m.d.comb += [self.source.eq(Source.INTERRUPT), self.vector.eq(self.vector_in),
                         self.kind.eq(Kind.INTERRUPT), self.intack.eq(taken)]
        with m.Else():
            m.d.comb += [self.source.eq(Source.VIRTUAL), self.vector.eq(self.virtual_vector),
                         self.kind.eq(Kind.INTERRUPT), self.virtual_taken.eq(taken)]

        m.d.comb += [
            self.stack_shadow.eq(shadow_stack),
            stack_load.eq(shadow_stack_next | self.stack_load),
            new_bits.eq(Cat(self.data_hits, C(0, 10), self.step & ~stack_load, self.task_trap)),
        ]
        with m.If(self.stack_load):
            m.d.sync += [shadow_next.eq(1), shadow_stack_next.eq(1)]
        with m.If(self.shadow_set):
            m.d.sync += shadow_next.eq(1)
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
        with m.If(self.forget):
            m.d.sync += [trap_pending.eq(0), self.trap_bits.eq(0), held.eq(0), shadow_next.eq(0)]

        last_nmi = Signal()
        m.d.sync += last_nmi.eq(self.nmi)
        with m.If(self.nmi & ~last_nmi):
            m.d.sync += nmi_pending.eq(1)
        with m.If(self.nmi_unblock):
            m.d.sync += [nmi_blocked.eq(0), nmi_was_blocked.eq(nmi_blocked)]
        with m.If(self.nmi_as_before):
            m.d.sync += nmi_blocked.eq(nmi_was_blocked)
        return m
