"""The CPUID leaves as the ROM that the microprogram of CPUID reads."""

from rtl.isa.cpuid import LEAVES

__all__ = ["BASIC_LEAVES", "CPUID_ROM", "EXTENDED_LEAVES"]

#: How many leaves follow leaf 0, and leaf 80000000h, in the ROM.
BASIC_LEAVES = LEAVES[0].eax + 1
EXTENDED_LEAVES = LEAVES[0x8000_0000].eax - 0x8000_0000 + 1

_ORDER = [*range(BASIC_LEAVES), *range(0x8000_0000, 0x8000_0000 + EXTENDED_LEAVES)]

#: Four words per leaf: EAX, EBX, ECX, EDX; the basic leaves first, then the extended ones.
CPUID_ROM = [word for number in _ORDER
             for word in (LEAVES[number].eax, LEAVES[number].ebx, LEAVES[number].ecx, LEAVES[number].edx)]
