"""Segment registers: MOV Sreg, LxS, LLDT, LTR, SLDT, STR; and LAR, LSL, VERR, VERW, ARPL, which look at descriptors."""
from rtl.cpu.descriptor_check import Check
from rtl.cpu.microasm import K, Program, Y
from rtl.cpu.uop import Alu, Aseg, Cond, FlagSet, Mem, Next, Reg, Size, Src, Sys
from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode
from rtl.isa.segments import LAR_MASK, LAR_TYPES, LSL_TYPES

from .macros import (
    HIGH_BUSY,
    HIGH_DPL_SHIFT,
    INDEX,
    LIBRARY,
    beside,
    branch,
    by_operand_size,
    check,
    fault,
    fetch,
    load_cache,
    load_data_segment,
    load_null,
    load_stack_segment,
    modrm,
    mov,
    null_check,
    op,
    operand_offset,
    set_type_bit,
)

SELECTOR = Reg.T0
DATA_SEGMENTS = (Aseg.ES, Aseg.SS, Aseg.DS, Aseg.FS, Aseg.GS)
_ALL_SEGMENT_TYPES = 0xFFFF_0000


def selector_operand(p: Program, in_memory: bool, **fields) -> None:
    """T0 = the selector operand, zero-extended."""
    if in_memory:
        mov(p, SELECTOR, Src.MEM, **modrm(Mem.LOAD, Size.W), **fields)
    else:
        p(alu=Alu.ZX16, b=Reg.RM, dst=SELECTOR, **fields)


def _selector_then(p: Program, in_memory: bool, routine: str, **fields) -> None:
    """The selector operand goes to a routine in T0."""
    selector_operand(p, in_memory, next=Next.JUMP, target=routine, **fields)


@LIBRARY.routine("load_data")
def load_data(p: Program) -> None:
    """MOV and POP of ES, DS, FS, GS."""
    load_data_segment(p, Aseg.SREG, SELECTOR)
    p()


@LIBRARY.routine("load_stack")
def load_stack(p: Program) -> None:
    load_stack_segment(p, SELECTOR)


def _store_selector(p: Program, in_memory: bool, sreg: Aseg, **fields) -> None:
    """A word in memory; zero-extended to the operand size in a register."""
    if in_memory:
        mov(p, Reg.NONE, Y(Sys.SEL, sreg), size=Size.W, **modrm(Mem.STORE, Size.W), **fields)
    else:
        mov(p, Reg.RM, Y(Sys.SEL, sreg), size=Size.V, **fields)


def far_pointer(p: Program, offset: Reg, selector: Reg, address: Reg) -> None:
    """Load a far pointer operand; `offset` is zero-extended."""
    mov(p, offset, Src.MEM, **modrm(Mem.LOAD, Size.V))
    operand_offset(p, address)
    by_operand_size(p, lambda width: mov(p, selector, Src.MEM, **beside(Mem.LOAD, address, width, Size.W)))


def _load_far(p: Program, sreg: Aseg) -> None:
    far_pointer(p, Reg.T1, SELECTOR, Reg.T2)
    if sreg is Aseg.SS:
        load_stack_segment(p, SELECTOR)
    else:
        load_data_segment(p, sreg, SELECTOR)
    mov(p, Reg.REG, Reg.T1, size=Size.V)


for _form, _in_memory in {"r": False, "m": True}.items():
    LIBRARY.program(f"mov_{_form}_sreg", in_memory=_in_memory, sreg=Aseg.SREG)(_store_selector)
    LIBRARY.program(f"sldt_{_form}", in_memory=_in_memory, sreg=Aseg.LDTR,
                    intercept=ExitCode.LDTR_READ)(_store_selector)
    LIBRARY.program(f"str_{_form}", in_memory=_in_memory, sreg=Aseg.TR,
                    intercept=ExitCode.TR_READ)(_store_selector)
for _sreg in DATA_SEGMENTS:
    LIBRARY.program(f"l{_sreg.name.lower()}", sreg=_sreg)(_load_far)


@LIBRARY.routine("lldt")
def lldt(p: Program) -> None:
    null_check(p, SELECTOR, "null")
    branch(p, Cond.NZ, fault(Vector.GP, SELECTOR), Alu.AND, SELECTOR, K(4))
    fetch(p, SELECTOR, Reg.T4, Reg.T5, Reg.T6, fault(Vector.GP, SELECTOR))
    check(p, Check.LDT, Reg.T5, SELECTOR)
    load_cache(p, Aseg.LDTR, SELECTOR, Reg.T4, Reg.T5)
    p(next=Next.END)
    p.label("null")
    load_null(p, Aseg.LDTR, SELECTOR)


@LIBRARY.routine("ltr")
def ltr(p: Program) -> None:
    null_check(p, SELECTOR, fault(Vector.GP))
    branch(p, Cond.NZ, fault(Vector.GP, SELECTOR), Alu.AND, SELECTOR, K(4))
    fetch(p, SELECTOR, Reg.T4, Reg.T5, Reg.T6, fault(Vector.GP, SELECTOR))
    check(p, Check.TSS_AVAILABLE, Reg.T5, SELECTOR)
    set_type_bit(p, Reg.T5, Reg.T6, HIGH_BUSY)
    load_cache(p, Aseg.TR, SELECTOR, Reg.T4, Reg.T5)


