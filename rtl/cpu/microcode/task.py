"""Hardware task switch through 32-bit and 16-bit TSS (SDM vol. 3A, 7.3), and task gates.

Routine "task_switch": T0 the selector of the new TSS, T4-T6 its checked descriptor (low, high, address), T1 the EIP to
save, T3 the reason. Order: limit; translation of all that is touched in both TSS; memory changes (busy bit of the old
task, its registers, the link, busy bit of the new task); the commit point, from where faults belong to the new task;
LDTR, CS, SS, DS, ES, FS, GS checked and loaded in this order.

RF is saved as an event pushes it; an instruction that switches tasks has cleared it (SDM vol. 3B, 18.3.1.1).
"""
from rtl.cpu.descriptor_check import Check
from rtl.cpu.microasm import K, Program, Y
from rtl.cpu.uop import Alu, Aseg, Cond, Mem, Next, Reg, Size, Src, Status, Sys
from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode
from rtl.isa.registers import DR7_LOCAL, Eflags
from rtl.isa.svm import TASK_HAS_ERROR, TASK_IRET, TASK_JUMP
from rtl.isa.tss import TSS16_MIN_LIMIT, TSS16_SAVED, TSS32_MIN_LIMIT, TSS32_SAVED, Tss16, Tss32

from .macros import (
    ACCESS_PLACE,
    HIGH_BUSY,
    HIGH_GATE32,
    LIBRARY,
    branch,
    branch_status,
    check,
    fault,
    fetch,
    flush,
    jump,
    load_cache,
    load_null,
    load_system,
    mark_accessed,
    mov,
    null_check,
    op,
    set_type_bit,
    stack,
    system,
    width_of,
    write,
)

# Bits of the reason.
NESTS, LEAVES, RETURNS, DELIVERS, WIDE, TRAPS = (1 << bit for bit in range(6))
JUMP, CALL, RETURN, EVENT = LEAVES, NESTS, LEAVES | RETURNS, NESTS | DELIVERS

_GENERAL = (Reg.EAX, Reg.ECX, Reg.EDX, Reg.EBX, Reg.ESP, Reg.EBP, Reg.ESI, Reg.EDI)
_SEGMENTS = (Aseg.ES, Aseg.CS, Aseg.SS, Aseg.DS, Aseg.FS, Aseg.GS)
_LOAD_ORDER = (Aseg.DS, Aseg.ES, Aseg.FS, Aseg.GS)

TASK, EIP, FLAGS, REASON, LOW, HIGH, ADDRESS = (
    Reg.T0, Reg.T1, Reg.T2, Reg.T3, Reg.T4, Reg.T5, Reg.T6)
CR3, LDT, BASE = Reg.T7, Reg.T14, Reg.T15
SELECTORS = dict(zip(_SEGMENTS, (Reg.T8, Reg.T9, Reg.T10, Reg.T11, Reg.T12, Reg.T13), strict=True))


@LIBRARY.routine("task_gate")
def task_gate(p: Program) -> None:
    """T4 is the lower half of a checked task gate."""
    op(p, Alu.SHR, TASK, LOW, K(16))
    null_check(p, TASK, fault(Vector.GP, TASK))
    branch(p, Cond.NZ, fault(Vector.GP, TASK), Alu.AND, TASK, K(4))
    fetch(p, TASK, LOW, HIGH, ADDRESS, fault(Vector.GP, TASK))
    check(p, Check.TSS_AVAILABLE, HIGH, TASK)
    jump(p, "task_switch")


def _reason(p: Program, target: str, bit: int, cond: Cond = Cond.NZ) -> None:
    branch(p, cond, target, Alu.AND, REASON, K(bit))


def _span(p: Program, mem: Mem, first: int, last: int) -> None:
    """Translate both ends of a part of the TSS at BASE."""
    p(**system(mem, BASE, first, Size.B))
    p(**system(mem, BASE, last, Size.B))


