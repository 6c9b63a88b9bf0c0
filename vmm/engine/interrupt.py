"""Delivery of exceptions and interrupts through the IDT, double faults and shutdown (SDM vol. 3A, 6.12-6.15).

Order of a delivery: IDT limit, gate type, gate DPL (INT n, INT3, INTO only), gate present; code segment checks; for
an inner level the stack of the TSS; limit of the entry point; the frame (see `frames`); accessed bits of SS and CS; the
values of the frame; registers. What faults leaves everything as it was, except after the
commit point of a task switch.

Rules of ours where the manual leaves room: INT n, INT3, INTO and ICEBP push RF as zero. Deliveries that go on meeting
faults which make no double fault, such as #AC on a stack that is misaligned, end in shutdown; a processor hangs.
"""

from __future__ import annotations

from enum import Enum

from rtl.isa.exceptions import ERROR_EXT, SERIES, Combination, Vector, combine, idt_error, selector_error
from rtl.isa.registers import Dr7, Eflags
from rtl.isa.segments import SystemType
from vmm.engine.far import Reason
from vmm.engine.segmentation import CS, SS, Loaded
from vmm.engine.taskswitch import Tasks
from vmm.faults import Fault

_SELECTOR_ERRORS = (Vector.TS, Vector.NP, Vector.SS, Vector.GP)
_IF, _RF = int(Eflags.IF), int(Eflags.RF)
_GD = int(Dr7.GD)
_CLEARED = int(Eflags.TF | Eflags.NT | Eflags.RF)
_INTERRUPT_GATES = (SystemType.INTERRUPT_GATE16, SystemType.INTERRUPT_GATE32)
_TRAP_GATES = (SystemType.TRAP_GATE16, SystemType.TRAP_GATE32)
_EXCEPTIONS = 32
#: What a second exception makes of a first, and in the last row of a device's interrupt.
_OUTCOMES = tuple(combine(first, second) for first in (*range(_EXCEPTIONS), None) for second in range(_EXCEPTIONS))


class Source(Enum):
    """Who asks for a delivery: an instruction that means to, the processor, or a device."""

    SOFTWARE = 0
    EXCEPTION = 1
    EXTERNAL = 2


