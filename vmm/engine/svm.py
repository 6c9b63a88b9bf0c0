"""SVM: VMRUN, #VMEXIT and the instructions around them (AMD64 APM vol. 2, chapter 15).

Order of a VMRUN: alignment of the VMCB (#GP); a host save area that is not RAM (#GP); the host's state is saved there;
everything of the VMCB is read and checked before any register changes; controls, registers, TLB_CONTROL; GIF is set.
The event of EVENTINJ is delivered as a step of its own, before the guest's first instruction.

A VMCB that is refused: EXITCODE is INVALID, EXITINFO1, EXITINFO2 and EXITINTINFO are zero, the rest is left alone.

What #VMEXIT saves is the state between instructions: before the one that is intercepted or faults, RF and the interrupt
shadow included. An event whose delivery is cut short has ended the shadow. It does not restore the host's DR6 and CR2.
Of the host's state it sets CR0.PE and drops reserved bits, whatever has become of the host save area.
Clean bits are not looked at: all is read at every VMRUN.
"""

from __future__ import annotations

from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import INTERCEPT_WORDS, ExitCode
from rtl.isa.msrs import EFER_SVME, Msr
from rtl.isa.registers import (
    CR0_WRITABLE,
    CR4_WRITABLE,
    DR6_FIXED,
    DR6_WRITABLE,
    DR7_FIXED,
    DR7_WRITABLE,
    Cr0,
    Cr4,
    Dr6,
    Eflags,
)
from rtl.isa.retire import RetireCause
from rtl.isa.svm import (
    ASIDS,
    EVENT_V,
    FETCHED_MAX,
    INTERRUPT_SHADOW,
    NP_ENABLE,
    NPF_FETCH,
    NPF_FINAL,
    VINTR_WRITABLE,
    TlbControl,
    Vmcb,
)
from vmm.engine.access import IoPorts
from vmm.engine.retired import Retired
from vmm.engine.svmcheck import violations
from vmm.engine.svmregs import SvmRegisters
from vmm.engine.vmcb import Area
from vmm.faults import Fault, VmExit
from vmm.memory import PhysicalMemory
from vmm.paging.guest import GuestMmu
from vmm.paging.mmu import DEFAULT_CAPACITY, SoftMmu
from vmm.semantics.ops import Mode
from vmm.state import CS, DS, EAX, ES, ESP, FS, GS, LDTR, SHADOW_NONE, SHADOW_STI, SS, TR, CpuView

_EFER, _VM_CR, _HSAVE = int(Msr.EFER), int(Msr.VM_CR), int(Msr.VM_HSAVE_PA)
_SYSENTER = (
    (Vmcb.SYSENTER_CS, int(Msr.SYSENTER_CS)), (Vmcb.SYSENTER_ESP, int(Msr.SYSENTER_ESP)),
    (Vmcb.SYSENTER_EIP, int(Msr.SYSENTER_EIP)))
_SWITCHED = ((Vmcb.ES, ES), (Vmcb.CS, CS), (Vmcb.SS, SS), (Vmcb.DS, DS))
_LOADED = ((Vmcb.FS, FS), (Vmcb.GS, GS), (Vmcb.TR, TR), (Vmcb.LDTR, LDTR))
_PAGE, _M32, _M64 = 0xFFF, 0xFFFF_FFFF, (1 << 64) - 1
_IF, _PG, _PSE = int(Eflags.IF), int(Cr0.PG), int(Cr4.PSE)
_TF, _BS = int(Eflags.TF), int(Dr6.BS)
_NPF, _PF, _INVALID = int(ExitCode.NPF), int(ExitCode.EXCEPTION_PF), int(ExitCode.INVALID)
_SOME_OF_ONE_ASID = (TlbControl.NOTHING, TlbControl.ASID, TlbControl.ASID_LOCAL)


