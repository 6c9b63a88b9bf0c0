"""Far JMP, CALL and RETF, and IRET (SDM vol. 2A and 2B): code segments, call gates, task gates, TSS.

Registers of every far transfer: T0 selector of CS, T1 target EIP, T4-T6 its descriptor (low, high, address);
T9 selector of the new SS, T8 the new ESP, T11-T13 its descriptor, T10 the new CPL.
"""
from rtl.cpu.descriptor_check import Check
from rtl.cpu.microasm import K, Program, Y
from rtl.cpu.uop import Alu, Aseg, Cond, Mem, Next, Reg, Size, Src, Status, Sys
from rtl.isa.exceptions import Vector
from rtl.isa.tss import TSS16_STACK_STRIDE, TSS32_STACK_STRIDE, Tss16, Tss32

from .macros import (
    HIGH_CONFORMING,
    HIGH_DPL_SHIFT,
    HIGH_GATE32,
    HIGH_SEGMENT,
    LIBRARY,
    branch,
    branch_status,
    check,
    fault,
    fetch,
    flush,
    jump,
    limit_check,
    load_cache,
    load_null,
    load_system,
    mark_accessed,
    mov,
    null_check,
    op,
    pop,
    probe_frame,
    selector_with_rpl,
    stack,
    width_of,
    write,
    write_frame,
)
from .segments import far_pointer
from .task import CALL, JUMP, RETURN

CODE, TARGET, LOW, HIGH, ADDRESS = Reg.T0, Reg.T1, Reg.T4, Reg.T5, Reg.T6
NEW_ESP, NEW_SS, LEVEL, SS_LOW, SS_HIGH, SS_ADDRESS = Reg.T8, Reg.T9, Reg.T10, Reg.T11, Reg.T12, Reg.T13
GATE = Reg.T2
TASK_REASON = Reg.T3
_TYPE = 0x700
_CALL_GATE, _TASK_GATE = 0x400, 0x500
_COUNT = 0x1F


def fetch_code(p: Program) -> None:
    """Read the descriptor of T0; null is #GP(0)."""
    null_check(p, CODE, fault(Vector.GP))
    fetch(p, CODE, LOW, HIGH, ADDRESS, fault(Vector.GP, CODE))


def gate_target(p: Program, low: Reg) -> None:
    """T0 and T1 = selector and offset of the gate with upper half T2; a 16-bit gate has a 16-bit offset."""
    done = p.unique("gate")
    op(p, Alu.SHR, CODE, low, K(16))
    p(alu=Alu.ZX16, b=low, dst=TARGET)
    branch(p, Cond.Z, done, Alu.AND, GATE, K(HIGH_GATE32))
    op(p, Alu.AND, Reg.T7, GATE, K(0xFFFF_0000))
    op(p, Alu.OR, TARGET, TARGET, Reg.T7)
    p.label(done)


def load_code(p: Program, level) -> None:
    """CS takes the descriptor in T4, T5 with RPL = `level`."""
    selector_with_rpl(p, Reg.T7, CODE, level)
    load_cache(p, Aseg.CS, Reg.T7, LOW, HIGH)


def inner_stack(p: Program) -> None:
    """The stack of level T10, from the TSS: T8, T9, T11-T13 and the scratch segment cache TMP0."""
    task = p.unique("task")
    small, read = p.unique("tss16"), p.unique("stack")
    branch_status(p, small, Status.TSS32, cond=Cond.Z)

    def pointers(width: int, first: int, stride: int) -> None:
        op(p, Alu.SHL, Reg.T7, LEVEL, K(stride.bit_length() - 1))
        op(p, Alu.ADD, Reg.T14, Reg.T7, K(first + width + 1))
        op(p, Alu.ADD, Reg.T7, Reg.T7, Y(Sys.BASE, Aseg.TR))
        branch(p, Cond.C, task, Alu.SUB, Y(Sys.LIMIT, Aseg.TR), Reg.T14)
        load_system(p, NEW_ESP, Reg.T7, first, width_of(width))
        load_system(p, NEW_SS, Reg.T7, first + width, Size.W)

    pointers(4, Tss32.ESP0.value, TSS32_STACK_STRIDE)
    p.label(read)
    null_check(p, NEW_SS, fault(Vector.TS))
    fetch(p, NEW_SS, SS_LOW, SS_HIGH, SS_ADDRESS, fault(Vector.TS, NEW_SS))
    write(p, Sys.NCPL, LEVEL)
    check(p, Check.INNER_STACK, SS_HIGH, NEW_SS)
    load_cache(p, Aseg.TMP0, NEW_SS, SS_LOW, SS_HIGH)

    def aside() -> None:
        p.label(small)
        pointers(2, Tss16.SP0.value, TSS16_STACK_STRIDE)
        jump(p, read)
        p.label(task)
        mov(p, Reg.T14, Y(Sys.SEL, Aseg.TR))
        jump(p, fault(Vector.TS, Reg.T14))

    p.defer(aside)