def _save(p: Program, saved, width: int, segments) -> None:
    """Write EIP, flags, registers and selectors to the TSS at BASE, in order of offset."""
    size = width_of(width)
    values = [EIP, FLAGS, *_GENERAL, *(Y(Sys.SEL, sreg) for sreg in segments)]
    for place, value in zip(saved, values, strict=True):
        store = size if not isinstance(value, Y) else Size.W
        mov(p, Reg.NONE, value, **system(Mem.STORE, BASE, place.value, store))


def _new_base(p: Program) -> None:
    """BASE = address of the new TSS, from its descriptor."""
    op(p, Alu.SHR, BASE, LOW, K(16))
    op(p, Alu.AND, LDT, HIGH, K(0xFF))
    op(p, Alu.SHL, LDT, LDT, K(16))
    op(p, Alu.OR, BASE, BASE, LDT)
    op(p, Alu.AND, LDT, HIGH, K(0xFF00_0000))
    op(p, Alu.OR, BASE, BASE, LDT)


@LIBRARY.routine("task_switch")
def task_switch(p: Program) -> None:
    # limit, and what can be touched; the intercept comes between the two
    p(alu=Alu.LIMIT, a=HIGH, b=LOW, dst=CR3)
    branch(p, Cond.Z, "limit16", Alu.AND, HIGH, K(HIGH_GATE32))
    op(p, Alu.OR, REASON, REASON, K(WIDE))
    branch(p, Cond.C, fault(Vector.TS, TASK), Alu.SUB, CR3, K(TSS32_MIN_LIMIT))
    p.label("old")
    mov(p, FLAGS, Y(Sys.EFLAGS))
    _reason(p, "keeps_rf", DELIVERS)
    op(p, Alu.AND, FLAGS, FLAGS, K(0xFFFF_FFFF & ~int(Eflags.RF)))
    p.label("keeps_rf")
    branch_status(p, "intercepted", Status.TASK_INTERCEPT)
    mov(p, BASE, Y(Sys.BASE, Aseg.TR))
    branch_status(p, "old16", Status.TSS32, cond=Cond.Z)
    _span(p, Mem.RMW, TSS32_SAVED[0].value, TSS32_SAVED[-1].value + 3)
    p.label("new")
    _new_base(p)
    _reason(p, "new16", WIDE, Cond.Z)
    _span(p, Mem.LOAD, 0, TSS32_MIN_LIMIT)
    p.label("link")
    _reason(p, "no_link", NESTS, Cond.Z)
    p(**system(Mem.RMW, BASE, 0, Size.W))
    p.label("no_link")

    # the old task
    _reason(p, "stays_busy", LEAVES, Cond.Z)
    mov(p, Reg.T8, Y(Sys.SEL, Aseg.TR))
    fetch(p, Reg.T8, Reg.T9, Reg.T10, Reg.T11, fault(Vector.TS, Reg.T8))
    op(p, Alu.AND, Reg.T10, Reg.T10, K(0xFFFF_FFFF & ~HIGH_BUSY))
    op(p, Alu.SHR, Reg.T10, Reg.T10, K(8))
    mov(p, Reg.NONE, Reg.T10, size=Size.B, **system(Mem.STORE, Reg.T11, ACCESS_PLACE, Size.B))
    p.label("stays_busy")
    _reason(p, "keeps_nt", RETURNS, Cond.Z)
    op(p, Alu.AND, FLAGS, FLAGS, K(0xFFFF_FFFF & ~int(Eflags.NT)))
    p.label("keeps_nt")
    mov(p, BASE, Y(Sys.BASE, Aseg.TR))
    branch_status(p, "save16", Status.TSS32, cond=Cond.Z)
    _save(p, TSS32_SAVED, 4, _SEGMENTS)
    p.label("saved")

    # the new task
    _new_base(p)
    _reason(p, "not_linked", NESTS, Cond.Z)
    mov(p, Reg.NONE, Y(Sys.SEL, Aseg.TR), **system(Mem.STORE, BASE, 0, Size.W))
    p.label("not_linked")
    _reason(p, "is_busy", RETURNS)
    mov(p, Reg.T8, BASE)
    set_type_bit(p, HIGH, ADDRESS, HIGH_BUSY)
    mov(p, BASE, Reg.T8)
    p.label("is_busy")
    load_cache(p, Aseg.TR, TASK, LOW, HIGH)
    _reason(p, "load16", WIDE, Cond.Z)
    load_system(p, LDT, BASE, Tss32.T.value, Size.W)
    op(p, Alu.AND, LDT, LDT, K(1))
    op(p, Alu.SHL, LDT, LDT, K(TRAPS.bit_length() - 1))
    op(p, Alu.OR, REASON, REASON, LDT)
    load_system(p, CR3, BASE, Tss32.CR3.value)
    load_system(p, EIP, BASE, Tss32.EIP.value)
    load_system(p, FLAGS, BASE, Tss32.EFLAGS.value)
    for number, register in enumerate(_GENERAL):
        load_system(p, register, BASE, Tss32.EAX.value + 4 * number)
    for number, register in enumerate(SELECTORS.values()):
        load_system(p, register, BASE, Tss32.ES.value + 4 * number, Size.W)
    load_system(p, LDT, BASE, Tss32.LDT.value, Size.W)
    branch_status(p, "loaded", Status.PG, cond=Cond.Z)
    write(p, Sys.CR3, CR3)
    p.label("loaded")
    _reason(p, "not_nested", NESTS, Cond.Z)
    op(p, Alu.OR, FLAGS, FLAGS, K(int(Eflags.NT)))
    p.label("not_nested")
    _commit(p)
    _load_segments(p)
    _finish(p)

    def small() -> None:
        p.label("limit16")
        branch(p, Cond.C, fault(Vector.TS, TASK), Alu.SUB, CR3, K(TSS16_MIN_LIMIT))
        jump(p, "old")
        p.label("old16")
        _span(p, Mem.RMW, TSS16_SAVED[0].value, TSS16_SAVED[-1].value + 1)
        jump(p, "new")
        p.label("new16")
        _span(p, Mem.LOAD, 0, TSS16_MIN_LIMIT)
        jump(p, "link")
        p.label("save16")
        _save(p, TSS16_SAVED, 2, _SEGMENTS[:4])
        jump(p, "saved")
        p.label("load16")
        load_system(p, EIP, BASE, Tss16.IP.value, Size.W)
        load_system(p, FLAGS, BASE, Tss16.FLAGS.value, Size.W)
        for number, register in enumerate(_GENERAL):
            load_system(p, register, BASE, Tss16.AX.value + 2 * number, Size.W)
        for number, sreg in enumerate(_SEGMENTS[:4]):
            load_system(p, SELECTORS[sreg], BASE, Tss16.ES.value + 2 * number, Size.W)
        mov(p, SELECTORS[Aseg.FS], Src.ZERO)
        mov(p, SELECTORS[Aseg.GS], Src.ZERO)
        load_system(p, LDT, BASE, Tss16.LDT.value, Size.W)
        jump(p, "loaded")

    p.defer(small)
    p.defer(lambda: _exit(p))


