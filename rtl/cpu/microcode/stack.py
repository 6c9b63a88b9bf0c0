"""PUSH and POP of memory and segment registers, PUSHA, POPA, PUSHF, POPF, ENTER."""
from rtl.cpu.microasm import K, Program, Y
from rtl.cpu.uop import Alu, Aseg, Cond, Mem, Next, Reg, Size, Src, Sys
from rtl.isa.exitcodes import ExitCode
from rtl.isa.registers import Eflags

from .macros import (
    LIBRARY,
    branch,
    by_operand_size,
    drain,
    jump,
    modrm,
    mov,
    op,
    pop,
    probe_frame,
    push,
    stack,
    width_of,
    write_frame,
)

GENERAL = (Reg.EAX, Reg.ECX, Reg.EDX, Reg.EBX, Reg.ESP, Reg.EBP, Reg.ESI, Reg.EDI)


@LIBRARY.program("push_m")
def push_m(p: Program) -> None:
    mov(p, Reg.T0, Src.MEM, size=Size.V, **modrm(Mem.LOAD, Size.V))
    mov(p, Reg.NONE, Reg.T0, size=Size.V, **push())


@LIBRARY.program("pop_m")
def pop_m(p: Program) -> None:
    """ESP as a base register of the destination has its value after the pop."""
    mov(p, Reg.T0, Src.MEM, size=Size.V, **pop())
    mov(p, Reg.NONE, Reg.T0, size=Size.V, **modrm(Mem.STORE, Size.V))


@LIBRARY.program("push_sreg")
def push_sreg(p: Program) -> None:
    """Zero-extended to the operand size."""
    mov(p, Reg.NONE, Y(Sys.SEL, Aseg.SREG), size=Size.V, **push())


def _pop_segment(p: Program, routine: str) -> None:
    p(alu=Alu.ZX16, b=Src.MEM, dst=Reg.T0, next=Next.JUMP, target=routine, **pop())


LIBRARY.program("pop_ss", routine="load_stack")(_pop_segment)
LIBRARY.program("pop_sreg", routine="load_data")(_pop_segment)


@LIBRARY.program("pusha")
def pusha(p: Program) -> None:
    def rows(width: int) -> None:
        probe_frame(p, Aseg.SS, Reg.ESP, 8 * width, width)
        write_frame(p, Aseg.SS, Reg.ESP, GENERAL, width)
        op(p, Alu.SUB, Reg.ESP, Reg.ESP, K(8 * width), size=Size.S)

    p()
    by_operand_size(p, rows)
    p()


@LIBRARY.program("popa")
def popa(p: Program) -> None:
    """The last value is read before any register changes: with the first it bounds what may fault."""
    def rows(width: int) -> None:
        size = width_of(width)

        def value(number: int) -> dict:
            return stack(Mem.LOAD, Aseg.SS, Reg.ESP, number * width, size)

        mov(p, Reg.T0, Src.MEM, size=size, **value(0))
        mov(p, Reg.T1, Src.MEM, size=size, **value(7))
        for number in (1, 2, 4, 5, 6):
            mov(p, GENERAL[7 - number], Src.MEM, size=size, **value(number))
        mov(p, Reg.EDI, Reg.T0, size=size)
        mov(p, Reg.EAX, Reg.T1, size=size)
        op(p, Alu.ADD, Reg.ESP, Reg.ESP, K(8 * width), size=Size.S)

    p()
    by_operand_size(p, rows)
    p()


@LIBRARY.program("pushf")
def pushf(p: Program) -> None:
    op(p, Alu.AND, Reg.NONE, Y(Sys.EFLAGS), K(~int(Eflags.RF | Eflags.VM)), size=Size.V,
       intercept=ExitCode.PUSHF, **push())


@LIBRARY.program("popf")
def popf(p: Program) -> None:
    p(alu=Alu.POPF, a=Src.MEM, size=Size.V, intercept=ExitCode.POPF, **pop())
    drain(p)


@LIBRARY.program("enter")
def enter(p: Program) -> None:
    """Levels above 0 check the whole frame and the display they copy before they store."""
    level, link, frame, value = Reg.T1, Reg.T0, Reg.T5, Reg.T6
    op(p, Alu.AND, level, Src.IMM2, K(31))
    branch(p, Cond.NZ, "levels", Alu.MOV, Src.ZERO, level)
    mov(p, Reg.NONE, Reg.EBP, size=Size.V, **push())
    mov(p, Reg.EBP, Reg.ESP, size=Size.V)
    p.label("release")
    op(p, Alu.SUB, Reg.ESP, Reg.ESP, Src.IMM, size=Size.S, next=Next.END)

    def span(width: int) -> None:
        size, shift = width_of(width), {2: 1, 4: 2}[width]
        op(p, Alu.SHL, Reg.T3, level, K(shift))
        op(p, Alu.SUB, Reg.T2, Reg.ESP, Reg.T3)
        p(**stack(Mem.RMW, Aseg.SS, Reg.T2, -width, size))
        p(**stack(Mem.RMW, Aseg.SS, Reg.ESP, -width, size))
        only_one = p.unique("one")
        op(p, Alu.SUB, Reg.T2, Reg.EBP, Reg.T3)
        branch(p, Cond.Z, only_one, Alu.SUB, level, K(1))
        p(**stack(Mem.LOAD, Aseg.SS, Reg.T2, width, size))
        p(**stack(Mem.LOAD, Aseg.SS, Reg.EBP, -width, size))
        p.label(only_one)
        mov(p, Reg.T7, K(width))

    def levels() -> None:
        p.label("levels")
        by_operand_size(p, span)
        mov(p, link, Reg.EBP)
        mov(p, Reg.NONE, Reg.EBP, size=Size.V, **push())
        mov(p, frame, Reg.ESP)
        p.label("display")
        op(p, Alu.SUB, level, level, K(1), next=Next.BR, cond=Cond.Z, target="last")
        op(p, Alu.SUB, link, link, Reg.T7)
        mov(p, value, Src.MEM, **stack(Mem.LOAD, Aseg.SS, link, 0, Size.V))
        mov(p, Reg.NONE, value, size=Size.V, **push())
        jump(p, "display")
        p.label("last")
        mov(p, Reg.NONE, frame, size=Size.V, **push())
        mov(p, Reg.EBP, frame, size=Size.V)
        jump(p, "release")

    p.defer(levels)
