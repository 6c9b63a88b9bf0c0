"""What happens between two instructions: exceptions and interrupts delivered, and what a guest has besides.

Rules for guests (AMD64 APM vol. 2, 15.13, 15.17, 15.20, 15.21, 15.33.2):

1. At a boundary, in this order: the event of EVENTINJ, INIT, a pending debug trap, NMI and physical interrupts (these
   and INIT by the caller), the virtual interrupt.
2. GIF clear holds back everything from outside, and virtual interrupts. An injected event is held back by nothing.
3. Physical interrupts ask for the guest's IF and wait for its interrupt shadow; with V_INTR_MASKING they ask only for
   the IF that the host had at VMRUN.
4. A virtual interrupt asks for the guest's IF and its shadow, for a priority above V_TPR unless V_IGN_TPR, and for
   V_GIF with V_GIF_ENABLE: nothing else asks for V_GIF. Taking it clears V_IRQ, whatever its delivery leads to.
5. An injected event pushes RF as the VMCB has it, and its EIP, or its NRIP for what instructions raise: INT n, and the
   exceptions of INT3 and INTO. The privilege level of its gate stops what instructions raise: INT n,
   and the exceptions of INT3 and INTO. An NMI has vector 2 whatever the VMCB says.
"""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode
from rtl.isa.registers import Eflags
from rtl.isa.retire import RetireCause
from rtl.isa.svm import (
    EVENT_EV,
    EVENT_V,
    VINTR_GIF,
    VINTR_GIF_ENABLE,
    VINTR_IGNORE_TPR,
    VINTR_IRQ,
    VINTR_MASKING,
    Event,
    EventType,
    VintrLayout,
)
from vmm.engine.debug import CodeBreakpoint
from vmm.engine.intercepts import Injected
from vmm.engine.interrupt import Source
from vmm.engine.retired import Retired
from vmm.engine.svm import WorldSwitch
from vmm.faults import Fault, Unfinished, VmExit
from vmm.state import SHADOW_MOV_SS, SHADOW_NONE

_IF = int(Eflags.IF)
_INTR, _VINTR, _NMI, _INIT = int(ExitCode.INTR), int(ExitCode.VINTR), int(ExitCode.NMI), int(ExitCode.INIT)
_TPR = 0xF
_TRAPPING = (Vector.BP, Vector.OF)
_SOURCES = {EventType.INTERRUPT: Source.EXTERNAL, EventType.NMI: Source.EXTERNAL,
            EventType.EXCEPTION: Source.EXCEPTION, EventType.SOFTWARE: Source.SOFTWARE}


