"""The software MMU in guest mode: address-space identifiers, and nested paging.

Rules, beyond those of `vmm.paging.mmu`:

1. Every ASID has translations of its own. A world switch drops none; `control` does what TLB_CONTROL asks for.
2. CR3 writes, changes of paging and INVLPG act on the present ASID alone.
3. Under nested paging an entry is the whole translation, linear to physical. It is there as long as nobody drops it,
   whatever becomes of either table; guests and monitors for lockstep invalidate what they change.
"""

from __future__ import annotations

from rtl.isa.exitcodes import ExitCode
from rtl.isa.registers import Cr0, Cr4
from rtl.isa.svm import TlbControl
from vmm.faults import VmExit
from vmm.memory import PhysicalMemory
from vmm.paging.mmu import DEFAULT_CAPACITY, SoftMmu
from vmm.paging.nested import NestedFault, nested_walk
from vmm.paging.walk import GuestFault, Translated
from vmm.state import CpuView

_PG, _WP, _PSE = int(Cr0.PG), int(Cr0.WP), int(Cr4.PSE)
_NPF = int(ExitCode.NPF)


class GuestMmu(SoftMmu):
    """Translation for one processor in guest mode."""

    def __init__(self, state: CpuView, memory: PhysicalMemory, capacity: int = DEFAULT_CAPACITY):
        super().__init__(state, memory, capacity)
        self._spaces: dict[int, dict[int, Translated]] = {}

    def enter(self) -> None:
        """Guest mode begins: take the translations of the guest's ASID."""
        self.forget()
        self.entries = self._space(self.state.svm.asid)

    def _space(self, asid: int) -> dict[int, Translated]:
        return self._spaces.setdefault(asid, {})

    def control(self, action: int) -> None:
        """TLB_CONTROL of a VMRUN, in the present ASID. What it means for the host's translations is the caller's."""
        if action == TlbControl.ASID:
            self.flush_all()
        elif action == TlbControl.ASID_LOCAL:
            kept = {page: entry for page, entry in self.entries.items() if entry.global_page}
            self.flush_all()
            self.entries.update(kept)
        elif action:
            self.flush_spaces()

    def flush_spaces(self) -> None:
        """Drop everything of every ASID."""
        for entries in self._spaces.values():
            entries.clear()
        self.flush_all()

    def invalidate_in(self, asid: int, linear: int) -> None:
        """INVLPGA."""
        present, self.entries = self.entries, self._space(asid)
        self.invalidate(linear)
        self.entries = present

    def translate(self, linear: int, write: bool, user: bool) -> int:
        state = self.state
        if not state.svm.nested:
            return super().translate(linear, write, user)
        page = linear >> 12
        entry = self.entries.get(page)
        if entry is None or user and not entry.user or write and not (
                entry.dirty and (entry.writable or not user and not state.cr0 & _WP)):
            entry = self._walk(linear, write, user)
        self._offer_entry(page, entry)
        return entry.frame << 12 | linear & 0xFFF

    def _look_up(self, linear: int, write: bool, user: bool) -> Translated | GuestFault:
        state, svm = self.state, self.state.svm
        if not svm.nested:
            return super()._look_up(linear, write, user)
        guest = (state.cr3, bool(state.cr0 & _WP), bool(state.cr4 & _PSE)) if state.cr0 & _PG else None
        outcome = nested_walk(self.memory, svm.n_cr3, svm.host_pse, guest, linear, write=write, user=user)
        if isinstance(outcome, NestedFault):
            raise VmExit(_NPF, outcome.info, outcome.address)
        return outcome