def _exit(p: Program) -> None:
    """#VMEXIT in place of the task switch. AMD64 APM vol. 2, 15.14.1."""
    p.label("intercepted")
    write(p, Sys.EXIT_INFO1, TASK)
    op(p, Alu.AND, FLAGS, FLAGS, K(int(Eflags.RF)))
    _reason(p, "delivers", DELIVERS)
    _reason(p, "exit", LEAVES, Cond.Z)
    _reason(p, "jumps", RETURNS, Cond.Z)
    op(p, Alu.OR, FLAGS, FLAGS, K(TASK_IRET >> 32))
    write(p, Sys.NMI_UNBLOCK, K(1))
    p.label("exit")
    write(p, Sys.EXIT_INFO2_HI, FLAGS)
    write(p, Sys.FORCE_EXIT, K(ExitCode.TASK_SWITCH.value), next=Next.END)
    p.label("jumps")
    op(p, Alu.OR, FLAGS, FLAGS, K(TASK_JUMP >> 32), next=Next.JUMP, target="exit")
    p.label("delivers")
    branch_status(p, "exit", Status.HAS_ERROR, cond=Cond.Z)
    mov(p, Reg.T8, Y(Sys.EERROR))
    write(p, Sys.EXIT_INFO2, Reg.T8)
    op(p, Alu.OR, FLAGS, FLAGS, K(TASK_HAS_ERROR >> 32), next=Next.JUMP, target="exit")


