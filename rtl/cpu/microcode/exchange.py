"""XCHG, XADD, CMPXCHG, CMPXCHG8B: read-modify-writes that also change a register."""
from rtl.cpu.microasm import Program
from rtl.cpu.uop import Alu, Cond, FlagSet, Mem, Next, Reg, Size, Src

from .macros import LIBRARY, beside, modrm, mov, op, operand_offset

SIZES = {"b": Size.B, "v": Size.V}


def _store_t0(p: Program, width: Size) -> None:
    mov(p, Reg.NONE, Reg.T0, size=width, **modrm(Mem.STORE, width))


def _xchg_r(p: Program, width: Size, one: Reg, other: Reg) -> None:
    mov(p, Reg.T0, one, size=width)
    mov(p, one, other, size=width)
    mov(p, other, Reg.T0, size=width)


def _xchg_m(p: Program, width: Size) -> None:
    mov(p, Reg.T0, Src.MEM, size=width, **modrm(Mem.RMW, width))
    mov(p, Reg.NONE, Reg.REG, size=width, **modrm(Mem.STORE, width))
    mov(p, Reg.REG, Reg.T0, size=width)


def _xadd_r(p: Program, width: Size) -> None:
    op(p, Alu.ADD, Reg.T0, Reg.RM, Reg.REG, size=width, flags=FlagSet.ALL)
    mov(p, Reg.REG, Reg.RM, size=width)
    mov(p, Reg.RM, Reg.T0, size=width)


def _xadd_m(p: Program, width: Size) -> None:
    mov(p, Reg.T0, Src.MEM, size=width, **modrm(Mem.RMW, width))
    op(p, Alu.ADD, Reg.NONE, Reg.T0, Reg.REG, size=width, flags=FlagSet.ALL, **modrm(Mem.STORE, width))
    mov(p, Reg.REG, Reg.T0, size=width)


def _cmpxchg_r(p: Program, width: Size) -> None:
    mov(p, Reg.T0, Reg.RM, size=width)
    op(p, Alu.SUB, Reg.NONE, Reg.EAX, Reg.T0, size=width, flags=FlagSet.ALL, next=Next.BR, cond=Cond.NZ,
       target="differ")
    mov(p, Reg.RM, Reg.REG, size=width, next=Next.END)
    p.label("differ")
    mov(p, Reg.EAX, Reg.T0, size=width)


def _cmpxchg_m(p: Program, width: Size) -> None:
    """The destination is written in both cases (SDM vol. 2A, CMPXCHG)."""
    mov(p, Reg.T0, Src.MEM, size=width, **modrm(Mem.RMW, width))
    op(p, Alu.SUB, Reg.NONE, Reg.EAX, Reg.T0, size=width, flags=FlagSet.ALL, next=Next.BR, cond=Cond.NZ,
       target="differ")
    mov(p, Reg.NONE, Reg.REG, size=width, next=Next.END, **modrm(Mem.STORE, width))
    p.label("differ")
    _store_t0(p, width)
    mov(p, Reg.EAX, Reg.T0, size=width)


for _suffix, _width in SIZES.items():
    LIBRARY.program(f"xchg_r_{_suffix}", width=_width, one=Reg.RM, other=Reg.REG)(_xchg_r)
    LIBRARY.program(f"xchg_m_{_suffix}", width=_width)(_xchg_m)
    LIBRARY.program(f"xadd_r_{_suffix}", width=_width)(_xadd_r)
    LIBRARY.program(f"xadd_m_{_suffix}", width=_width)(_xadd_m)
    LIBRARY.program(f"cmpxchg_r_{_suffix}", width=_width)(_cmpxchg_r)
    LIBRARY.program(f"cmpxchg_m_{_suffix}", width=_width)(_cmpxchg_m)
LIBRARY.program("xchg_eax", width=Size.V, one=Reg.OPREG, other=Reg.EAX)(_xchg_r)


@LIBRARY.program("cmpxchg8b")
def cmpxchg8b(p: Program) -> None:
    low, high, offset = Reg.T0, Reg.T1, Reg.T2
    mov(p, low, Src.MEM, **modrm(Mem.RMW, Size.D))
    operand_offset(p, offset)
    mov(p, high, Src.MEM, **beside(Mem.RMW, offset, 4, Size.D))
    op(p, Alu.XOR, Reg.T3, low, Reg.EAX)
    op(p, Alu.XOR, Reg.T4, high, Reg.EDX)
    op(p, Alu.OR, Reg.NONE, Reg.T3, Reg.T4, flags=FlagSet.ZF, next=Next.BR, cond=Cond.NZ, target="differ")
    mov(p, Reg.NONE, Reg.EBX, **modrm(Mem.STORE, Size.D))
    mov(p, Reg.NONE, Reg.ECX, next=Next.END, **beside(Mem.STORE, offset, 4, Size.D))
    p.label("differ")
    mov(p, Reg.NONE, low, **modrm(Mem.STORE, Size.D))
    mov(p, Reg.NONE, high, **beside(Mem.STORE, offset, 4, Size.D))
    mov(p, Reg.EAX, low)
    mov(p, Reg.EDX, high)