def _refuse(p: Program) -> None:
    p.label("refuse")
    op(p, Alu.OR, Reg.NONE, Src.ZERO, K(1), flags=FlagSet.ZF, next=Next.END)


def _accept(p: Program) -> None:
    mov(p, Reg.NONE, Src.ZERO, flags=FlagSet.ZF, next=Next.END)


def _look(p: Program, types: int) -> None:
    """Fetch the descriptor of T0 into T4, T5, or go to "refuse": null, beyond its table, type, or privilege.

    `types` is a mask over the descriptor's S bit and type.
    """
    null_check(p, SELECTOR, "refuse")
    fetch(p, SELECTOR, Reg.T4, Reg.T5, Reg.T6, "refuse")
    op(p, Alu.SHR, Reg.T7, Reg.T5, K(8))
    op(p, Alu.AND, Reg.T7, Reg.T7, K(0x1F))
    op(p, Alu.SHR, Reg.T8, K(types), Reg.T7)
    branch(p, Cond.Z, "refuse", Alu.AND, Reg.T8, K(1))
    # conforming code may be looked at from every level
    op(p, Alu.AND, Reg.T7, Reg.T7, K(0x1C))
    branch(p, Cond.Z, "visible", Alu.SUB, Reg.T7, K(0x1C))
    op(p, Alu.SHR, Reg.T7, Reg.T5, K(HIGH_DPL_SHIFT))
    op(p, Alu.AND, Reg.T7, Reg.T7, K(3))
    branch(p, Cond.C, "refuse", Alu.SUB, Reg.T7, Y(Sys.CPL))
    op(p, Alu.AND, Reg.T8, SELECTOR, K(3))
    branch(p, Cond.C, "refuse", Alu.SUB, Reg.T7, Reg.T8)
    p.label("visible")


def _types(kinds) -> int:
    return sum(1 << kind.value for kind in kinds)


#: S bit and types that VERR and VERW accept: readable segments, writable segments.
READABLE = sum(1 << 16 + kind for kind in range(16) if not kind & 8 or kind & 2)
WRITABLE = sum(1 << 16 + kind for kind in range(16) if not kind & 8 and kind & 2)


@LIBRARY.routine("lar")
def lar(p: Program) -> None:
    _look(p, _types(LAR_TYPES) | _ALL_SEGMENT_TYPES)
    op(p, Alu.AND, Reg.REG, Reg.T5, K(LAR_MASK), size=Size.V)
    _accept(p)
    _refuse(p)


@LIBRARY.routine("lsl")
def lsl(p: Program) -> None:
    _look(p, _types(LSL_TYPES) | _ALL_SEGMENT_TYPES)
    p(alu=Alu.LIMIT, a=Reg.T5, b=Reg.T4, dst=Reg.T7)
    mov(p, Reg.REG, Reg.T7, size=Size.V)
    _accept(p)
    _refuse(p)


def _verify(p: Program, types: int) -> None:
    _look(p, types)
    _accept(p)
    _refuse(p)


def _arpl(p: Program, in_memory: bool) -> None:
    """The destination is written in both cases, as a read-modify-write is."""
    if in_memory:
        mov(p, Reg.T0, Src.MEM, **modrm(Mem.RMW, Size.W))
    else:
        p(alu=Alu.ZX16, b=Reg.RM, dst=Reg.T0)
    op(p, Alu.AND, Reg.T1, Reg.T0, K(3))
    op(p, Alu.AND, Reg.T2, Reg.REG, K(3))
    branch(p, Cond.C, "raise", Alu.SUB, Reg.T1, Reg.T2)
    if in_memory:
        mov(p, Reg.NONE, Reg.T0, size=Size.W, **modrm(Mem.STORE, Size.W))
    _refuse(p)
    p.label("raise")
    op(p, Alu.AND, Reg.T0, Reg.T0, K(INDEX))
    if in_memory:
        op(p, Alu.OR, Reg.NONE, Reg.T0, Reg.T2, size=Size.W, **modrm(Mem.STORE, Size.W))
    else:
        op(p, Alu.OR, Reg.RM, Reg.T0, Reg.T2, size=Size.W)
    _accept(p)


LIBRARY.routine("verr", types=READABLE)(_verify)
LIBRARY.routine("verw", types=WRITABLE)(_verify)
for _form, _in_memory in {"r": False, "m": True}.items():
    LIBRARY.program(f"mov_ss_{_form}", in_memory=_in_memory, routine="load_stack")(_selector_then)
    LIBRARY.program(f"mov_sreg_{_form}", in_memory=_in_memory, routine="load_data")(_selector_then)
    LIBRARY.program(f"lldt_{_form}", in_memory=_in_memory, routine="lldt",
                    intercept=ExitCode.LDTR_WRITE)(_selector_then)
    LIBRARY.program(f"ltr_{_form}", in_memory=_in_memory, routine="ltr", intercept=ExitCode.TR_WRITE)(_selector_then)
    for _name in ("lar", "lsl", "verr", "verw"):
        LIBRARY.program(f"{_name}_{_form}", in_memory=_in_memory, routine=_name)(_selector_then)
    LIBRARY.program(f"arpl_{_form}", in_memory=_in_memory)(_arpl)