def _commit(p: Program) -> None:
    """The processor belongs to the new task, with selectors but no segments yet."""
    write(p, Sys.TS, K(1))
    op(p, Alu.AND, BASE, Y(Sys.DR7), K(0xFFFF_FFFF & ~int(DR7_LOCAL)))
    write(p, Sys.DR7, BASE)
    write(p, Sys.EFLAGS, FLAGS)
    for sreg, register in SELECTORS.items():
        load_null(p, sreg, register)
    load_null(p, Aseg.LDTR, LDT)
    write(p, Sys.EEIP, EIP)


def _load_segments(p: Program) -> None:
    low, high, address, level = LOW, HIGH, ADDRESS, CR3
    code, ss = SELECTORS[Aseg.CS], SELECTORS[Aseg.SS]
    null_check(p, LDT, "no_ldt")
    branch(p, Cond.NZ, fault(Vector.TS, LDT), Alu.AND, LDT, K(4))
    fetch(p, LDT, low, high, address, fault(Vector.TS, LDT))
    check(p, Check.TASK_LDT, high, LDT)
    load_cache(p, Aseg.LDTR, LDT, low, high)
    p.label("no_ldt")
    op(p, Alu.AND, level, code, K(3))
    write(p, Sys.CPL, level)
    write(p, Sys.NCPL, level)
    null_check(p, code, fault(Vector.TS))
    fetch(p, code, low, high, address, fault(Vector.TS, code))
    check(p, Check.TASK_CODE, high, code)
    mark_accessed(p, high, address)
    load_cache(p, Aseg.CS, code, low, high)
    null_check(p, ss, fault(Vector.TS))
    fetch(p, ss, low, high, address, fault(Vector.TS, ss))
    check(p, Check.INNER_STACK, high, ss)
    mark_accessed(p, high, address)
    load_cache(p, Aseg.SS, ss, low, high)
    for sreg in _LOAD_ORDER:
        selector, done = SELECTORS[sreg], p.unique("done")
        null_check(p, selector, done)
        fetch(p, selector, low, high, address, fault(Vector.TS, selector))
        check(p, Check.TASK_DATA, high, selector)
        mark_accessed(p, high, address)
        load_cache(p, sreg, selector, low, high)
        p.label(done)


def _finish(p: Program) -> None:
    """Push the error code of a delivery, if there is one, and go."""
    _reason(p, "go", DELIVERS, Cond.Z)
    branch_status(p, "error", Status.HAS_ERROR)
    p.label("go")
    op(p, Alu.SHR, BASE, REASON, K(TRAPS.bit_length() - 1))
    write(p, Sys.EVENT_DONE, BASE)
    flush(p, EIP)

    def push(width: int) -> None:
        mov(p, Reg.NONE, Y(Sys.EERROR), size=width_of(width), serial=1,
            **stack(Mem.STORE, Aseg.SS, Reg.ESP, -width, width_of(width)))
        op(p, Alu.SUB, Reg.ESP, Reg.ESP, K(width), size=Size.S)
        jump(p, "go")

    def aside() -> None:
        p.label("error")
        _reason(p, "error16", WIDE, Cond.Z)
        push(4)
        p.label("error16")
        push(2)

    p.defer(aside)
