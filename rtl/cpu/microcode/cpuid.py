"""CPUID: its ROM and the program that looks a leaf up in it."""
from rtl.cpu.microasm import K, Program
from rtl.cpu.uop import Alu, Cond, Next, Reg
from rtl.isa.cpuid import LEAVES, Leaf
from rtl.isa.exitcodes import ExitCode

from .macros import LIBRARY, branch, mov, op

_FIRST_EXTENDED = 0x8000_0000
#: How many leaves follow leaf 0, and leaf 80000000h, in the ROM.
BASIC_LEAVES = LEAVES[0].eax + 1
EXTENDED_LEAVES = LEAVES[_FIRST_EXTENDED].eax - _FIRST_EXTENDED + 1
_ORDER = [*range(BASIC_LEAVES), *range(_FIRST_EXTENDED, _FIRST_EXTENDED + EXTENDED_LEAVES)]

#: Four rows per leaf: EAX, EBX, ECX, EDX; basic leaves, extended leaves, and what all other leaves read as.
CPUID_ROM: list[int] = [
    int(word) for leaf in [*(LEAVES[number] for number in _ORDER), Leaf()]
    for word in (leaf.eax, leaf.ebx, leaf.ecx, leaf.edx)]


@LIBRARY.program("cpuid")
def cpuid(p: Program) -> None:
    leaf = Reg.T0
    mov(p, leaf, Reg.EAX, intercept=ExitCode.CPUID)
    branch(p, Cond.C, "read", Alu.SUB, leaf, K(BASIC_LEAVES))
    op(p, Alu.SUB, leaf, leaf, K(_FIRST_EXTENDED))
    branch(p, Cond.NC, "none", Alu.SUB, leaf, K(EXTENDED_LEAVES))
    op(p, Alu.ADD, leaf, leaf, K(BASIC_LEAVES))
    p.label("read")
    op(p, Alu.SHL, leaf, leaf, K(2))
    for number, register in enumerate((Reg.EAX, Reg.EBX, Reg.ECX, Reg.EDX)):
        if number:
            op(p, Alu.ADD, leaf, leaf, K(1))
        p(alu=Alu.ROM, a=leaf, dst=register)

    def none() -> None:
        p.label("none")
        mov(p, leaf, K(len(_ORDER)))
        p.rows[-1].update(next=Next.JUMP, target="read")

    p.defer(none)
