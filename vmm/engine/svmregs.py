"""What SVM adds to the registers: its MSRs, the guest's time, GIF (AMD64 APM vol. 2, 15.4, 15.17, 15.30, 15.33.2)."""

from __future__ import annotations

from rtl.isa.exceptions import Vector
from rtl.isa.msrs import EFER_SVME, MSRS, Msr
from rtl.isa.svm import VINTR_GIF, VINTR_GIF_ENABLE, VINTR_IRQ, VmCr
from vmm.engine.intercepts import Intercepts
from vmm.faults import Fault

_EFER, _VM_CR, _HSAVE = int(Msr.EFER), int(Msr.VM_CR), int(Msr.VM_HSAVE_PA)
_M64 = (1 << 64) - 1


class SvmRegisters(Intercepts):
    """Registers of a processor with SVM.

    Members
    -------
    svm_in_use : something of SVM may matter: EFER.SVME is set, or guest mode, or GIF is clear.
    attention : an event waits for the next instruction boundary of the guest, or for a chance.
    """

    svm_in_use = attention = False

    def svm_changed(self) -> None:
        """Guest mode, GIF, EFER or what waits for the guest has changed."""
        svm = self.state.svm
        self.svm_in_use = svm.guest or not svm.gif or bool(self.state.msrs.get(_EFER, 0))
        self.attention = svm.guest and bool(svm.event or svm.vintr & VINTR_IRQ)

    def require_svm(self) -> None:
        if not self.state.msrs.get(_EFER, 0) & EFER_SVME:
            raise Fault(Vector.UD)

    def set_global_interrupt_flag(self, value: int) -> None:
        """STGI or CLGI. A guest with V_GIF_ENABLE has a GIF of its own."""
        svm = self.state.svm
        if svm.guest and svm.vintr & VINTR_GIF_ENABLE:
            svm.vintr = svm.vintr | VINTR_GIF if value else svm.vintr & ~VINTR_GIF
            return
        svm.gif = bool(value)
        self.svm_changed()
        self.debug_changed()

    def _armed(self) -> list[tuple[int, int, int]]:
        """Breakpoints match nothing while GIF is clear (15.17)."""
        return super()._armed() if self.state.svm.gif else []

    # time and model-specific registers

    def _guest_offset(self) -> int:
        return self.state.svm.tsc_offset if self.state.svm.guest else 0

    def read_time(self) -> int:
        return super().read_time() + self._guest_offset() & _M64

    def read_msr(self, number: int) -> int:
        if self.svm and number in (_EFER, _VM_CR, _HSAVE):
            return self.state.msrs.get(number, 0)
        return super().read_msr(number) + (self._guest_offset() if number == Msr.TSC else 0) & _M64

    def write_msr(self, number: int, value: int) -> None:
        if not self.svm or number not in (_EFER, _VM_CR, _HSAVE):
            super().write_msr(number, value)
            return
        msrs = self.state.msrs
        efer, control = msrs.get(_EFER, 0), msrs.get(_VM_CR, 0)
        if value & ~MSRS[Msr(number)].writable or number == _EFER and value and control & VmCr.SVMDIS:
            raise Fault(Vector.GP, 0)
        if number == _VM_CR:
            if value & VmCr.SVMDIS and efer & EFER_SVME:
                raise Fault(Vector.GP, 0)
            if control & VmCr.LOCK:
                kept = int(VmCr.LOCK | VmCr.SVMDIS)
                value = value & ~kept | control & kept
        msrs[number] = value
        self.svm_changed()
