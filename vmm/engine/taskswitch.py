"""Hardware task switches through 32-bit and 16-bit TSS (SDM vol. 3A, 7.3).

Order:

1. Limit of the new TSS (#TS). Translation of everything that will be touched: the saved part of the old TSS for
   writing, then the new TSS for reading, its link field for writing where it will be written.
2. Memory changes: busy bit of the old task cleared (JMP, IRET), registers saved in the old TSS in order of offset, link
   written (CALL, interrupts), busy bit of the new task set (not IRET).
3. The new TSS is read, after the old one was saved: a task that returns to itself finds what it saved. TR, CR3 (32-bit
   TSS with paging on), EFLAGS, EIP, general registers, selectors with unusable caches, CR0.TS set, local breakpoints
   disabled. From here on faults belong to the new task.
4. LDTR, CS, SS, DS, ES, FS, GS are checked and loaded in this order, #TS unless the table of SDM 7.3 says otherwise.
5. The T bit of the new TSS leaves a debug trap pending.

Ours where the manual is silent: a 16-bit TSS clears the upper halves of the general registers and of EFLAGS.
"""

from __future__ import annotations

from rtl.isa.exceptions import Vector, selector_error
from rtl.isa.registers import DR7_LOCAL, Cr0, Dr6, Eflags, Seg
from rtl.isa.tss import TSS16_MIN_LIMIT, TSS16_SAVED, TSS32_MIN_LIMIT, TSS32_SAVED, Tss16, Tss32
from vmm.engine.far import Reason
from vmm.engine.iret import Returns
from vmm.engine.segmentation import CS, LDTR, SS, TR, Loaded, is_null
from vmm.faults import Fault
from vmm.state import IMPLEMENTED, SegmentCache, SegmentView

_NT = int(Eflags.NT)
_LOCAL = int(DR7_LOCAL)
_NESTING = (Reason.CALL, Reason.SOFTWARE_INTERRUPT, Reason.EVENT)
_LEAVING = (Reason.JUMP, Reason.RETURN)
_SEGMENTS32 = (Tss32.ES, Tss32.CS, Tss32.SS, Tss32.DS, Tss32.FS, Tss32.GS)
_SEGMENTS16 = (Tss16.ES, Tss16.CS, Tss16.SS, Tss16.DS)