def enter_inner(p: Program, top: Reg) -> None:
    """Commit CS and SS of level T10 with the stack pointer `top`; what follows must not fault."""
    load_cache(p, Aseg.SS, NEW_SS, SS_LOW, SS_HIGH)
    load_code(p, LEVEL)
    write(p, Sys.CPL, LEVEL)
    # five rows after SS was loaded, so that Size.S is that of the new stack
    mov(p, Reg.ESP, top, size=Size.S)


def inner_or_same(p: Program, inner: str) -> None:
    """Go to `inner`, with T10 the new CPL, when the code segment is not conforming and more privileged than CPL."""
    same = p.unique("same")
    branch(p, Cond.NZ, same, Alu.AND, HIGH, K(HIGH_CONFORMING))
    op(p, Alu.SHR, LEVEL, HIGH, K(HIGH_DPL_SHIFT))
    op(p, Alu.AND, LEVEL, LEVEL, K(3))
    branch(p, Cond.C, inner, Alu.SUB, LEVEL, Y(Sys.CPL))
    p.label(same)


# JMP and CALL

def _system_target(p: Program, reason: int, gate: str) -> None:
    """T4, T5 is a system descriptor named by T0: go on at `gate` for a call gate, else switch tasks."""
    check(p, Check.SYSTEM, HIGH, CODE)
    op(p, Alu.AND, Reg.T7, HIGH, K(_TYPE))
    branch(p, Cond.Z, gate, Alu.SUB, Reg.T7, K(_CALL_GATE))
    mov(p, TASK_REASON, K(reason))
    mov(p, TARGET, Src.NEXT)
    branch(p, Cond.Z, "task_gate", Alu.SUB, Reg.T7, K(_TASK_GATE))
    jump(p, "task_switch")


def _call_gate(p: Program) -> None:
    mov(p, GATE, HIGH)
    gate_target(p, LOW)
    fetch_code(p)


@LIBRARY.routine("jmpf")
def jmpf(p: Program) -> None:
    """Far jump to T0:T1."""
    fetch_code(p)
    branch(p, Cond.Z, "system", Alu.AND, HIGH, K(HIGH_SEGMENT))
    check(p, Check.CODE, HIGH, CODE)
    p.label("go")
    limit_check(p, LOW, HIGH, TARGET)
    mark_accessed(p, HIGH, ADDRESS)
    load_code(p, Y(Sys.CPL))
    flush(p, TARGET)
    p.label("system")
    _system_target(p, JUMP, "gate")
    p.label("gate")
    _call_gate(p)
    check(p, Check.TARGET_JMP, HIGH, CODE)
    jump(p, "go")


def _call_same_level(p: Program, width: int) -> None:
    limit_check(p, LOW, HIGH, TARGET)
    probe_frame(p, Aseg.SS, Reg.ESP, 2 * width, width)
    mark_accessed(p, HIGH, ADDRESS)
    write_frame(p, Aseg.SS, Reg.ESP, (Y(Sys.SEL, Aseg.CS), Src.NEXT), width)
    op(p, Alu.SUB, Reg.ESP, Reg.ESP, K(2 * width), size=Size.S)
    load_code(p, Y(Sys.CPL))
    flush(p, TARGET)


@LIBRARY.routine("callf")
def callf(p: Program) -> None:
    """Far call to T0:T1."""
    fetch_code(p)
    branch(p, Cond.Z, "system", Alu.AND, HIGH, K(HIGH_SEGMENT))
    check(p, Check.CODE, HIGH, CODE)
    branch_status(p, "same16", Status.OPSIZE16)
    p.label("same32")
    _call_same_level(p, 4)
    p.label("same16")
    _call_same_level(p, 2)

    p.label("system")
    _system_target(p, CALL, "gate")
    p.label("gate")
    _call_gate(p)
    check(p, Check.TARGET, HIGH, CODE)
    inner_or_same(p, "inner")
    branch(p, Cond.Z, "same16", Alu.AND, GATE, K(HIGH_GATE32))
    jump(p, "same32")

    p.label("inner")
    inner_stack(p)
    op(p, Alu.AND, Reg.T3, GATE, K(_COUNT))
    branch(p, Cond.Z, "inner16", Alu.AND, GATE, K(HIGH_GATE32))
    _call_inner(p, 4)
    p.label("inner16")
    _call_inner(p, 2)


