"""A guest's instructions, exceptions and task switches, where they may end in #VMEXIT (AMD64 APM vol. 2, 15.7-15.14).

Rules:

1. The routines called `intercept...` are called by code of guest mode only (`vmm.semantics.intercepts`); they raise
   `VmExit`, or return.
2. `delivering` is the event whose delivery is in progress, in the layout of EXITINTINFO, or 0: an exit met in the
   middle of it reports it.
3. An exception asks for its own intercept first; what is not intercepted becomes a double fault or a shutdown by the
   rules without SVM, which are asked about in turn. CR2 is written only by a #PF that is delivered.
4. Faults of a failed delivery and the events INT n, INT1, INT3, INTO are types of their own in EXITINTINFO: only INT n
   is a software interrupt.
"""

from __future__ import annotations

from rtl.isa.exceptions import SERIES, Combination, Vector, combine
from rtl.isa.exitcodes import EXCEPTION, ExitCode
from rtl.isa.registers import CR0_WRITABLE, Cr0, Dr7, Eflags
from rtl.isa.svm import (
    EVENT_EV,
    EVENT_TYPE,
    EVENT_V,
    EVENT_VECTOR,
    TASK_HAS_ERROR,
    TASK_IRET,
    TASK_JUMP,
    TASK_RF,
    Event,
    EventType,
    msrpm_bit,
)
from vmm.engine.far import Reason
from vmm.engine.interrupt import Interrupts, Source
from vmm.engine.segmentation import Loaded
from vmm.engine.sysregs import SystemRegisters
from vmm.faults import Fault, VmExit

_RF, _GD = int(Eflags.RF), int(Dr7.GD)
_KEPT_CR0 = 0xFFFF_FFFF ^ int(Cr0.TS | Cr0.MP)
_SHUTDOWN, _TASK_SWITCH, _CR0_SEL_WRITE = int(ExitCode.SHUTDOWN), int(ExitCode.TASK_SWITCH), int(ExitCode.CR0_SEL_WRITE)
_PAUSE, _MSR, _IOIO, _INVLPG = int(ExitCode.PAUSE), int(ExitCode.MSR), int(ExitCode.IOIO), int(ExitCode.INVLPG)
_M32 = 0xFFFF_FFFF
_EVENT_ALONE = EVENT_VECTOR | EVENT_TYPE | EVENT_EV | EVENT_V
_EVENT = _EVENT_ALONE | _M32 << 32
#: Where a task switch says what made it.
_CAUSES = {Reason.RETURN: TASK_IRET, Reason.JUMP: TASK_JUMP}


def event_of(fault: Fault) -> int:
    """An exception in the layout of EXITINTINFO and EVENTINJ."""
    return Event.build(vector=fault.vector, type=EventType.EXCEPTION, ev=int(fault.error is not None), v=1,
                       error=fault.error or 0)


class Injected(Fault):
    """An event of the VMCB: it is not intercepted, and has its EXITINTINFO with it.

    That has the vector it goes to, no reserved bit, and no error code without EV.
    """

    def __init__(self, vector: int, error: int | None, event: int):
        super().__init__(vector, error)
        self.event = event & (_EVENT if event & EVENT_EV else _EVENT_ALONE) & ~EVENT_VECTOR | vector


