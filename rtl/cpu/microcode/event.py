"""Delivery of exceptions and interrupts (SDM vol. 3A, 6.12): the routine "event", and INT n, INT3, INTO, ICEBP.

The core enters "event" with the vector, the error code and the EIP to push in system registers, and decides what a
fault in the delivery becomes (#DF, shutdown). Registers as in `transfer`.
"""
from rtl.cpu.descriptor_check import Check
from rtl.cpu.microasm import K, Program, Y
from rtl.cpu.uop import Alu, Aseg, Cond, Next, Reg, Size, Src, Status, Sys
from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode
from rtl.isa.registers import Eflags

from .macros import (
    HIGH_GATE32,
    LIBRARY,
    branch,
    branch_status,
    check,
    flush,
    idt_fault,
    jump,
    limit_check,
    load_system,
    mark_accessed,
    mov,
    op,
    probe_frame,
    write,
    write_frame,
)
from .task import EVENT
from .transfer import (
    ADDRESS,
    CODE,
    GATE,
    HIGH,
    LOW,
    NEW_ESP,
    SS_ADDRESS,
    SS_HIGH,
    TARGET,
    TASK_REASON,
    enter_inner,
    fetch_code,
    gate_target,
    inner_or_same,
    inner_stack,
    load_code,
)

_TYPE = 0x700
_TASK_GATE = 0x500


def _same(p: Program, width: int, error: bool) -> None:
    values = [Y(Sys.EFLAGS), Y(Sys.SEL, Aseg.CS), Y(Sys.EEIP)] + [Y(Sys.EERROR)] * error
    size = width * len(values)
    limit_check(p, LOW, HIGH, TARGET)
    probe_frame(p, Aseg.SS, Reg.ESP, size, width)
    mark_accessed(p, HIGH, ADDRESS)
    write_frame(p, Aseg.SS, Reg.ESP, values, width)
    op(p, Alu.SUB, Reg.ESP, Reg.ESP, K(size), size=Size.S)
    load_code(p, Y(Sys.CPL))
    jump(p, "enter")


def _inner(p: Program, width: int, error: bool) -> None:
    values = [Y(Sys.SEL, Aseg.SS), Reg.ESP, Y(Sys.EFLAGS), Y(Sys.SEL, Aseg.CS), Y(Sys.EEIP)]
    values += [Y(Sys.EERROR)] * error
    size = width * len(values)
    limit_check(p, LOW, HIGH, TARGET)
    probe_frame(p, Aseg.TMP0, NEW_ESP, size, width, inner=True)
    mark_accessed(p, SS_HIGH, SS_ADDRESS)
    mark_accessed(p, HIGH, ADDRESS)
    write_frame(p, Aseg.TMP0, NEW_ESP, values, width, inner=True)
    op(p, Alu.SUB, NEW_ESP, NEW_ESP, K(size))
    enter_inner(p, NEW_ESP)
    jump(p, "enter")


@LIBRARY.routine("event")
def event(p: Program) -> None:
    entry = CODE
    op(p, Alu.SHL, entry, Y(Sys.EVECTOR), K(3))
    op(p, Alu.ADD, Reg.T7, entry, Y(Sys.IDT_BASE))
    op(p, Alu.OR, Reg.T8, entry, K(7))
    branch(p, Cond.C, idt_fault(entry), Alu.SUB, Y(Sys.IDT_LIMIT), Reg.T8)
    load_system(p, LOW, Reg.T7, 0)
    load_system(p, GATE, Reg.T7, 4)
    check(p, Check.IDT_GATE, GATE, entry)
    gate_target(p, LOW)
    op(p, Alu.AND, Reg.T7, GATE, K(_TYPE))
    branch(p, Cond.Z, "task", Alu.SUB, Reg.T7, K(_TASK_GATE))
    fetch_code(p)
    check(p, Check.TARGET, HIGH, CODE)
    inner_or_same(p, "inner")
    branch(p, Cond.Z, "same16", Alu.AND, GATE, K(HIGH_GATE32))
    branch_status(p, "same32_error", Status.HAS_ERROR)
    _same(p, 4, False)
    p.label("same32_error")
    _same(p, 4, True)
    p.label("same16")
    branch_status(p, "same16_error", Status.HAS_ERROR)
    _same(p, 2, False)
    p.label("same16_error")
    _same(p, 2, True)

    p.label("inner")
    inner_stack(p)
    branch(p, Cond.Z, "inner16", Alu.AND, GATE, K(HIGH_GATE32))
    branch_status(p, "inner32_error", Status.HAS_ERROR)
    _inner(p, 4, False)
    p.label("inner32_error")
    _inner(p, 4, True)
    p.label("inner16")
    branch_status(p, "inner16_error", Status.HAS_ERROR)
    _inner(p, 2, False)
    p.label("inner16_error")
    _inner(p, 2, True)

    p.label("enter")
    write(p, Sys.IFTF, GATE)
    write(p, Sys.EVENT_DONE, Src.ZERO)
    flush(p, TARGET)

    p.label("task")
    mov(p, TARGET, Y(Sys.EEIP))
    mov(p, TASK_REASON, K(EVENT), next=Next.JUMP, target="task_gate")


@LIBRARY.program("int")
def int_n(p: Program) -> None:
    p(alu=Alu.SOFTINT, a=Src.IMM, intercept=ExitCode.SWINT)


@LIBRARY.program("int3")
def int3(p: Program) -> None:
    p(alu=Alu.SOFTINT, a=K(Vector.BP.value))


@LIBRARY.program("icebp")
def icebp(p: Program) -> None:
    p(alu=Alu.SOFTINT, a=K(1), b=K(1), intercept=ExitCode.ICEBP)


@LIBRARY.program("into")
def into(p: Program) -> None:
    op(p, Alu.AND, Reg.T0, Y(Sys.EFLAGS), K(int(Eflags.OF)))
    branch(p, Cond.NZ, "overflow", Alu.MOV, Src.ZERO, Reg.T0)
    p(next=Next.END)
    p.label("overflow")
    p(alu=Alu.SOFTINT, a=K(Vector.OF.value))
