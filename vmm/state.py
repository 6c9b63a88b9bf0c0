"""Architectural state of one IA-32 processor, shared by every software engine.

The arithmetic flags are kept as *components*, so that an instruction stores what it has at hand and
nobody computes a flag nobody reads:

1. `fz` is zero exactly when ZF is set.
2. Bit 31 of `fs` is SF.
3. PF is the even parity of the low byte of `fp`.
4. `fc` is CF, 0 or 1.
5. Bit 31 of `fo` is OF; the other bits mean nothing.
6. Bit 4 of `fa` is AF; the other bits mean nothing.

`eflags` materialises them; assigning it sets all six. Every other bit of EFLAGS lives in `system_flags`.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass, field
from typing import Any

from rtl.isa.registers import DR6_FIXED, DR7_FIXED, EFLAGS_FIXED, EFLAGS_WRITABLE, STATUS_FLAGS, Eflags, Seg
from vmm.svmstate import SvmState

CF, PF, AF, ZF, SF, OF = (
    int(flag) for flag in (Eflags.CF, Eflags.PF, Eflags.AF, Eflags.ZF, Eflags.SF, Eflags.OF))
IMPLEMENTED = int(EFLAGS_WRITABLE & ~Eflags.VM)
ARITHMETIC = int(STATUS_FLAGS)

EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI = range(8)
ES, CS, SS, DS, FS, GS, LDTR, TR = range(8)
SEGMENT_NAMES = tuple(seg.name.lower() for seg in Seg)

SHADOW_NONE, SHADOW_STI, SHADOW_MOV_SS = 0, 1, 2

PARITY = tuple(0 if bin(byte).count("1") & 1 else PF for byte in range(256))


class SegmentView:
    """What a hidden segment register says, wherever its four fields are kept.

    `attributes` holds descriptor bits 40-47 (type, S, DPL, P) in its bits 0-7 and bits 52-55 (AVL, L, D/B, G)
    in its bits 8-11, as the attribute word of an AMD VMCB does. `limit` counts bytes, already scaled by G.
    """

    selector: int
    base: int
    limit: int
    attributes: int

    @property
    def type(self) -> int:
        return self.attributes & 0xF

    @property
    def dpl(self) -> int:
        return self.attributes >> 5 & 3

    @property
    def present(self) -> bool:
        return bool(self.attributes & 0x80)

    @property
    def big(self) -> bool:
        """The D/B bit: 32-bit code, a stack addressed by ESP, or a 4 GiB upper bound when expanding down."""
        return bool(self.attributes & 0x400)

    def copy_from(self, other: SegmentView) -> None:
        self.selector, self.base, self.limit, self.attributes = (
            other.selector, other.base, other.limit, other.attributes)

    def copy(self) -> SegmentCache:
        return SegmentCache(self.selector, self.base, self.limit, self.attributes)


@dataclass(slots=True)
class SegmentCache(SegmentView):
    """A segment register of its own."""

    selector: int = 0
    base: int = 0
    limit: int = 0
    attributes: int = 0


FLAT_CODE = SegmentCache(0x08, 0, 0xFFFF_FFFF, 0xC9B)
FLAT_DATA = SegmentCache(0x10, 0, 0xFFFF_FFFF, 0xC93)

_SCALARS = (
    "eip", "cpl", "gdtr_base", "gdtr_limit", "idtr_base", "idtr_limit", "cr0", "cr2", "cr3", "cr4",
    "instructions", "tsc_offset", "shadow", "pending_debug",
)
_BOOLEANS = ("repeating", "halted", "shutdown")
#: Those that are in an image only when they are set.
_RARE = ("nmi_pending", "nmi_blocked", "init_pending")


class CpuView:
    """Everything the architecture lets software see or be affected by, wherever it is kept.

    `svm` is in images only when it is not as after a reset.
    `pending_debug` holds the DR6 bits of a debug trap that waits for the next instruction boundary.
    `nmi_pending` and `init_pending` say that an NMI or INIT waits to be taken, `nmi_blocked` that an NMI was and that
    IRET has not followed. They are in images only when they are set.
    `repeating` is set between the iterations of a REP instruction.
    `instructions` counts completed instructions; a REP instruction counts once, when its last iteration is done.
    """

    gpr: MutableSequence[int]
    eip: int
    fz: int
    fs: int
    fp: int
    fc: int
    fo: int
    fa: int
    system_flags: int
    segments: Sequence[SegmentView]
    cpl: int
    gdtr_base: int
    gdtr_limit: int
    idtr_base: int
    idtr_limit: int
    cr0: int
    cr2: int
    cr3: int
    cr4: int
    dr: MutableSequence[int]
    msrs: dict[int, int]
    instructions: int
    tsc_offset: int
    shadow: int
    pending_debug: int
    repeating: bool
    halted: bool
    shutdown: bool
    nmi_pending: bool
    nmi_blocked: bool
    init_pending: bool
    svm: SvmState

    @property
    def eflags(self) -> int:
        return (
            self.system_flags | EFLAGS_FIXED | self.fc | PARITY[self.fp & 0xFF] | self.fa & AF
            | (0 if self.fz else ZF) | self.fs >> 24 & SF | self.fo >> 20 & OF
        )

    @eflags.setter
    def eflags(self, value: int) -> None:
        self.set_arithmetic_flags(value)
        self.system_flags = value & IMPLEMENTED & ~ARITHMETIC

    def set_arithmetic_flags(self, value: int) -> None:
        """Set the six arithmetic flags from an EFLAGS image and leave the others alone."""
        self.fz = ~value & ZF
        self.fs = (value & SF) << 24
        self.fp = 0 if value & PF else 1
        self.fc = value & CF
        self.fo = (value & OF) << 20
        self.fa = value & AF

    @property
    def iopl(self) -> int:
        return self.system_flags >> 12 & 3

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able image; `from_dict` restores it. Flags appear only as `eflags`."""
        image: dict[str, Any] = {name: getattr(self, name) for name in _SCALARS + _BOOLEANS}
        image |= {name: True for name in _RARE if getattr(self, name)}
        image["gpr"] = list(self.gpr)
        image["eflags"] = self.eflags
        image["segments"] = {
            name: {"selector": s.selector, "base": s.base, "limit": s.limit, "attributes": s.attributes}
            for name, s in zip(SEGMENT_NAMES, self.segments, strict=True)
        }
        image["dr"] = list(self.dr)
        image["msrs"] = {f"{index:#x}": value for index, value in sorted(self.msrs.items())}
        if self.svm != SvmState():
            image["svm"] = self.svm.to_dict()
        return image

    def load_dict(self, image: dict[str, Any]) -> None:
        """Take over an image in place, so that executors bound to this object keep working.

        Raises
        ------
        KeyError
            A field is missing; the state is then unchanged.
        """
        scalars = {name: int(image[name]) for name in _SCALARS}
        booleans = {name: bool(image[name]) for name in _BOOLEANS} | {
            name: bool(image.get(name, False)) for name in _RARE}
        segments = [SegmentCache(**image["segments"][name]) for name in SEGMENT_NAMES]
        gpr, dr, eflags = list(image["gpr"]), list(image["dr"]), int(image["eflags"])
        msrs = {int(index, 16): int(value) for index, value in image["msrs"].items()}
        svm = SvmState(**image.get("svm", {}))
        for name, value in (scalars | booleans).items():
            setattr(self, name, value)
        self.gpr[:] = gpr
        self.dr[:] = dr
        self.eflags = eflags
        self.msrs.clear()
        self.msrs.update(msrs)
        self.svm.copy_from(svm)
        for cache, loaded in zip(self.segments, segments, strict=True):
            cache.copy_from(loaded)