class Boundaries(WorldSwitch):
    """Deliveries that are steps of their own."""

    def deliver_interrupt(self, vector: int) -> Retired:
        """Deliver an external interrupt now; the caller has checked `can_interrupt`."""
        self.writes = []
        try:
            return self._deliver(Fault(vector), self.state.repeating, Source.EXTERNAL)
        except VmExit as reason:
            return self.vmexit(reason)

    def _deliver(self, fault: Fault, resume: bool, source: Source = Source.EXCEPTION) -> Retired:
        state = self.state
        start = state.eip
        self.steps += 1
        if isinstance(fault, CodeBreakpoint):
            resume = False
        before = state.halted, state.shadow, state.repeating
        state.halted = False
        state.shadow = SHADOW_NONE
        state.repeating = False
        try:
            delivered = self.raise_fault(fault, resume, source)
        except (Unfinished, VmExit):
            self.steps -= 1
            state.halted, state.shadow, state.repeating = before
            raise
        if delivered is None:
            return Retired(RetireCause.SHUTDOWN, start, writes=self.writes)
        external = source is Source.EXTERNAL and delivered is fault
        return Retired(RetireCause.INTERRUPT if external else RetireCause.EXCEPTION, start, 0,
                       delivered.vector, delivered.error, self.writes)

    # physical interrupts

    @property
    def interrupt_allowed(self) -> bool:
        """`can_interrupt` while SVM is in use."""
        state, svm = self.state, self.state.svm
        if not svm.gif or state.pending_debug or state.shutdown or svm.event:
            return False
        if svm.guest and svm.vintr & VINTR_MASKING:
            return svm.host_if
        return bool(state.system_flags & _IF) and state.shadow == SHADOW_NONE

    @property
    def intercepts_interrupts(self) -> bool:
        """Whether a physical interrupt makes the guest leave guest mode."""
        svm = self.state.svm
        return svm.guest and svm.intercepts_code(_INTR)

    def interrupt_exit(self, code: int = _INTR) -> Retired:
        """#VMEXIT for a physical interrupt or NMI, not acknowledged; the caller has checked `can_interrupt`."""
        self.writes = []
        return self.vmexit(VmExit(code))

    def accept(self, acknowledge: Callable[[], int]) -> Retired:
        """A device wants to interrupt and `can_interrupt` holds: deliver what it acknowledges, or leave guest mode."""
        return self.interrupt_exit() if self.intercepts_interrupts else self.deliver_interrupt(acknowledge())

    # NMI and INIT

    @property
    def nmi_allowed(self) -> bool:
        """Whether an NMI would be taken before the next step: no other is in progress, and nothing holds it back."""
        state = self.state
        return state.svm.gif and state.shadow != SHADOW_MOV_SS and not (
            state.nmi_blocked or state.pending_debug or state.shutdown or state.svm.event)

    def accept_nmi(self) -> Retired:
        """An NMI waits and `nmi_allowed` holds: deliver it, or leave guest mode, and it goes on waiting."""
        state = self.state
        if self.intercepts_nmi:
            return self.interrupt_exit(_NMI)
        before, state.nmi_pending, state.nmi_blocked = state.nmi_pending, False, True
        try:
            return self.deliver_interrupt(Vector.NMI.value)
        except Unfinished:
            state.nmi_pending, state.nmi_blocked = before, False
            raise

    @property
    def intercepts_nmi(self) -> bool:
        """Whether an NMI makes the guest leave guest mode."""
        svm = self.state.svm
        return svm.guest and svm.intercepts_code(_NMI)

    @property
    def intercepts_init(self) -> bool:
        """Whether INIT makes the guest leave guest mode."""
        svm = self.state.svm
        return svm.guest and svm.intercepts_code(_INIT)

    @property
    def init_exits(self) -> bool:
        """Whether an INIT that came would leave guest mode before the next step; it goes on waiting."""
        return self.intercepts_init and self.state.svm.gif and not (self.state.svm.event or self.state.shutdown)

    @property
    def init_resets(self) -> bool:
        """Whether an INIT that came resets the processor now. GIF and its intercept hold it back."""
        return self.state.svm.gif and not self.intercepts_init

    # what guest mode has by itself

    @property
    def virtual_interrupt(self) -> bool:
        """Whether a virtual interrupt is taken at this boundary."""
        state, svm = self.state, self.state.svm
        fields = VintrLayout.from_bits(svm.vintr)
        return bool(
            svm.guest and svm.vintr & VINTR_IRQ and svm.gif and not state.shutdown and not state.pending_debug
            and state.system_flags & _IF and state.shadow == SHADOW_NONE
            and (svm.vintr & VINTR_GIF or not svm.vintr & VINTR_GIF_ENABLE)
            and (svm.vintr & VINTR_IGNORE_TPR or fields.priority > fields.tpr & _TPR))

    def guest_event(self) -> Retired | None:
        """What happens by itself before the next instruction, if anything; `attention` says to ask.

        Raises
        ------
        VmExit
            It is intercepted, or its delivery does not succeed.
        """
        svm = self.state.svm
        before = svm.event, svm.vintr
        try:
            return self._take_event()
        except Unfinished:
            svm.event, svm.vintr = before
            self.svm_changed()
            raise

    def _take_event(self) -> Retired | None:
        state, svm = self.state, self.state.svm
        if svm.event:
            return self._inject()
        if state.pending_debug and state.shadow != SHADOW_MOV_SS or not self.virtual_interrupt:
            return None
        if svm.intercepts_code(_VINTR):
            raise VmExit(_VINTR)
        svm.vintr &= ~VINTR_IRQ
        self.svm_changed()
        event = svm.vector | EventType.INTERRUPT << 8 | EVENT_V
        return self._deliver(Injected(svm.vector, None, event), state.repeating, Source.EXTERNAL)

    def _inject(self) -> Retired:
        svm = self.state.svm
        event, svm.event = Event.from_bits(svm.event), 0
        self.svm_changed()
        kind = EventType(event.type)
        source, vector = _SOURCES[kind], Vector.NMI.value if kind is EventType.NMI else event.vector
        if kind is EventType.EXCEPTION and vector in _TRAPPING:
            source = Source.SOFTWARE
        error = event.error if event.ev and kind is EventType.EXCEPTION else None
        bits = vector | kind << 8 | EVENT_V | (0 if error is None else EVENT_EV | error << 32)
        return self._deliver(Injected(vector, error, bits), False, source)
