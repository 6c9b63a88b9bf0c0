"""CPUID leaves: honest to what the processor has.

A leaf that is not listed reads as zeros, as on AMD processors (AMD64 APM vol. 3, CPUID). The vendor is our own, so that
no kernel applies another maker's workarounds. SDM vol. 2A, CPUID.
"""

# Field widths are written as annotations, which are not types.
# mypy: disable-error-code="valid-type"

import enum
from dataclasses import dataclass

from .layout import Struct
from .platform import CPU_HZ
from .svm import ASIDS, CPUID_SVM, REVISION

VENDOR = "GigogneCPU86"
HYPERVISOR_VENDOR = "GigogneVMM  "
HYPERVISOR_LEAF = 0x4000_0000
BRAND = f"Gigogne i586 {CPU_HZ // 1_000_000}.{CPU_HZ // 10_000 % 100:02} MHz"


class Signature(Struct):
    """EAX of leaf 1."""
    stepping: 4
    model: 4
    family: 4
    type: 2
    reserved_14: 18


SIGNATURE = Signature.build(family=5, model=1, stepping=0)


class Feature(enum.IntEnum):
    """Bit numbers in EDX of leaf 1."""
    FPU = 0
    VME = 1
    DE = 2
    PSE = 3
    TSC = 4
    MSR = 5
    PAE = 6
    MCE = 7
    CX8 = 8
    APIC = 9
    SEP = 11
    MTRR = 12
    PGE = 13
    MCA = 14
    CMOV = 15
    PAT = 16
    PSE36 = 17
    MMX = 23
    FXSR = 24
    SSE = 25
    SSE2 = 26


#: What the processor has.
FEATURES = frozenset({
    Feature.DE, Feature.PSE, Feature.TSC, Feature.MSR, Feature.CX8, Feature.APIC, Feature.SEP, Feature.PGE,
    Feature.CMOV})
FEATURE_BITS = sum(1 << feature for feature in FEATURES)

#: ECX of leaf 1: set by a virtual machine monitor, never by the processor.
ECX_HYPERVISOR = 1 << 31
#: ECX of leaf 8000_0001h.
ECX_SVM = 1 << 2


@dataclass(frozen=True, slots=True)
class Leaf:
    """What CPUID returns for one value of EAX."""
    eax: int = 0
    ebx: int = 0
    ecx: int = 0
    edx: int = 0


def words(text: str, count: int) -> list[int]:
    """ASCII text as little-endian doublewords, padded with zeros."""
    raw = text.encode("ascii").ljust(4 * count, b"\0")
    return [int.from_bytes(raw[4 * i:4 * i + 4], "little") for i in range(count)]


_VENDOR = words(VENDOR, 3)
_BRAND = words(BRAND, 12)

_BASE: dict[int, Leaf] = {
    0x0000_0000: Leaf(1, _VENDOR[0], _VENDOR[2], _VENDOR[1]),
    0x0000_0001: Leaf(SIGNATURE, 0, 0, FEATURE_BITS),
    0x8000_0000: Leaf(0x8000_0004, _VENDOR[0], _VENDOR[2], _VENDOR[1]),
    0x8000_0001: Leaf(SIGNATURE, 0, 0, 0),
    0x8000_0002: Leaf(*_BRAND[0:4]),
    0x8000_0003: Leaf(*_BRAND[4:8]),
    0x8000_0004: Leaf(*_BRAND[8:12]),
}

SVM_LEAF = 0x8000_000A
#: The leaves that differ when SVM is announced, as this processor does. Leaves 80000005h to 80000009h read as zeros.
SVM_LEAVES: dict[int, Leaf] = {
    0x8000_0000: Leaf(SVM_LEAF, _VENDOR[0], _VENDOR[2], _VENDOR[1]),
    0x8000_0001: Leaf(SIGNATURE, 0, ECX_SVM, 0),
    **{number: Leaf() for number in range(0x8000_0005, SVM_LEAF)},
    SVM_LEAF: Leaf(REVISION, ASIDS, 0, int(CPUID_SVM)),
}
#: What this processor has.
LEAVES: dict[int, Leaf] = _BASE | SVM_LEAVES


def cpuid(leaf: int, svm: bool = True) -> Leaf:
    """What CPUID returns with EAX = `leaf` on a processor with or without SVM."""
    return (LEAVES if svm else _BASE).get(leaf, Leaf())
