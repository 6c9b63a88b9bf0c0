"""The VMCB and the frame of a guest, field by field, and the guest's state in them."""

from __future__ import annotations

from rtl.isa.msrs import EFER_SVME, Msr
from rtl.isa.registers import Dr6, Dr7, Eflags
from rtl.isa.svm import INTERRUPT_SHADOW, SegmentField, Vmcb
from vmm.monitor.area import Area
from vmm.monitor.host import Host
from vmm.monitor.stub import FRAME, FRAME_WISH, Wish
from vmm.state import SHADOW_NONE, SHADOW_STI, CpuView

_SEGMENTS = (Vmcb.ES, Vmcb.CS, Vmcb.SS, Vmcb.DS, Vmcb.FS, Vmcb.GS, Vmcb.LDTR, Vmcb.TR)
#: General registers by number: what the frame does not have is in the VMCB.
_GPRS = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
_REGISTERS = {Vmcb.CR0: "cr0", Vmcb.CR2: "cr2", Vmcb.CR3: "cr3", Vmcb.CR4: "cr4", Vmcb.RIP: "eip"}
_MSRS = {Vmcb.SYSENTER_CS: Msr.SYSENTER_CS, Vmcb.SYSENTER_ESP: Msr.SYSENTER_ESP, Vmcb.SYSENTER_EIP: Msr.SYSENTER_EIP}
_M32 = 0xFFFF_FFFF
_CPL_SHIFT = 8 * (Vmcb.CPL & 3)


class Control:
    """Reads and writes of the control block; fields of 64 bits are two words.

    DR0 to DR3 stay in the processor: the stub uses none, and DR7 is the guest's in the guest alone.

    Parameters
    ----------
    host, area : where it lies.
    """

    def __init__(self, host: Host, area: Area) -> None:
        self._host = host
        self._vmcb, self._frame = area.vmcb, area.frame
        saved = {"esp": area.vmcb + Vmcb.RSP, "eax": area.vmcb + Vmcb.RAX}
        saved |= {name: area.frame + 4 * place for place, name in enumerate(FRAME)}
        self._registers = tuple(saved[name] for name in _GPRS)
        self._kept: dict[int, int] = {}

    def get(self, field: int) -> int:
        """The word at an offset of the VMCB."""
        return self._host.word(self._vmcb + field)

    def put(self, field: int, value: int) -> None:
        self._host.set_word(self._vmcb + field, value & _M32)

    def keep(self, field: int, value: int) -> None:
        """Write a word that only the monitor writes, if it changes."""
        if self._kept.get(field) != value:
            self._kept[field] = value
            self.put(field, value)

    def wide(self, field: int) -> int:
        return self.get(field) | self.get(field + 4) << 32

    def put_wide(self, field: int, value: int) -> None:
        self.put(field, value)
        self.put(field + 4, value >> 32)

    @property
    def gpr(self) -> list[int]:
        return [self.register(number) for number in range(8)]

    def register(self, number: int) -> int:
        """A general register, by its number in instructions."""
        return self._host.word(self._registers[number])

    def set_register(self, number: int, value: int) -> None:
        self._host.set_word(self._registers[number], value & _M32)

    @property
    def cpl(self) -> int:
        return self.get(Vmcb.CPL & ~3) >> _CPL_SHIFT & 3

    @property
    def meets_debug_fault(self) -> bool:
        """Whether a #DB, of which DR6 tells already, is a fault of the next instruction and not a trap before it."""
        control, linear = self.get(Vmcb.DR7), self.get(Vmcb.CS + SegmentField.BASE) + self.get(Vmcb.RIP) & _M32
        if control & Dr7.GD and self.get(Vmcb.DR6) & Dr6.BD:
            return True
        return not self.get(Vmcb.RFLAGS) & Eflags.RF and any(
            control >> 2 * number & 3 and not control >> 16 + 4 * number & 3
            and self._host.breakpoint(number) == linear for number in range(4))

    def wish(self, what: Wish) -> None:
        self._host.set_word(self._frame + FRAME_WISH, what)

    # -- all of it

    def store(self, state: CpuView) -> None:
        """Let the guest stand in a state; VMLOAD has to follow."""
        for field, name in _REGISTERS.items():
            self.put(field, getattr(state, name))
        for field, segment in zip(_SEGMENTS, state.segments, strict=True):
            self.put(field, segment.selector | segment.attributes << 8 * SegmentField.ATTRIB)
            self.put(field + SegmentField.LIMIT, segment.limit)
            self.put(field + SegmentField.BASE, segment.base)
        for field, base, limit in ((Vmcb.GDTR, state.gdtr_base, state.gdtr_limit),
                                   (Vmcb.IDTR, state.idtr_base, state.idtr_limit)):
            self.put(field + SegmentField.BASE, base)
            self.put(field + SegmentField.LIMIT, limit)
        for field, msr in _MSRS.items():
            self.put(field, state.msrs.get(msr, 0))
        self.put(Vmcb.CPL & ~3, state.cpl << _CPL_SHIFT)
        self.put(Vmcb.RFLAGS, state.eflags)
        self.put(Vmcb.DR6, state.dr[6])
        self.put(Vmcb.DR7, state.dr[7])
        for number in range(4):
            self._host.set_breakpoint(number, state.dr[number])
        self.put(Vmcb.EFER, EFER_SVME)
        self.put(Vmcb.INTERRUPT_SHADOW, INTERRUPT_SHADOW if state.shadow else 0)
        for number, value in enumerate(state.gpr):
            self.set_register(number, value)

    def load(self, state: CpuView) -> None:
        """The state the guest stands in, as far as VMCB and frame have it; VMSAVE has to come first."""
        for field, name in _REGISTERS.items():
            setattr(state, name, self.get(field))
        for field, segment in zip(_SEGMENTS, state.segments, strict=True):
            word = self.get(field)
            segment.selector, segment.attributes = word & 0xFFFF, word >> 8 * SegmentField.ATTRIB
            segment.limit, segment.base = self.get(field + SegmentField.LIMIT), self.get(field + SegmentField.BASE)
        state.gdtr_base, state.gdtr_limit = (
            self.get(Vmcb.GDTR + SegmentField.BASE), self.get(Vmcb.GDTR + SegmentField.LIMIT))
        state.idtr_base, state.idtr_limit = (
            self.get(Vmcb.IDTR + SegmentField.BASE), self.get(Vmcb.IDTR + SegmentField.LIMIT))
        state.msrs.clear()
        state.msrs.update((msr, value) for field, msr in _MSRS.items() if (value := self.get(field)))
        state.cpl = self.cpl
        state.eflags = self.get(Vmcb.RFLAGS)
        state.dr[6], state.dr[7] = self.get(Vmcb.DR6), self.get(Vmcb.DR7)
        state.dr[:4] = [self._host.breakpoint(number) for number in range(4)]
        state.shadow = SHADOW_STI if self.get(Vmcb.INTERRUPT_SHADOW) & INTERRUPT_SHADOW else SHADOW_NONE
        state.gpr[:] = self.gpr
