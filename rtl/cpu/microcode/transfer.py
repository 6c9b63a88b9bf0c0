"""What far transfers of every kind have in common: the descriptor of the target, gates, the stack of an inner level.

Registers: T0 selector of CS, T1 target EIP, T4-T6 its descriptor (low, high, address); T9 selector of the new SS,
T8 the new ESP, T11-T13 its descriptor, T10 the new CPL; T2 the upper half of a gate.
"""
from rtl.cpu.descriptor_check import Check
from rtl.cpu.microasm import K, Program, Y
from rtl.cpu.uop import Alu, Aseg, Cond, Reg, Size, Status, Sys
from rtl.isa.exceptions import Vector
from rtl.isa.tss import TSS16_STACK_STRIDE, TSS32_STACK_STRIDE, Tss16, Tss32

from .macros import (
    HIGH_CONFORMING,
    HIGH_DPL_SHIFT,
    HIGH_GATE32,
    branch,
    branch_status,
    check,
    fault,
    fetch,
    jump,
    load_cache,
    load_system,
    mov,
    null_check,
    op,
    selector_with_rpl,
    width_of,
    write,
)

CODE, TARGET, LOW, HIGH, ADDRESS = Reg.T0, Reg.T1, Reg.T4, Reg.T5, Reg.T6
NEW_ESP, NEW_SS, LEVEL, SS_LOW, SS_HIGH, SS_ADDRESS = Reg.T8, Reg.T9, Reg.T10, Reg.T11, Reg.T12, Reg.T13
GATE = Reg.T2
TASK_REASON = Reg.T3


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
