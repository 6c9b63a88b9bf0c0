"""How the instructions of `hardwired` that need a second row go on."""
from rtl.cpu.microasm import Program, Y
from rtl.cpu.uop import Alu, Amode, Aseg, Mem, Reg, Size, Src, Step, Sys

from .macros import LIBRARY


def _store(p: Program, size: Size) -> None:
    """Write T0 to the operand, which row 0 has read with permission to write."""
    p(alu=Alu.MOV, b=Reg.T0, size=size, mem=Mem.STORE, width=size, amode=Amode.MODRM, aseg=Aseg.EFF)


LIBRARY.routine("store_b", size=Size.B)(_store)
LIBRARY.routine("store_v", size=Size.V)(_store)


@LIBRARY.routine("mul_high")
def mul_high(p: Program) -> None:
    p(alu=Alu.MOV, b=Y(Sys.MUL_HI), dst=Reg.EDX, size=Size.V)


@LIBRARY.routine("div_remainder")
def div_remainder(p: Program) -> None:
    p(alu=Alu.MOV, b=Y(Sys.DIV_REM), dst=Reg.EDX, size=Size.V)


@LIBRARY.routine("call_t0")
def call_t0(p: Program) -> None:
    """Near call to the address in T0."""
    p(alu=Alu.JMPI, a=Reg.T0, b=Src.NEXT, size=Size.V, mem=Mem.STORE, width=Size.V, amode=Amode.PUSH, base=Reg.ESP,
      aseg=Aseg.SS, step=Step.PUSH)