class Interrupts(Tasks):
    """Delivery through gates.

    Members
    -------
    diverted : set when an instruction ends in a handler or another task, so that no single-step trap follows it.
    """

    diverted = False

    def software_interrupt(self, vector: int, next_eip: int) -> int:
        """INT n, INT3, INTO; the next EIP."""
        return self.deliver(vector, None, Source.SOFTWARE, next_eip)

    def icebp(self, next_eip: int) -> int:
        """INT1: a #DB that no gate DPL stops; DR6 is not changed."""
        return self.deliver(Vector.DB, None, Source.EXCEPTION, next_eip)

    def raise_fault(self, fault: Fault, resume: bool, source: Source = Source.EXCEPTION) -> Fault | None:
        """Deliver an event at `state.eip`, with whatever that leads to; None when it ends in shutdown.

        `resume` is whether the pushed image has RF set. Returns the event that was delivered in the end: the one given,
        or the fault that its delivery met, or the double fault.
        """
        state = self.state
        if fault.cr2 is not None:
            state.cr2 = fault.cr2
        held, left = state.pending_debug, SERIES
        while True:
            try:
                rf = _RF if resume else state.system_flags & _RF
                state.eip = self.deliver(fault.vector, fault.error, source, state.eip, rf)
                return fault
            except Fault as second:
                # a delivery that fails has touched no breakpoint, like an instruction that faults
                state.pending_debug = held
                if second.cr2 is not None:
                    state.cr2 = second.cr2
                first = _EXCEPTIONS if source is Source.EXTERNAL else fault.vector
                outcome = _OUTCOMES[first * _EXCEPTIONS + second.vector]
                left -= 1
                if outcome is Combination.SHUTDOWN or left == 0:
                    state.shutdown = True
                    return None
                fault = second if outcome is Combination.SERIAL else Fault(Vector.DF, 0)
                resume, source = fault.vector != Vector.DF, Source.EXCEPTION

    def deliver(self, vector: int, error: int | None, source: Source, return_eip: int, rf: int = 0) -> int:
        """One delivery; the handler's EIP.

        Raises
        ------
        Fault
            The delivery itself faults; EXT is set in its error code unless the program asked for the delivery.
        """
        self.diverted = True
        try:
            return self._through_gate(vector, error, source, return_eip, rf)
        except Fault as fault:
            if source is not Source.SOFTWARE and fault.vector in _SELECTOR_ERRORS:
                assert fault.error is not None
                fault.error |= ERROR_EXT
            raise

    def _through_gate(self, vector: int, error: int | None, source: Source, return_eip: int, rf: int) -> int:
        state = self.state
        if vector * 8 + 7 > state.idtr_limit:
            raise Fault(Vector.GP, idt_error(vector))
        both = self.read_system(state.idtr_base + vector * 8, 8)
        gate = Loaded(vector * 8, 0, both & 0xFFFF_FFFF, both >> 32)
        is_task = gate.type == SystemType.TASK_GATE
        if not gate.is_system or not (is_task or gate.type in _INTERRUPT_GATES or gate.type in _TRAP_GATES):
            raise Fault(Vector.GP, idt_error(vector))
        if source is Source.SOFTWARE and gate.dpl < state.cpl:
            raise Fault(Vector.GP, idt_error(vector))
        if not gate.present:
            raise Fault(Vector.NP, idt_error(vector))
        if is_task:
            return self._through_task(gate, error, source, return_eip, rf)

        code = self.check_code(gate.gate_selector)
        if code.dpl > state.cpl:
            raise Fault(Vector.GP, selector_error(code.selector))
        self.check_present(code)
        width = 4 if gate.type & 8 else 2
        values = [state.eflags & ~_RF | rf, state.segments[CS].selector, return_eip]
        if error is not None:
            values.append(error)
        if not code.is_conforming and code.dpl < state.cpl:
            self._enter_inner(code, gate.gate_offset, values, width)
        else:
            self._enter_same(code, gate.gate_offset, values, width)
        state.system_flags &= ~(_CLEARED | (_IF if gate.type in _INTERRUPT_GATES else 0))
        if vector == Vector.DB:
            state.dr[7] &= ~_GD
        self.segments_changed()
        return gate.gate_offset

    def _enter_same(self, code: Loaded, entry: int, values: list[int], width: int) -> None:
        state = self.state
        stack, top, user = state.segments[SS], state.gpr[4], state.cpl == 3
        size = width * len(values)
        self.check_eip(code, entry)
        self.probe_frame(stack, top, size, width, user)
        self.mark_accessed(code)
        top = self.write_frame(stack, top, values, width, user)
        self.set_code(code, state.cpl)
        self.set_stack_pointer(top)

    def _enter_inner(self, code: Loaded, entry: int, values: list[int], width: int) -> None:
        state = self.state
        level = code.dpl
        stack, top = self.inner_stack(level)
        new = stack.cache()
        values = [state.segments[SS].selector, state.gpr[4], *values]
        size = width * len(values)
        self.check_eip(code, entry)
        self.probe_frame(new, top, size, width, False, selector_error(stack.selector))
        self.mark_accessed(stack)
        self.mark_accessed(code)
        top = self.write_frame(new, top, values, width, False)
        self.set_segment(SS, stack)
        self.set_code(code, level)
        self.set_stack_pointer(top)

    def _through_task(self, gate: Loaded, error: int | None, source: Source, return_eip: int, rf: int) -> int:
        state = self.state
        task = self.check_task_gate(gate.gate_selector)
        self.check_present(task)
        reason = Reason.SOFTWARE_INTERRUPT if source is Source.SOFTWARE else Reason.EVENT
        eip = self.task_switch(task, reason, return_eip, rf)
        if error is not None:
            width = 4 if task.type & 8 else 2
            stack, user = state.segments[SS], state.cpl == 3
            self.probe_frame(stack, state.gpr[4], width, width, user)
            self.set_stack_pointer(self.write_frame(stack, state.gpr[4], [error], width, user))
        return eip