def _call_inner(p: Program, width: int) -> None:
    """SS, ESP, T3 parameters, CS and EIP go to the new stack."""
    size, shift, count = width_of(width), width.bit_length() - 1, Reg.T3
    loop, last, none, small, cut = (p.unique(name) for name in ("copy", "copied", "none", "sp", "cut"))
    limit_check(p, LOW, HIGH, TARGET)
    op(p, Alu.SHL, Reg.T7, count, K(shift))
    op(p, Alu.ADD, Reg.T14, Reg.ESP, Reg.T7)
    branch(p, Cond.Z, none, Alu.MOV, Src.ZERO, count)
    p(**stack(Mem.LOAD, Aseg.SS, Reg.ESP, 0, size))
    p(**stack(Mem.LOAD, Aseg.SS, Reg.T14, -width, size))
    p.label(none)
    op(p, Alu.SUB, Reg.T15, NEW_ESP, Reg.T7)
    p(**stack(Mem.RMW, Aseg.TMP0, Reg.T15, -4 * width, size, inner=True))
    p(**stack(Mem.RMW, Aseg.TMP0, NEW_ESP, -width, size, inner=True))
    mark_accessed(p, SS_HIGH, SS_ADDRESS)
    mark_accessed(p, HIGH, ADDRESS)
    mov(p, Reg.T7, Reg.ESP)
    branch_status(p, small, Status.SS_B, cond=Cond.Z)
    p.label(cut)
    write_frame(p, Aseg.TMP0, NEW_ESP, (Y(Sys.SEL, Aseg.SS), Reg.T7), width, inner=True)
    op(p, Alu.SUB, NEW_ESP, NEW_ESP, K(2 * width))
    p.label(loop)
    branch(p, Cond.Z, last, Alu.MOV, Src.ZERO, count)
    op(p, Alu.SUB, count, count, K(1))
    mov(p, Reg.T15, Src.MEM, **stack(Mem.LOAD, Aseg.SS, Reg.T14, -width, size))
    op(p, Alu.SUB, Reg.T14, Reg.T14, K(width))
    mov(p, Reg.NONE, Reg.T15, **stack(Mem.STORE, Aseg.TMP0, NEW_ESP, -width, size, inner=True))
    op(p, Alu.SUB, NEW_ESP, NEW_ESP, K(width), next=Next.JUMP, target=loop)
    p.label(last)
    write_frame(p, Aseg.TMP0, NEW_ESP, (Y(Sys.SEL, Aseg.CS), Src.NEXT), width, inner=True)
    op(p, Alu.SUB, NEW_ESP, NEW_ESP, K(2 * width))
    enter_inner(p, NEW_ESP)
    flush(p, TARGET)

    def aside() -> None:
        p.label(small)
        p(alu=Alu.ZX16, b=Reg.T7, dst=Reg.T7, next=Next.JUMP, target=cut)

    p.defer(aside)


def _direct(p: Program, routine: str) -> None:
    mov(p, CODE, Src.IMM2)
    mov(p, TARGET, Src.IMM, next=Next.JUMP, target=routine)


def _indirect(p: Program, routine: str) -> None:
    far_pointer(p, TARGET, CODE, Reg.T2)
    jump(p, routine)


for _name in ("jmpf", "callf"):
    LIBRARY.program(f"{_name}_a", routine=_name)(_direct)
    LIBRARY.program(f"{_name}_m", routine=_name)(_indirect)


# RETF and IRET

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
    p()
    branch_status(p, "nested", Status.NT)
    mov(p, TARGET, Src.MEM, **pop())
    p(alu=Alu.ZX16, b=Src.MEM, dst=CODE, **pop())
    mov(p, GATE, Src.MEM, **pop())
    _return(p, "outer")
    # before CS changes: its D bit is part of what Size.V means
    p(alu=Alu.IRETF, a=GATE, size=Size.V)
    load_code(p, Y(Sys.CPL))
    write(p, Sys.NMI_UNBLOCK, Src.ZERO)
    flush(p, TARGET)

    p.label("outer")
    _return_outer(p)
    p(alu=Alu.IRETF, a=GATE, size=Size.V)
    enter_inner(p, NEW_ESP)
    _drop_inner_segments(p)
    write(p, Sys.NMI_UNBLOCK, Src.ZERO)
    flush(p, TARGET)

    p.label("nested")
    mov(p, Reg.T7, Y(Sys.BASE, Aseg.TR))
    load_system(p, CODE, Reg.T7, 0, Size.W)
    branch(p, Cond.NZ, fault(Vector.TS, CODE), Alu.AND, CODE, K(4))
    fetch(p, CODE, LOW, HIGH, ADDRESS, fault(Vector.TS, CODE))
    check(p, Check.TSS_BUSY, HIGH, CODE)
    mov(p, TARGET, Src.NEXT)
    mov(p, TASK_REASON, K(RETURN), next=Next.JUMP, target="task_switch")