class Tasks(Returns):
    """Task switching.

    Members
    -------
    committed : set when a task switch comes to where the new task begins: faults from there on find its state.
    """

    committed = False

    def task_switch(self, loaded: Loaded, reason: Reason, return_eip: int, saved_rf: int = 0) -> int:
        """Switch to the task of an already checked TSS descriptor; the new EIP.

        `saved_rf` is ORed into the EFLAGS saved for the old task. An instruction has cleared RF when it begins (SDM
        vol. 3B, 18.3.1.1).
        """
        state = self.state
        wide = bool(loaded.type & 8)
        self.check_tss(loaded)
        old = state.segments[TR].copy()
        self._probe(old, loaded, wide, reason)
        if reason in _LEAVING:
            self._clear_busy(old)
        flags = state.eflags | saved_rf
        if reason is Reason.RETURN:
            flags &= ~_NT
        self._save(old, return_eip, flags)
        if reason in _NESTING:
            self.write_system(loaded.base, 2, old.selector)
        if reason is not Reason.RETURN:
            self.set_busy(loaded, True)
            loaded.high |= 2 << 8
        trap = self.read_system(loaded.base + Tss32.T, 2) & 1 if wide else 0
        image = self._read(loaded.base, wide)
        if reason in _NESTING:
            image["flags"] |= _NT

        state.segments[TR].copy_from(loaded.cache())
        state.cr0 |= int(Cr0.TS)
        state.dr[7] &= ~_LOCAL
        self.debug_changed()
        if wide and state.cr0 & Cr0.PG:
            state.cr3 = image["cr3"]
            self.mmu.flush_non_global()
        self.committed = True
        state.eip = image["eip"]
        state.eflags = image["flags"] & IMPLEMENTED
        state.gpr[:] = image["gpr"]
        selectors: list[int] = image["segments"]
        for number, selector in enumerate(selectors):
            state.segments[number].copy_from(SegmentCache(selector))
        state.segments[LDTR].copy_from(SegmentCache(image["ldt"]))
        self._load_segments(selectors, image["ldt"])
        if trap:
            state.pending_debug |= int(Dr6.BT)
        return state.eip

    def check_tss(self, loaded: Loaded) -> None:
        """Whether the new TSS is large enough."""
        if loaded.limit < (TSS32_MIN_LIMIT if loaded.type & 8 else TSS16_MIN_LIMIT):
            raise Fault(Vector.TS, selector_error(loaded.selector))

    def debug_changed(self) -> None:
        """DR7 changed; the debug unit overrides this."""

    def _probe(self, old: SegmentView, loaded: Loaded, wide: bool, reason: Reason) -> None:
        saved = TSS32_SAVED if old.type & 8 else TSS16_SAVED
        last = 4 if old.type & 8 else 2
        self.probe_system(old.base + saved[0], saved[-1] + last - saved[0], True)
        # read, not probed: data breakpoints see the two ends
        self.read_system(loaded.base, 1)
        self.read_system(loaded.base + (TSS32_MIN_LIMIT if wide else TSS16_MIN_LIMIT), 1)
        if reason in _NESTING:
            self.probe_system(loaded.base, 2, True)

    def _read(self, base: int, wide: bool) -> dict:  # type: ignore[type-arg]
        if wide:
            return {
                "cr3": self.read_system(base + Tss32.CR3, 4),
                "eip": self.read_system(base + Tss32.EIP, 4),
                "flags": self.read_system(base + Tss32.EFLAGS, 4),
                "gpr": [self.read_system(base + Tss32.EAX + 4 * k, 4) for k in range(8)],
                "segments": [self.read_system(base + field, 2) for field in _SEGMENTS32],
                "ldt": self.read_system(base + Tss32.LDT, 2),
            }
        return {
            "eip": self.read_system(base + Tss16.IP, 2),
            "flags": self.read_system(base + Tss16.FLAGS, 2),
            "gpr": [self.read_system(base + Tss16.AX + 2 * k, 2) for k in range(8)],
            "segments": [self.read_system(base + field, 2) for field in _SEGMENTS16] + [0, 0],
            "ldt": self.read_system(base + Tss16.LDT, 2),
        }

    def _save(self, old: SegmentView, eip: int, flags: int) -> None:
        state = self.state
        selectors = [segment.selector for segment in state.segments]
        if old.type & 8:
            values = [eip, flags, *state.gpr]
            for k, value in enumerate(values):
                self.write_system(old.base + Tss32.EIP + 4 * k, 4, value)
            for field, selector in zip(_SEGMENTS32, selectors, strict=False):
                self.write_system(old.base + field, 2, selector)
        else:
            values = [eip, flags, *state.gpr]
            for k, value in enumerate(values):
                self.write_system(old.base + Tss16.IP + 2 * k, 2, value & 0xFFFF)
            for place, selector in zip(_SEGMENTS16, selectors, strict=False):
                self.write_system(old.base + place, 2, selector)

    def _clear_busy(self, old: SegmentView) -> None:
        loaded = self.fetch_descriptor(old.selector, Vector.TS)
        self.set_busy(loaded, False)

    def _load_segments(self, selectors: list[int], ldt: int) -> None:
        state = self.state
        if not is_null(ldt):
            state.segments[LDTR].copy_from(self.check_ldt(ldt, Vector.TS, Vector.TS).cache())
        selector = selectors[CS]
        state.cpl = selector & 3
        self.segments_changed()
        if is_null(selector):
            raise Fault(Vector.TS, 0)
        code = self.fetch_descriptor(selector, Vector.TS)
        if not code.is_code or (code.dpl > state.cpl if code.is_conforming else code.dpl != state.cpl):
            raise Fault(Vector.TS, selector_error(selector))
        self.check_present(code)
        self.set_segment(CS, code)
        self.set_segment(SS, self.check_stack_segment(selectors[SS], state.cpl, Vector.TS))
        for number in (Seg.DS, Seg.ES, Seg.FS, Seg.GS):
            if not is_null(selectors[number]):
                self.set_segment(number, self.check_data_segment(selectors[number], Vector.TS))
        self.segments_changed()
