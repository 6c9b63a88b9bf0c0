"""The registers of a virtual CPU as values that are read and set as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtl.isa.registers import Cr0, Seg
from vmm.state import FLAT_CODE, FLAT_DATA, CpuView, SegmentCache

_NAMES = "eax ecx edx ebx esp ebp esi edi".split()
_SEGMENTS = tuple(seg.name.lower() for seg in Seg)
SS = int(Seg.SS)
_SEGMENT_BITS = {"selector": 16, "base": 32, "limit": 32, "attributes": 12}
_TABLE_BITS = {"base": 32, "limit": 16}


def out_of_range(values: Mapping[str, int], bits: int = 32) -> str | None:
    """The first value that its register has no room for, as one sentence."""
    return next((f"{name} has {bits} bits and does not hold {value:#x}" for name, value in values.items()
                 if not 0 <= value < 1 << bits), None)


@dataclass(slots=True)
class Registers:
    """What an application sees."""

    eax: int = 0
    ecx: int = 0
    edx: int = 0
    ebx: int = 0
    esp: int = 0
    ebp: int = 0
    esi: int = 0
    edi: int = 0
    eip: int = 0
    eflags: int = 2

    @classmethod
    def of(cls, state: CpuView) -> Registers:
        return cls(eip=state.eip, eflags=state.eflags, **dict(zip(_NAMES, state.gpr, strict=True)))

    def out_of_range(self) -> str | None:
        """What is too large, as one sentence."""
        return out_of_range({name.upper(): getattr(self, name) for name in (*_NAMES, "eip", "eflags")})

    def put(self, state: CpuView) -> None:
        state.gpr[:] = [getattr(self, name) for name in _NAMES]
        state.eip, state.eflags = self.eip, self.eflags


@dataclass(slots=True)
class TableRegister:
    """GDTR or IDTR."""

    base: int = 0
    limit: int = 0


def _flat_data() -> SegmentCache:
    return FLAT_DATA.copy()


@dataclass(slots=True)
class SystemRegisters:
    """What a kernel sees; flat 32-bit protected mode by default. The privilege level is the DPL of SS."""

    es: SegmentCache = field(default_factory=_flat_data)
    cs: SegmentCache = field(default_factory=lambda: FLAT_CODE.copy())
    ss: SegmentCache = field(default_factory=_flat_data)
    ds: SegmentCache = field(default_factory=_flat_data)
    fs: SegmentCache = field(default_factory=_flat_data)
    gs: SegmentCache = field(default_factory=_flat_data)
    ldtr: SegmentCache = field(default_factory=lambda: SegmentCache(0, 0, 0xFFFF, 0x82))
    tr: SegmentCache = field(default_factory=lambda: SegmentCache(0, 0, 0xFFFF, 0x8B))
    gdtr: TableRegister = field(default_factory=TableRegister)
    idtr: TableRegister = field(default_factory=TableRegister)
    cr0: int = int(Cr0.PE | Cr0.ET)
    cr2: int = 0
    cr3: int = 0
    cr4: int = 0

    @classmethod
    def of(cls, state: CpuView) -> SystemRegisters:
        es, cs, ss, ds, fs, gs, ldtr, tr = (segment.copy() for segment in state.segments)
        return cls(es, cs, ss, ds, fs, gs, ldtr, tr,
                   TableRegister(state.gdtr_base, state.gdtr_limit), TableRegister(state.idtr_base, state.idtr_limit),
                   state.cr0, state.cr2, state.cr3, state.cr4)

    def out_of_range(self) -> str | None:
        """What is too large, as one sentence."""
        parts = [(name, _SEGMENT_BITS) for name in _SEGMENTS] + [(name, _TABLE_BITS) for name in ("gdtr", "idtr")]
        found = [out_of_range({f"{name.upper()}.{part}": getattr(getattr(self, name), part)}, bits)
                 for name, sizes in parts for part, bits in sizes.items()]
        found.append(out_of_range({name.upper(): getattr(self, name) for name in ("cr0", "cr2", "cr3", "cr4")}))
        return next((wrong for wrong in found if wrong is not None), None)

    def put(self, state: CpuView) -> None:
        for name, segment in zip(_SEGMENTS, state.segments, strict=True):
            segment.copy_from(getattr(self, name))
        state.cpl = state.segments[SS].dpl
        state.gdtr_base, state.gdtr_limit = self.gdtr.base, self.gdtr.limit
        state.idtr_base, state.idtr_limit = self.idtr.base, self.idtr.limit
        state.cr0, state.cr2, state.cr3, state.cr4 = self.cr0, self.cr2, self.cr3, self.cr4
