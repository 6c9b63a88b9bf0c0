"""IN and OUT, and the I/O permission check they share with INS and OUTS (SDM vol. 1, 18.5)."""
from rtl.cpu.microasm import K, Program, Y
from rtl.cpu.uop import Alu, Aseg, Cond, Next, Reg, Size, Src, Status, Sys
from rtl.isa.exceptions import Vector
from rtl.isa.tss import Tss32

from .macros import LIBRARY, branch, branch_status, fault, jump, load_system, mov, op

PORT = Reg.T0
_SUFFIXES = {Size.B: "b", Size.V: "v"}


def port_check(p: Program, width: Size) -> None:
    """#GP(0) unless `width` ports from the one in T0 on may be used. Uses T11-T14."""
    p(next=Next.CALL, target=f"port_check_{_SUFFIXES[width]}")


def _port_check(p: Program, width: Size) -> None:
    """CPL <= IOPL, or the bitmap of a 32-bit TSS; it is read at linear addresses, so that its limit is checked here."""
    denied = fault(Vector.GP)
    offset, bits, shift = Reg.T14, Reg.T12, Reg.T13

    def map_word() -> None:
        """bits = the word at `offset` of the TSS."""
        op(p, Alu.ADD, Reg.T11, offset, K(1))
        branch(p, Cond.C, denied, Alu.SUB, Y(Sys.LIMIT, Aseg.TR), Reg.T11)
        op(p, Alu.ADD, Reg.T11, offset, Y(Sys.BASE, Aseg.TR))
        load_system(p, bits, Reg.T11, 0, Size.W)

    branch_status(p, "bitmap", Status.IOPL_OK, cond=Cond.Z)
    p.label("allowed")
    p(next=Next.RET)
    p.label("bitmap")
    branch_status(p, denied, Status.TSS32, cond=Cond.Z)
    mov(p, offset, K(Tss32.IO_BASE.value))
    map_word()
    p(alu=Alu.ZX16, b=PORT, dst=shift)
    op(p, Alu.SHR, offset, shift, K(3))
    op(p, Alu.ADD, offset, offset, bits)
    map_word()
    op(p, Alu.AND, shift, shift, K(7))
    op(p, Alu.SHR, bits, bits, shift)
    if width is Size.B:
        branch(p, Cond.Z, "allowed", Alu.AND, bits, K(1))
    else:
        branch(p, Cond.NZ, denied, Alu.AND, bits, K(3))
        branch_status(p, "allowed", Status.OPSIZE16)
        branch(p, Cond.Z, "allowed", Alu.AND, bits, K(0xF))
    jump(p, denied)


def _in(p: Program, port: Src | Reg, width: Size) -> None:
    mov(p, PORT, port)
    port_check(p, width)
    p(alu=Alu.IN, a=PORT, dst=Reg.EAX, size=width)


def _out(p: Program, port: Src | Reg, width: Size) -> None:
    mov(p, PORT, port)
    port_check(p, width)
    p(alu=Alu.OUT, a=PORT, b=Reg.EAX, size=width)


for _width, _suffix in _SUFFIXES.items():
    LIBRARY.routine(f"port_check_{_suffix}", width=_width)(_port_check)
    for _kind, _port in {"imm": Src.IMM, "dx": Reg.EDX}.items():
        LIBRARY.program(f"in_{_kind}_{_suffix}", port=_port, width=_width)(_in)
        LIBRARY.program(f"out_{_kind}_{_suffix}", port=_port, width=_width)(_out)
