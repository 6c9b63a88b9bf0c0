"""IN and OUT, and the I/O permission checks they share with INS and OUTS.

SDM vol. 1, 18.5; of a guest whose host wants IOIO exits also the I/O permission map, AMD64 APM vol. 2, 15.10.
"""
from rtl.cpu.microasm import K, Program, Y
from rtl.cpu.uop import Alu, Aseg, Cond, Mem, Next, Reg, Size, Src, Status, Sys
from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode
from rtl.isa.layout import mask
from rtl.isa.svm import IoInfo
from rtl.isa.tss import Tss32

from .macros import LIBRARY, branch, branch_status, fault, jump, load_system, mov, op, physical, write

_ALL = 0xFFFF_FFFF

PORT = Reg.T0
_INFO = Reg.T10
_BITS, _SHIFT, _OFFSET = Reg.T12, Reg.T13, Reg.T14
_SUFFIXES = {Size.B: "b", Size.V: "v"}
_DENIED = fault(Vector.GP)


def port_check(p: Program, width: Size, string: Aseg | None = None) -> None:
    """#GP(0) or an IOIO exit unless `width` ports from the one in T0 on may be used. Uses T10-T14.

    `string` is the segment of INS and OUTS.
    """
    routine = f"port_check_{_SUFFIXES[width]}"
    if string is None:
        op(p, Alu.AND, _INFO, Y(Sys.IO_INFO), K(_ALL & ~mask(IoInfo, "rep")), next=Next.CALL, target=routine)
    else:
        op(p, Alu.OR, _INFO, Y(Sys.IO_INFO, string), K(mask(IoInfo, "string")), next=Next.CALL, target=routine)


def _any_set(p: Program, width: Size, yes: str, no: str) -> None:
    """Shift the bits by the port's place in its byte, and go to `yes` when one of those of the access is set."""
    op(p, Alu.AND, _SHIFT, _SHIFT, K(7))
    op(p, Alu.SHR, _BITS, _BITS, _SHIFT)
    if width is Size.B:
        branch(p, Cond.Z, no, Alu.AND, _BITS, K(1))
    else:
        branch(p, Cond.NZ, yes, Alu.AND, _BITS, K(3))
        branch_status(p, no, Status.OPSIZE16)
        branch(p, Cond.Z, no, Alu.AND, _BITS, K(0xF))
    jump(p, yes)


def _task_bitmap(p: Program, width: Size, allowed: str) -> None:
    """The bitmap of a 32-bit TSS. It is read at linear addresses, so that its limit is checked here."""

    def map_word() -> None:
        """bits = the word at `offset` of the TSS."""
        op(p, Alu.ADD, Reg.T11, _OFFSET, K(1))
        branch(p, Cond.C, _DENIED, Alu.SUB, Y(Sys.LIMIT, Aseg.TR), Reg.T11)
        op(p, Alu.ADD, Reg.T11, _OFFSET, Y(Sys.BASE, Aseg.TR))
        load_system(p, _BITS, Reg.T11, 0, Size.W)

    mov(p, _OFFSET, K(Tss32.IO_BASE.value))
    map_word()
    p(alu=Alu.ZX16, b=PORT, dst=_SHIFT)
    op(p, Alu.SHR, _OFFSET, _SHIFT, K(3))
    op(p, Alu.ADD, _OFFSET, _OFFSET, _BITS)
    map_word()
    _any_set(p, width, _DENIED, allowed)


def _port_check(p: Program, width: Size) -> None:
    """CPL <= IOPL, or the bitmap of a 32-bit TSS; the slower "port_guest" where IOIO exits are wanted."""
    branch_status(p, "slow", Status.PORT_OK, cond=Cond.Z)
    p.label("allowed")
    p(next=Next.RET)
    p.label("slow")
    branch_status(p, "other", Status.BITMAP_OK, cond=Cond.Z)
    _task_bitmap(p, width, "allowed")
    p.label("other")
    branch_status(p, _DENIED, Status.IO_INTERCEPT, cond=Cond.Z)
    jump(p, f"port_guest_{_SUFFIXES[width]}")


def _port_guest(p: Program, width: Size) -> None:
    """Exceptions of the guest's own making go before the exit, those of the memory operand after."""
    branch_status(p, "map", Status.IOPL_OK)
    branch_status(p, _DENIED, Status.TSS32, cond=Cond.Z)
    _task_bitmap(p, width, "map")
    p.label("map")
    p(alu=Alu.ZX16, b=PORT, dst=_SHIFT)
    op(p, Alu.SHR, _OFFSET, _SHIFT, K(3))
    op(p, Alu.ADD, _OFFSET, _OFFSET, Y(Sys.IOPM))
    mov(p, _BITS, Src.MEM, **physical(Mem.LOAD, _OFFSET, 0, Size.W))
    op(p, Alu.SHL, _OFFSET, _SHIFT, K(16))
    op(p, Alu.OR, _INFO, _INFO, _OFFSET)
    _any_set(p, width, "exit", "allowed")
    p.label("exit")
    write(p, Sys.EXIT_INFO1, _INFO)
    write(p, Sys.EXIT_INFO2, Src.NEXT)
    write(p, Sys.FORCE_EXIT, K(ExitCode.IOIO.value), next=Next.END)
    p.label("allowed")
    p(next=Next.RET)


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
    LIBRARY.routine(f"port_guest_{_suffix}", width=_width)(_port_guest)
    for _kind, _port in {"imm": Src.IMM, "dx": Reg.EDX}.items():
        LIBRARY.program(f"in_{_kind}_{_suffix}", port=_port, width=_width)(_in)
        LIBRARY.program(f"out_{_kind}_{_suffix}", port=_port, width=_width)(_out)
