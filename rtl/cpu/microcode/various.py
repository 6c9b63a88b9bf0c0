"""AAM, AAD, SALC, XLAT, BOUND, and bit tests in memory with a register index."""
from rtl.cpu.microasm import K, Program
from rtl.cpu.uop import Alu, Amode, Aseg, Cond, FlagSet, Mem, Next, Reg, Size, Src
from rtl.isa.exceptions import Vector

from .macros import LIBRARY, beside, branch, by_operand_size, fault, modrm, mov, op, operand_offset


@LIBRARY.program("aam")
def aam(p: Program) -> None:
    """SF, ZF and PF from AL; CF, OF and AF are cleared."""
    p(alu=Alu.ZX8, b=Reg.EAX, dst=Reg.T0)
    p(alu=Alu.DIV, a=Reg.T0, b=Src.IMM, dst=Reg.T1, size=Size.B)
    op(p, Alu.ROL, Reg.EAX, Reg.T1, K(8), size=Size.W)
    op(p, Alu.OR, Reg.NONE, Reg.EAX, Reg.EAX, size=Size.B, flags=FlagSet.ALL)


@LIBRARY.program("aad")
def aad(p: Program) -> None:
    op(p, Alu.SHR, Reg.T0, Reg.EAX, K(8))
    p(alu=Alu.ZX8, b=Reg.T0, dst=Reg.T0)
    op(p, Alu.MUL, Reg.T0, Reg.T0, Src.IMM)
    op(p, Alu.ADD, Reg.T0, Reg.T0, Reg.EAX)
    p(alu=Alu.ZX8, b=Reg.T0, dst=Reg.EAX, size=Size.W)
    op(p, Alu.OR, Reg.NONE, Reg.EAX, Reg.EAX, size=Size.B, flags=FlagSet.ALL)


@LIBRARY.program("salc")
def salc(p: Program) -> None:
    op(p, Alu.SBB, Reg.EAX, Reg.EAX, Reg.EAX, size=Size.B)


@LIBRARY.program("xlat")
def xlat(p: Program) -> None:
    p(alu=Alu.ZX8, b=Reg.EAX, dst=Reg.T0)
    op(p, Alu.ADD, Reg.T0, Reg.T0, Reg.EBX)
    mov(p, Reg.EAX, Src.MEM, size=Size.B, mem=Mem.LOAD, amode=Amode.BASE, base=Reg.T0, aseg=Aseg.EFF, width=Size.B)


@LIBRARY.program("bound")
def bound(p: Program) -> None:
    """Signed comparisons, as unsigned ones of numbers with the sign bit turned over."""
    lower, upper, index = Reg.T0, Reg.T1, Reg.T3
    mov(p, lower, Src.MEM, **modrm(Mem.LOAD, Size.V))
    operand_offset(p, Reg.T2)

    def rest(width: int) -> None:
        if width == 4:
            mov(p, upper, Src.MEM, **beside(Mem.LOAD, Reg.T2, 4, Size.D))
            mov(p, index, Reg.REG)
        else:
            p(alu=Alu.SX16, b=Src.MEM, dst=upper, **beside(Mem.LOAD, Reg.T2, 2, Size.W))
            p(alu=Alu.SX16, b=lower, dst=lower)
            p(alu=Alu.SX16, b=Reg.REG, dst=index)

    by_operand_size(p, rest)
    for register in (lower, upper, index):
        op(p, Alu.XOR, register, register, K(1 << 31))
    branch(p, Cond.C, fault(Vector.BR), Alu.SUB, index, lower)
    branch(p, Cond.C, fault(Vector.BR), Alu.SUB, upper, index)
    p(next=Next.END)


def _bit_string(p: Program, alu: Alu) -> None:
    """The bit index is signed and reaches the word of the operand size that the bit is in."""
    offset, index = Reg.T0, Reg.T1
    operand_offset(p, offset)

    def word(width: int) -> None:
        if width == 4:
            op(p, Alu.SAR, index, Reg.REG, K(3))
        else:
            p(alu=Alu.SX16, b=Reg.REG, dst=index)
            op(p, Alu.SAR, index, index, K(3))
        op(p, Alu.AND, index, index, K(-width))

    by_operand_size(p, word)
    op(p, Alu.ADD, offset, offset, index)
    if alu is Alu.BT:
        p(alu=alu, a=Src.MEM, b=Reg.REG, size=Size.V, flags=FlagSet.CF, **beside(Mem.LOAD, offset, 0, Size.V))
    else:
        p(alu=alu, a=Src.MEM, b=Reg.REG, dst=Reg.T2, size=Size.V, flags=FlagSet.CF,
          **beside(Mem.RMW, offset, 0, Size.V))
        mov(p, Reg.NONE, Reg.T2, size=Size.V, **beside(Mem.STORE, offset, 0, Size.V))


for _alu in (Alu.BT, Alu.BTS, Alu.BTR, Alu.BTC):
    LIBRARY.program(f"{_alu.name.lower()}_string", alu=_alu)(_bit_string)