class WorldSwitch(SvmRegisters):
    """A processor with two worlds.

    Members
    -------
    length : bytes of the instruction that faults or is intercepted; 0 if it could not be fetched.
    host_mmu, guest_mmu : who translates in each mode; `mmu` is the present one.
    """

    length = 0
    steps: int

    def __init__(self, memory: PhysicalMemory, io: IoPorts | None = None, tlb_capacity: int = DEFAULT_CAPACITY,
                 state: CpuView | None = None, mmu: SoftMmu | None = None):
        super().__init__(memory, io, tlb_capacity, state, mmu)
        self.host_mmu = self.mmu
        self.guest_mmu = self.make_guest_mmu(tlb_capacity)
        self.guest_mmu.on_flush = lambda page: self.host_mmu.on_flush(page)
        self._last_asid = 0
        self._host_paging: tuple[int, int] | None = None

    def make_guest_mmu(self, capacity: int) -> GuestMmu:
        """Who translates in guest mode; lockstep has one that knows more."""
        return GuestMmu(self.state, self.memory, capacity)

    # the interpreter's other parts

    def mode(self) -> Mode:
        mode = super().mode()
        return Mode(mode.code32, mode.stack32, mode.flat, True) if self.state.svm.guest else mode

    def choose_paths(self) -> None:
        super().choose_paths()
        self.guest_mmu.set_fast(not self._watching, not self._watching and not self._record)
        self.host_mmu.set_fast(not self._watching, not self._watching and not self._record)

    def flush_translations(self) -> None:
        """Drop what is known of every address space."""
        self.host_mmu.flush_all()
        self.guest_mmu.flush_spaces()

    def _switch_mmu(self) -> None:
        """Translate for the present mode, with nothing from before on the fast paths."""
        if self.state.svm.guest:
            self.mmu = self.guest_mmu
            self.guest_mmu.enter()
            if self._last_asid != self.state.svm.asid:
                self._last_asid = self.state.svm.asid
                self.host_mmu.on_flush(None)
        else:
            self.mmu = self.host_mmu
            self.host_mmu.forget_writes()

    def world_changed(self) -> None:
        """Everything that follows from the mode, after it or all of the state has changed."""
        self._switch_mmu()
        self.svm_changed()
        self.debug_changed()
        self.segments_changed()

    def length_at(self, eip: int) -> int:
        return self.length

    def _area(self, address: int, wide: bool = True) -> Area:
        return Area(self.memory, address, self._wrote, wide)

    def _wrote(self, address: int, size: int, value: int) -> None:
        if self._record:
            self.writes.append((address, size, value))

    # VMRUN

    def _checked(self, address: int) -> Area:
        if address & _PAGE:
            raise Fault(Vector.GP, 0)
        return self._area(address)

    def vmrun(self, address: int, next_eip: int) -> int:
        """The guest's EIP; VMEXIT_INVALID is raised."""
        state = self.state
        vmcb = self._checked(address)
        save = state.msrs.get(_HSAVE, 0)
        if not self.memory.is_plain(save >> 12):
            raise Fault(Vector.GP, 0)
        self._save_host(self._area(save, wide=False), next_eip)
        state.svm.vmcb = address
        if next(violations(vmcb, bool(state.cr0 & _PG)), None) is not None:
            raise VmExit(_INVALID)
        self._host_paging = state.cr0, state.cr4
        self._load_controls(vmcb)
        self._load_guest(vmcb)
        # the single-step trap of the host comes behind #VMEXIT
        self.diverted = True
        self.world_changed()
        action = vmcb.word(Vmcb.TLB_CONTROL) & 0xFF
        self.guest_mmu.control(action)
        if action not in _SOME_OF_ONE_ASID:
            self.host_mmu.flush_all()
        return state.eip

    def _save_host(self, area: Area, next_eip: int) -> None:
        self._save_common(area)
        for field, value in ((Vmcb.RFLAGS, self.state.eflags), (Vmcb.RIP, next_eip)):
            area.put_quad(field, value)

    def _save_common(self, area: Area) -> None:
        """What both worlds have in a save area."""
        state = self.state
        for field, number in _SWITCHED:
            area.put_segment(field, state.segments[number])
        area.put_table(Vmcb.GDTR, state.gdtr_base, state.gdtr_limit)
        area.put_table(Vmcb.IDTR, state.idtr_base, state.idtr_limit)
        for field, value in (
                (Vmcb.EFER, state.msrs.get(_EFER, 0)), (Vmcb.CR4, state.cr4), (Vmcb.CR3, state.cr3),
                (Vmcb.CR0, state.cr0), (Vmcb.RSP, state.gpr[ESP]), (Vmcb.RAX, state.gpr[EAX])):
            area.put_quad(field, value)

    def _load_common(self, area: Area) -> None:
        state = self.state
        for field, number in _SWITCHED:
            state.segments[number].copy_from(area.segment(field))
        state.gdtr_base, state.gdtr_limit = area.table(Vmcb.GDTR)
        state.idtr_base, state.idtr_limit = area.table(Vmcb.IDTR)
        state.msrs[_EFER] = area.word(Vmcb.EFER) & EFER_SVME
        state.cr4, state.cr3 = area.word(Vmcb.CR4) & int(CR4_WRITABLE), area.word(Vmcb.CR3)
        state.cr0 = area.word(Vmcb.CR0) & int(CR0_WRITABLE) | int(Cr0.ET)
        state.eflags = area.word(Vmcb.RFLAGS)
        state.eip, state.gpr[ESP], state.gpr[EAX] = area.word(Vmcb.RIP), area.word(Vmcb.RSP), area.word(Vmcb.RAX)
        state.halted = state.repeating = False
        state.pending_debug, state.shadow = 0, SHADOW_NONE

    def _load_controls(self, vmcb: Area) -> None:
        state, svm = self.state, self.state.svm
        svm.guest = svm.gif = True
        svm.intercepts = [vmcb.word(Vmcb.INTERCEPT_CR + 4 * number) for number in range(INTERCEPT_WORDS)]
        svm.pause_count = vmcb.word(Vmcb.PAUSE_THRESHOLD) >> 16
        svm.iopm, svm.msrpm = vmcb.word(Vmcb.IOPM_BASE) & ~_PAGE, vmcb.word(Vmcb.MSRPM_BASE) & ~_PAGE
        svm.tsc_offset, svm.asid = vmcb.quad(Vmcb.TSC_OFFSET), vmcb.word(Vmcb.ASID)
        svm.vintr, svm.vector = vmcb.word(Vmcb.VINTR) & VINTR_WRITABLE, vmcb.word(Vmcb.VINTR + 4) & 0xFF
        svm.host_if, svm.host_pse = bool(state.system_flags & _IF), bool(state.cr4 & _PSE)
        svm.nested, svm.n_cr3 = bool(vmcb.word(Vmcb.NP_ENABLE) & NP_ENABLE), vmcb.word(Vmcb.N_CR3)
        event = vmcb.quad(Vmcb.EVENTINJ)
        svm.event = event if event & EVENT_V else 0
        svm.event_next = vmcb.word(Vmcb.NRIP)

    def _load_guest(self, vmcb: Area) -> None:
        state = self.state
        self._load_common(vmcb)
        state.cpl = vmcb.byte(Vmcb.CPL) & 3
        state.cr2 = vmcb.word(Vmcb.CR2)
        state.dr[6] = vmcb.word(Vmcb.DR6) & int(DR6_WRITABLE) | DR6_FIXED
        state.dr[7] = vmcb.word(Vmcb.DR7) & int(DR7_WRITABLE) | DR7_FIXED
        if vmcb.word(Vmcb.INTERRUPT_SHADOW) & INTERRUPT_SHADOW:
            state.shadow = SHADOW_STI

    # #VMEXIT

    def vmexit(self, reason: VmExit) -> Retired:
        """Leave guest mode, or give up a VMRUN. The state is the guest's as it has to be saved."""
        state, svm = self.state, self.state.svm
        start = state.eip
        vmcb = self._area(svm.vmcb)
        vmcb.put_quad(Vmcb.EXITCODE, reason.code)
        of_fetch = reason.code == _NPF and reason.info1 & NPF_FINAL and not (self.length or self.delivering)
        vmcb.put_quad(Vmcb.EXITINFO1, reason.info1 | (NPF_FETCH if of_fetch else 0))
        vmcb.put_quad(Vmcb.EXITINFO2, reason.info2)
        vmcb.put_quad(Vmcb.EXITINTINFO, self.delivering)
        if reason.code != _INVALID:
            self._save_controls(vmcb, reason)
            self._save_guest(vmcb)
        self.delivering = self.length = 0
        self._load_host()
        if state.system_flags & _TF:
            # 15.5.1: to a host that single-steps, VMRUN ends here
            state.pending_debug |= _BS
        self.steps += 1
        return Retired(RetireCause.VMEXIT, start, error=reason.code & _M32, writes=self.writes)

    def _save_controls(self, vmcb: Area, reason: VmExit) -> None:
        vmcb.put_word(Vmcb.VINTR, self.state.svm.vintr)
        vmcb.put_quad(Vmcb.INTERRUPT_SHADOW, INTERRUPT_SHADOW if self.state.shadow and not self.delivering else 0)
        vmcb.put_byte(Vmcb.EVENTINJ + 3, 0)
        vmcb.put_quad(Vmcb.NRIP, reason.next_eip)
        fetched = self._instruction() if reason.code in (_NPF, _PF) and not self.delivering else 0
        for offset in range(0, FETCHED_MAX + 1, 4):
            vmcb.put_word(Vmcb.FETCHED_COUNT + offset, fetched >> 8 * offset & _M32)

    def _instruction(self) -> int:
        """The code that faults: count of its bytes, then the bytes, as far as its page and segment go, or it itself."""
        state = self.state
        linear = state.segments[CS].base + state.eip & _M32
        left = min(0x1000 - (linear & 0xFFF), state.segments[CS].limit - state.eip + 1)
        count = max(self.length, min(FETCHED_MAX, left)) if self.length else 0
        return count and count | self._gather(self.pieces(linear, count, False, state.cpl == 3)) << 8

    def _save_guest(self, vmcb: Area) -> None:
        state = self.state
        self._save_common(vmcb)
        vmcb.put_byte(Vmcb.CPL, state.cpl)
        for field, value in (
                (Vmcb.DR7, state.dr[7]), (Vmcb.DR6, state.dr[6]), (Vmcb.RFLAGS, state.eflags), (Vmcb.RIP, state.eip),
                (Vmcb.CR2, state.cr2)):
            vmcb.put_quad(field, value)

    def _load_host(self) -> None:
        state, svm = self.state, self.state.svm
        self._load_common(self._area(state.msrs.get(_HSAVE, 0)))
        state.cpl, state.dr[7] = 0, DR7_FIXED
        state.cr0 |= int(Cr0.PE)
        svm.guest = svm.gif = False
        svm.event = 0
        self.world_changed()
        if self._host_paging != (state.cr0, state.cr4):
            self.host_mmu.flush_all()

    # VMLOAD, VMSAVE, INVLPGA

    def vmload(self, address: int) -> None:
        state, area = self.state, self._checked(address)
        for field, number in _LOADED:
            state.segments[number].copy_from(area.segment(field))
        for field, msr in _SYSENTER:
            state.msrs[msr] = area.word(field)
        self.segments_changed()

    def vmsave(self, address: int) -> None:
        state, area = self.state, self._checked(address)
        for field, number in _LOADED:
            area.put_segment(field, state.segments[number])
        for field, msr in _SYSENTER:
            area.put_quad(field, state.msrs.get(msr, 0))

    def invalidate_page_of(self, asid: int, linear: int) -> None:
        if asid == 0:
            self.host_mmu.invalidate(linear)
        elif asid < ASIDS:
            self.guest_mmu.invalidate_in(asid, linear)
