"""Far JMP and CALL (SDM vol. 2A): code segments, call gates, task gates, TSS. Registers as in `transfer`."""
from rtl.cpu.descriptor_check import Check
from rtl.cpu.microasm import K, Program, Y
from rtl.cpu.uop import Alu, Aseg, Cond, Mem, Next, Reg, Size, Src, Status, Sys

from .macros import (
    HIGH_GATE32,
    HIGH_SEGMENT,
    LIBRARY,
    branch,
    branch_status,
    check,
    flush,
    jump,
    limit_check,
    mark_accessed,
    mov,
    op,
    probe_frame,
    stack,
    width_of,
    write_frame,
)
from .segments import far_pointer
from .task import CALL, JUMP
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
_CALL_GATE, _TASK_GATE = 0x400, 0x500
_COUNT = 0x1F


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
