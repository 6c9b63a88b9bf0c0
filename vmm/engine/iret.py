"""IRET: returns within a level, to an outer level, and from a nested task (SDM vol. 2A, IRET)."""

from __future__ import annotations

from rtl.isa.exceptions import Vector, selector_error
from rtl.isa.registers import Eflags
from rtl.isa.segments import SELECTOR_TI, SystemType
from vmm.engine.far import FarTransfers, Reason
from vmm.engine.segmentation import TR
from vmm.faults import Fault
from vmm.state import ARITHMETIC, IMPLEMENTED

_ALWAYS = ARITHMETIC | int(Eflags.TF | Eflags.DF | Eflags.NT)
_NT, _IOPL, _IF, _RF = int(Eflags.NT), int(Eflags.IOPL), int(Eflags.IF), int(Eflags.RF)
_WIDE = int(Eflags.RF | Eflags.AC | Eflags.ID)
_TSS_BUSY = (SystemType.TSS16_BUSY, SystemType.TSS32_BUSY)


class Returns(FarTransfers):
    """IRET and the flag rules it shares with POPF.

    IRET lets NMIs in again when it is executed, even if it faults (SDM vol. 3A, 6.7.1).
    There is no virtual-8086 mode yet: VM in a popped image is ignored, and stays clear.
    """

    def write_flags(self, image: int, mask: int) -> None:
        """Change the flags in `mask`, subject to CPL and IOPL."""
        state = self.state
        if state.cpl == 0:
            mask |= _IOPL
        if state.cpl <= state.iopl:
            mask |= _IF
        mask &= IMPLEMENTED
        state.eflags = state.eflags & ~mask | image & mask

    def popf(self, image: int, size: int) -> None:
        """RF is cleared, whatever the image says."""
        mask = _ALWAYS | (_WIDE if size == 32 else 0) | _RF
        self.write_flags(image & ~_RF, mask)

    def interrupt_return(self, size: int, next_eip: int) -> int:
        state = self.state
        if state.system_flags & _NT:
            return self.task_return(next_eip)
        state.nmi_blocked = False
        width = size // 8
        eip, selector, image = self.peek_stack(0, 3, width)
        code = self.check_return_code(selector & 0xFFFF)
        mask = _ALWAYS | (_WIDE if size == 32 else 0)
        if code.selector & 3 > state.cpl:
            old_cpl = state.cpl
            self.return_outer(code, eip, 3 * width, width, 0)
            new_cpl, state.cpl = state.cpl, old_cpl
            self.write_flags(image, mask)
            state.cpl = new_cpl
        else:
            self.check_eip(code, eip)
            self.set_code(code, state.cpl)
            self.set_stack_pointer(state.gpr[4] + 3 * width)
            self.write_flags(image, mask)
        self.segments_changed()
        return eip

    def task_return(self, next_eip: int) -> int:
        """To the task that the TSS links to."""
        self.state.nmi_blocked = False
        link = self.read_system(self.state.segments[TR].base, 2)
        if link & SELECTOR_TI:
            raise Fault(Vector.TS, selector_error(link))
        loaded = self.fetch_descriptor(link, Vector.TS)
        if not loaded.is_system or loaded.type not in _TSS_BUSY:
            raise Fault(Vector.TS, selector_error(link))
        self.check_present(loaded)
        return self.task_switch(loaded, Reason.RETURN, next_eip)
