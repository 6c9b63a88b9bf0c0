"""Far jumps, calls and returns: code segments, call gates, task gates, TSS (SDM vol. 2A, JMP, CALL, RET)."""

from __future__ import annotations

from enum import Enum

from rtl.isa.exceptions import Vector, selector_error
from rtl.isa.segments import SELECTOR_TI, SystemType
from vmm.engine.frames import Frames, cut
from vmm.engine.segmentation import CS, SS, Loaded, is_null
from vmm.faults import Fault

_TSS_AVAILABLE = (SystemType.TSS16_AVAILABLE, SystemType.TSS32_AVAILABLE)
_CALL_GATES = (SystemType.CALL_GATE16, SystemType.CALL_GATE32)
_COUNT_MASK = 0x1F


class Reason(Enum):
    """What makes a task switch."""

    JUMP = "jump"
    CALL = "call"
    RETURN = "return"
    SOFTWARE_INTERRUPT = "software interrupt"
    EVENT = "event"


class FarTransfers(Frames):
    """Routines return the next EIP."""

    def task_switch(self, loaded: Loaded, reason: Reason, return_eip: int) -> int:
        """Overridden by the task unit."""
        raise Fault(Vector.GP, selector_error(loaded.selector))

    def check_code(self, selector: int) -> Loaded:
        """A code segment that can be transferred to: in its table and code; null is #GP(0)."""
        if is_null(selector):
            raise Fault(Vector.GP, 0)
        loaded = self.fetch_descriptor(selector)
        if not loaded.is_code:
            raise Fault(Vector.GP, selector_error(selector))
        return loaded

    def check_present(self, loaded: Loaded) -> None:
        if not loaded.present:
            raise Fault(Vector.NP, selector_error(loaded.selector))

    def check_eip(self, loaded: Loaded, eip: int) -> None:
        if eip > loaded.limit:
            raise Fault(Vector.GP, 0)

    def set_code(self, loaded: Loaded, cpl: int) -> None:
        """Load CS with RPL = the new CPL."""
        self.set_segment(CS, loaded, loaded.selector & ~3 | cpl)
        self.state.cpl = cpl

    def _direct_code(self, loaded: Loaded) -> Loaded:
        """Checks of a far jump or call straight to a code segment."""
        cpl, selector = self.state.cpl, loaded.selector
        if loaded.is_conforming:
            bad = loaded.dpl > cpl
        else:
            bad = selector & 3 > cpl or loaded.dpl != cpl
        if bad:
            raise Fault(Vector.GP, selector_error(selector))
        self.check_present(loaded)
        return loaded

    def _gate_access(self, gate: Loaded) -> None:
        if gate.dpl < max(self.state.cpl, gate.selector & 3):
            raise Fault(Vector.GP, selector_error(gate.selector))

    def _task_target(self, loaded: Loaded) -> Loaded:
        """The TSS a far transfer names, directly or through a task gate."""
        self._gate_access(loaded)
        if loaded.type == SystemType.TASK_GATE:
            self.check_present(loaded)
            loaded = self.check_task_gate(loaded.gate_selector)
        elif loaded.type not in _TSS_AVAILABLE or loaded.selector & SELECTOR_TI:
            raise Fault(Vector.GP, selector_error(loaded.selector))
        self.check_present(loaded)
        return loaded

    def check_task_gate(self, selector: int) -> Loaded:
        """The TSS a task gate points to: in the GDT and available."""
        if selector & SELECTOR_TI or is_null(selector):
            raise Fault(Vector.GP, selector_error(selector))
        loaded = self.fetch_descriptor(selector, Vector.GP)
        if not loaded.is_system or loaded.type not in _TSS_AVAILABLE:
            raise Fault(Vector.GP, selector_error(selector))
        return loaded

    def _fetch_target(self, selector: int) -> Loaded:
        if is_null(selector):
            raise Fault(Vector.GP, 0)
        return self.fetch_descriptor(selector)

    def far_jump(self, selector: int, offset: int, size: int, next_eip: int) -> int:
        loaded = self._fetch_target(selector)
        if loaded.is_code:
            self._direct_code(loaded)
        elif loaded.is_system and loaded.type in _CALL_GATES:
            self._gate_access(loaded)
            self.check_present(loaded)
            offset = loaded.gate_offset
            loaded = self.check_code(loaded.gate_selector)
            cpl = self.state.cpl
            if loaded.dpl > cpl if loaded.is_conforming else loaded.dpl != cpl:
                raise Fault(Vector.GP, selector_error(loaded.selector))
            self.check_present(loaded)
        elif loaded.is_system:
            return self.task_switch(self._task_target(loaded), Reason.JUMP, next_eip)
        else:
            raise Fault(Vector.GP, selector_error(selector))
        self.check_eip(loaded, offset)
        self.set_code(loaded, self.state.cpl)
        self.segments_changed()
        return offset

    def far_call(self, selector: int, offset: int, size: int, next_eip: int) -> int:
        loaded = self._fetch_target(selector)
        if loaded.is_code:
            self._direct_code(loaded)
            return self._call_same_level(loaded, offset, size // 8, next_eip)
        if not loaded.is_system:
            raise Fault(Vector.GP, selector_error(selector))
        if loaded.type not in _CALL_GATES:
            return self.task_switch(self._task_target(loaded), Reason.CALL, next_eip)
        self._gate_access(loaded)
        self.check_present(loaded)
        gate, width = loaded, 4 if loaded.type == SystemType.CALL_GATE32 else 2
        loaded = self.check_code(gate.gate_selector)
        if loaded.dpl > self.state.cpl:
            raise Fault(Vector.GP, selector_error(loaded.selector))
        self.check_present(loaded)
        if loaded.is_conforming or loaded.dpl == self.state.cpl:
            return self._call_same_level(loaded, gate.gate_offset, width, next_eip)
        return self._call_inner(loaded, gate, width, next_eip)

    def _call_same_level(self, loaded: Loaded, offset: int, width: int, next_eip: int) -> int:
        state = self.state
        stack, user = state.segments[SS], state.cpl == 3
        self.check_eip(loaded, offset)
        self.probe_frame(stack, state.gpr[4], 2 * width, width, user)
        self.mark_accessed(loaded)
        top = self.write_frame(stack, state.gpr[4], (state.segments[CS].selector, next_eip), width, user)
        self.set_code(loaded, state.cpl)
        self.set_stack_pointer(top)
        self.segments_changed()
        return offset

    def _call_inner(self, loaded: Loaded, gate: Loaded, width: int, next_eip: int) -> int:
        """A call to a more privileged level: new stack, parameters copied."""
        state = self.state
        level = loaded.dpl
        stack, top = self.inner_stack(level)
        new, count = stack.cache(), gate.high & _COUNT_MASK
        size = (4 + count) * width
        self.check_eip(loaded, gate.gate_offset)
        old_stack = state.segments[SS].copy()
        # a 16-bit gate and a 16-bit stack both keep only what they can hold of ESP
        old_top = cut(old_stack, state.gpr[4])
        parameters = self._parameters(count, width)
        self.probe_frame(new, top, size, width, False, selector_error(stack.selector))
        values = [old_stack.selector, old_top, *parameters, state.segments[CS].selector, next_eip]
        self.mark_accessed(stack)
        self.mark_accessed(loaded)
        top = self.write_frame(new, top, values, width, False)
        self.set_segment(SS, stack)
        self.set_code(loaded, level)
        self.set_stack_pointer(top)
        self.segments_changed()
        return gate.gate_offset

    def _parameters(self, count: int, width: int) -> list[int]:
        """The parameters of a call gate, highest address first. The two ends are read first, to meet every fault."""
        if not count:
            return []
        self.peek_stack(0, 1, width)
        self.peek_stack((count - 1) * width, 1, width)
        return self.peek_stack(0, count, width)[::-1]

    def check_return_code(self, selector: int) -> Loaded:
        """The checks of RETF and IRET on the CS they pop."""
        loaded = self.check_code(selector)
        rpl = selector & 3
        if rpl < self.state.cpl or (loaded.dpl > rpl if loaded.is_conforming else loaded.dpl != rpl):
            raise Fault(Vector.GP, selector_error(selector))
        self.check_present(loaded)
        return loaded

    def return_outer(self, code: Loaded, eip: int, offset: int, width: int, release: int) -> None:
        """Take SS:ESP from `offset` above the top and leave for an outer level."""
        esp, selector = self.peek_stack(offset, 2, width)
        level = code.selector & 3
        stack = self.check_stack_segment(selector & 0xFFFF, level, Vector.GP)
        self.check_eip(code, eip)
        self.mark_accessed(code)
        self.mark_accessed(stack)
        self.set_code(code, level)
        self.set_segment(SS, stack)
        self.set_stack_pointer(esp + release)
        self.drop_inner_segments()

    def far_return(self, size: int, release: int) -> int:
        width = size // 8
        eip, selector = self.peek_stack(0, 2, width)
        code = self.check_return_code(selector & 0xFFFF)
        if code.selector & 3 > self.state.cpl:
            self.return_outer(code, eip, 2 * width + release, width, release)
        else:
            self.check_eip(code, eip)
            self.set_code(code, self.state.cpl)
            self.set_stack_pointer(self.state.gpr[4] + 2 * width + release)
        self.segments_changed()
        return eip