class Intercepts(Interrupts, SystemRegisters):
    """What is asked in guest mode."""

    delivering = 0

    # instructions

    def intercept(self, code: int, info1: int, next_eip: int) -> None:
        if self.state.svm.intercepts_code(code):
            raise VmExit(code, info1, 0, next_eip)

    def intercept_pause(self, next_eip: int) -> None:
        svm = self.state.svm
        if svm.intercepts_code(_PAUSE):
            if not svm.pause_count:
                raise VmExit(_PAUSE, next_eip=next_eip)
            svm.pause_count -= 1

    def intercept_cr0(self, value: int, info1: int, next_eip: int) -> None:
        """Writes that change more than TS and MP."""
        changed = (value & int(CR0_WRITABLE) | int(Cr0.ET)) ^ self.state.cr0
        if changed & _KEPT_CR0:
            self.intercept(_CR0_SEL_WRITE, info1, next_eip)

    def intercept_invlpg(self, segment: int, offset: int, next_eip: int) -> None:
        self.intercept(_INVLPG, self.state.segments[segment].base + offset & _M32, next_eip)

    def intercept_msr(self, number: int, write: int, next_eip: int) -> None:
        svm = self.state.svm
        if svm.intercepts_code(_MSR):
            bit = msrpm_bit(number, bool(write))
            if bit is None or self.memory.read(svm.msrpm + (bit >> 3), 1) >> (bit & 7) & 1:
                raise VmExit(_MSR, write, 0, next_eip)

    def intercept_port(self, port: int, size: int, info: int, next_eip: int) -> None:
        """`info` is EXITINFO1 without the port. A port has its bit, and an access as many as it has bytes."""
        svm = self.state.svm
        if svm.intercepts_code(_IOIO):
            bits = self.memory.read(svm.iopm + (port >> 3), 2) >> (port & 7)
            if bits & (1 << size) - 1:
                raise VmExit(_IOIO, info | port << 16, next_eip, next_eip)

    # events

    def begin_event(self, event: int) -> None:
        """INT n, INT1, INT3 or INTO of a guest begins."""
        self.delivering = event

    def software_interrupt(self, vector: int, next_eip: int) -> int:
        eip = super().software_interrupt(vector, next_eip)
        self.delivering = 0
        return eip

    def icebp(self, next_eip: int) -> int:
        eip = super().icebp(next_eip)
        self.delivering = 0
        return eip

    def task_return(self, next_eip: int) -> int:
        """An IRET that leaves in place of its task switch is still to come: it has not let NMIs in."""
        state = self.state
        blocked = state.nmi_blocked
        try:
            return super().task_return(next_eip)
        except VmExit as left:
            if left.code == _TASK_SWITCH:
                state.nmi_blocked = blocked
            raise

    def task_switch(self, loaded: Loaded, reason: Reason, return_eip: int, saved_rf: int = 0) -> int:
        svm = self.state.svm
        if svm.guest and svm.intercepts_code(_TASK_SWITCH):
            self.check_tss(loaded)
            info = _CAUSES.get(reason, 0) | (TASK_RF if (self.state.eflags | saved_rf) & _RF else 0)
            event = Event.from_bits(self.delivering)
            if reason is Reason.EVENT and event.ev:
                info |= TASK_HAS_ERROR | event.error
            raise VmExit(_TASK_SWITCH, loaded.selector, info)
        return super().task_switch(loaded, reason, return_eip, saved_rf)

    def raise_fault(self, fault: Fault, resume: bool, source: Source = Source.EXCEPTION) -> Fault | None:
        if not self.state.svm.guest:
            return super().raise_fault(fault, resume, source)
        if isinstance(fault, Injected):
            if source is Source.SOFTWARE:
                # As INT n does when it begins.
                self.state.system_flags &= ~_RF
            return self.raise_event(fault, resume, source, fault.event)
        if source is Source.EXTERNAL:
            kind = EventType.NMI if fault.vector == Vector.NMI else EventType.INTERRUPT
            return self.raise_event(fault, resume, source, fault.vector | kind << 8 | EVENT_V)
        self._ask_exception(fault)
        return self.raise_event(fault, resume, source, event_of(fault))

    def _ask_exception(self, fault: Fault) -> None:
        """The intercept of an exception."""
        state = self.state
        code = EXCEPTION + fault.vector
        if not state.svm.intercepts_code(code):
            return
        if fault.vector == Vector.DB:
            state.dr[7] &= ~_GD
        next_eip = state.eip + self.length_at(state.eip) & _M32 if fault.vector == Vector.BR else 0
        raise VmExit(code, fault.error or 0, fault.cr2 or 0, next_eip)

    def length_at(self, eip: int) -> int:
        """Bytes of the instruction at EIP, or 0 if it is not known; the interpreter overrides this."""
        return 0

    def raise_event(self, fault: Fault, resume: bool, source: Source, event: int) -> Fault | None:
        """`Interrupts.raise_fault` for a guest, once the event itself is not intercepted."""
        state = self.state
        held, left = state.pending_debug, SERIES
        while True:
            self.delivering = event
            if fault.cr2 is not None:
                state.cr2 = fault.cr2
            try:
                rf = _RF if resume else state.system_flags & _RF
                by_program = isinstance(fault, Injected) and source is Source.SOFTWARE
                return_eip = state.svm.event_next if by_program else state.eip
                state.eip = self.deliver(fault.vector, fault.error, source, return_eip, rf)
                self.delivering = 0
                return fault
            except Fault as second:
                state.pending_debug = held
                self._ask_exception(second)
                if second.cr2 is not None:
                    state.cr2 = second.cr2
                first = None if source is not Source.EXCEPTION else fault.vector
                outcome = combine(first, second.vector)
                left -= 1
                if outcome is Combination.SHUTDOWN or left == 0:
                    self.intercept(_SHUTDOWN, 0, 0)
                    self.delivering = 0
                    state.shutdown = True
                    return None
                if outcome is Combination.DOUBLE_FAULT:
                    second = Fault(Vector.DF, 0)
                    self._ask_exception(second)
                fault, event = second, event_of(second)
                resume, source = fault.vector != Vector.DF, Source.EXCEPTION
