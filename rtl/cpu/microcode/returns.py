"""RETF and IRET (SDM vol. 2A and 2B): within a level, to an outer level, to the previous task.

Registers as in `transfer`.
"""
from rtl.cpu.descriptor_check import Check
from rtl.cpu.microasm import K, Program, Y
from rtl.cpu.uop import Alu, Aseg, Cond, Next, Reg, Size, Src, Status, Sys
from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode

from .macros import (
    HIGH_DPL_SHIFT,
    LIBRARY,
    branch,
    branch_status,
    check,
    fault,
    fetch,
    flush,
    limit_check,
    load_null,
    load_system,
    mark_accessed,
    mov,
    null_check,
    op,
    pop,
    write,
)
from .task import RETURN
from .transfer import (
    ADDRESS,
    CODE,
    GATE,
    HIGH,
    LEVEL,
    LOW,
    NEW_ESP,
    NEW_SS,
    SS_ADDRESS,
    SS_HIGH,
    SS_LOW,
    TARGET,
    TASK_REASON,
    enter_inner,
    fetch_code,
    load_code,
)


def _drop_inner_segments(p: Program) -> None:
    """Data segments that level T10 may not use become null."""
    for sreg in (Aseg.ES, Aseg.DS, Aseg.FS, Aseg.GS):
        look, keep = p.unique("look"), p.unique("keep")
        op(p, Alu.AND, Reg.T14, Y(Sys.ATTR, sreg), K(3 << HIGH_DPL_SHIFT))
        branch(p, Cond.NZ, look, Alu.SUB, Reg.T14, K(3 << HIGH_DPL_SHIFT))
        p.label(keep)

        def aside(sreg=sreg, look=look, keep=keep) -> None:
            p.label(look)
            mov(p, Reg.T15, Y(Sys.ATTR, sreg))
            branch(p, Cond.Z, keep, Alu.AND, Reg.T15, K(1 << 15))
            op(p, Alu.AND, Reg.T15, Reg.T15, K(0xC00))
            branch(p, Cond.Z, keep, Alu.SUB, Reg.T15, K(0xC00))
            op(p, Alu.SHR, Reg.T14, Reg.T14, K(HIGH_DPL_SHIFT))
            branch(p, Cond.NC, keep, Alu.SUB, Reg.T14, LEVEL)
            load_null(p, sreg, Src.ZERO)
            p.rows[-1].update(next=Next.JUMP, target=keep)

        p.defer(aside)


def _return(p: Program, outer: str) -> None:
    """Check the popped CS T0, and go to `outer` when it is less privileged."""
    fetch_code(p)
    check(p, Check.RETURN_CODE, HIGH, CODE)
    op(p, Alu.AND, LEVEL, CODE, K(3))
    branch(p, Cond.NZ, outer, Alu.SUB, LEVEL, Y(Sys.CPL))
    limit_check(p, LOW, HIGH, TARGET)
    mark_accessed(p, HIGH, ADDRESS)


def _return_outer(p: Program) -> None:
    """Pop ESP and SS and check them; all is ready to be committed."""
    mov(p, NEW_ESP, Src.MEM, **pop())
    p(alu=Alu.ZX16, b=Src.MEM, dst=NEW_SS, **pop())
    null_check(p, NEW_SS, fault(Vector.GP))
    fetch(p, NEW_SS, SS_LOW, SS_HIGH, SS_ADDRESS, fault(Vector.GP, NEW_SS))
    write(p, Sys.NCPL, LEVEL)
    check(p, Check.RETURN_STACK, SS_HIGH, NEW_SS)
    limit_check(p, LOW, HIGH, TARGET)
    mark_accessed(p, HIGH, ADDRESS)
    mark_accessed(p, SS_HIGH, SS_ADDRESS)


@LIBRARY.program("retf")
def retf(p: Program) -> None:
    """The immediate is zero where there is none."""
    mov(p, TARGET, Src.MEM, **pop())
    p(alu=Alu.ZX16, b=Src.MEM, dst=CODE, **pop())
    _return(p, "outer")
    op(p, Alu.ADD, Reg.ESP, Reg.ESP, Src.IMM, size=Size.S)
    load_code(p, Y(Sys.CPL))
    flush(p, TARGET)

    p.label("outer")
    op(p, Alu.ADD, Reg.ESP, Reg.ESP, Src.IMM, size=Size.S)
    _return_outer(p)
    op(p, Alu.ADD, NEW_ESP, NEW_ESP, Src.IMM)
    enter_inner(p, NEW_ESP)
    _drop_inner_segments(p)
    flush(p, TARGET)


@LIBRARY.program("iret")
def iret(p: Program) -> None:
    p(intercept=ExitCode.IRET)
    # even if it faults: SDM vol. 3A, 6.7.1
    write(p, Sys.NMI_UNBLOCK, Src.ZERO)
    branch_status(p, "nested", Status.NT)
    mov(p, TARGET, Src.MEM, **pop())
    p(alu=Alu.ZX16, b=Src.MEM, dst=CODE, **pop())
    mov(p, GATE, Src.MEM, **pop())
    _return(p, "outer")
    # before CS changes: its D bit is part of what Size.V means
    p(alu=Alu.IRETF, a=GATE, size=Size.V)
    load_code(p, Y(Sys.CPL))
    flush(p, TARGET)

    p.label("outer")
    _return_outer(p)
    p(alu=Alu.IRETF, a=GATE, size=Size.V)
    enter_inner(p, NEW_ESP)
    _drop_inner_segments(p)
    flush(p, TARGET)

    p.label("nested")
    mov(p, Reg.T7, Y(Sys.BASE, Aseg.TR))
    load_system(p, CODE, Reg.T7, 0, Size.W)
    branch(p, Cond.NZ, fault(Vector.TS, CODE), Alu.AND, CODE, K(4))
    fetch(p, CODE, LOW, HIGH, ADDRESS, fault(Vector.TS, CODE))
    check(p, Check.TSS_BUSY, HIGH, CODE)
    mov(p, TARGET, Src.NEXT)
    mov(p, TASK_REASON, K(RETURN), next=Next.JUMP, target="task_switch")