@dataclass(slots=True)
class CpuState(CpuView):
    """The state of one processor as a Python object, in flat 32-bit protected mode by default."""

    gpr: list[int] = field(default_factory=lambda: [0] * 8)
    eip: int = 0
    fz: int = 1
    fs: int = 0
    fp: int = 1
    fc: int = 0
    fo: int = 0
    fa: int = 0
    system_flags: int = 0
    segments: list[SegmentCache] = field(default_factory=lambda: _flat_segments())
    cpl: int = 0
    gdtr_base: int = 0
    gdtr_limit: int = 0
    idtr_base: int = 0
    idtr_limit: int = 0
    cr0: int = 0x11
    cr2: int = 0
    cr3: int = 0
    cr4: int = 0
    dr: list[int] = field(default_factory=lambda: [0, 0, 0, 0, 0, 0, DR6_FIXED, DR7_FIXED])
    msrs: dict[int, int] = field(default_factory=dict)
    instructions: int = 0
    tsc_offset: int = 0
    shadow: int = SHADOW_NONE
    pending_debug: int = 0
    repeating: bool = False
    halted: bool = False
    shutdown: bool = False
    nmi_pending: bool = False
    nmi_blocked: bool = False
    init_pending: bool = False
    svm: SvmState = field(default_factory=SvmState)

    @classmethod
    def from_dict(cls, image: dict[str, Any]) -> CpuState:
        state = cls()
        state.load_dict(image)
        return state


def _flat_segments() -> list[SegmentCache]:
    segments = [FLAT_DATA.copy() for _ in range(6)]
    segments[CS] = FLAT_CODE.copy()
    return segments + [SegmentCache(0, 0, 0xFFFF, 0x82), SegmentCache(0, 0, 0xFFFF, 0x8B)]
