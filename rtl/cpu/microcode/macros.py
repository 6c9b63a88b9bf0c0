"""What microprograms have in common: branches on status, faults, descriptors, segment loads, frames.

Each macro emits rows into the program it is given. Rare paths are deferred behind the program, so that the common path
runs straight through predicted-not-taken branches.
"""
from collections.abc import Callable

from rtl.cpu.descriptor_check import Check
from rtl.cpu.microasm import K, Library, Program, Y
from rtl.cpu.uop import Alu, Amode, Aseg, Cond, Mem, Next, Reg, Size, Src, Status, Step, Sys
from rtl.isa.exceptions import ERROR_IDT, Vector
from rtl.isa.segments import SELECTOR_INDEX, SELECTOR_TI

LIBRARY = Library()

#: Upper doubleword of a descriptor.
HIGH_ACCESSED = 1 << 8
HIGH_BUSY = 1 << 9
HIGH_CONFORMING = 1 << 10
HIGH_SEGMENT = 1 << 12
HIGH_DPL_SHIFT = 13
HIGH_P = 1 << 15
HIGH_GATE32 = 1 << 11
INDEX = SELECTOR_TI | SELECTOR_INDEX
#: Places in a descriptor, from its last byte, which is what `fetch` gives the address of.
LOW_PLACE, HIGH_PLACE, ACCESS_PLACE = -7, -3, -2


def fault(vector: Vector, selector: Reg | None = None) -> str:
    """The routine that raises `vector` with the error code of a selector, or with 0 (plus EXT in both cases)."""
    return f"fault.{vector.name}" + ("" if selector is None else f".{selector.name}")


def idt_fault(entry: Reg) -> str:
    """The routine that raises #GP for the IDT entry at the offset in `entry`."""
    return f"fault.IDT.{entry.name}"


def _make_fault(name: str) -> Callable[[Program], None] | None:
    kind, _, rest = name.partition(".")
    if kind != "fault":
        return None
    vector_name, _, reg_name = rest.partition(".")

    def build(p: Program) -> None:
        code: Reg | Y = Y(Sys.EXT)
        vector = Vector.GP if vector_name == "IDT" else Vector[vector_name]
        if reg_name:
            code = Reg.T15
            if vector_name == "IDT":
                op(p, Alu.OR, code, Reg[reg_name], K(ERROR_IDT))
            else:
                op(p, Alu.AND, code, Reg[reg_name], K(INDEX))
            op(p, Alu.OR, code, code, Y(Sys.EXT))
        p(alu=Alu.FAULT, a=code, const=vector.value)

    return build


LIBRARY.fallback = _make_fault


def op(p: Program, alu: Alu, dst: Reg, a, b, size: Size = Size.D, **fields) -> None:
    """dst = alu(a, b)."""
    p(alu=alu, a=a, b=b, dst=dst, size=size, **fields)


def mov(p: Program, dst: Reg, src, size: Size = Size.D, **fields) -> None:
    p(alu=Alu.MOV, b=src, dst=dst, size=size, **fields)


def write(p: Program, sys: Sys, src, sreg: Aseg = Aseg.ES, **fields) -> None:
    """A system register becomes `src`."""
    p(alu=Alu.WRSYS, b=src, sys=sys, sreg=sreg, **fields)


def branch(p: Program, cond: Cond, target: str, alu: Alu, a, b=Src.ZERO, size: Size = Size.D, **fields) -> None:
    """Go to `target` when `cond` holds for alu(a, b); the result is not kept."""
    p(alu=alu, a=a, b=b, size=size, next=Next.BR, cond=cond, target=target, **fields)


def mask(*bits: Status) -> int:
    return sum(1 << bit for bit in bits)


def status() -> Y:
    """The status bits; TSS32 is about the segment that the row names, which is TR."""
    return Y(Sys.STATUS, Aseg.TR)


def branch_status(p: Program, target: str, *bits: Status, cond: Cond = Cond.NZ) -> None:
    """Go to `target` when any of the status bits is set (`cond` NZ), or none (Z)."""
    branch(p, cond, target, Alu.AND, status(), K(mask(*bits)))


def jump(p: Program, target: str) -> None:
    p(next=Next.JUMP, target=target)


def flush(p: Program, target=Src.NEXT, **fields) -> None:
    """Continue at `target` with a new fetch, its limit unchecked: after changes of paging, privilege or CS."""
    p(alu=Alu.JMPI, a=target, sreg=Aseg.CS, next=Next.END, **fields)


def drain(p: Program) -> None:
    """End once what was written for the A stage has arrived there."""
    p(serial=1, next=Next.END)


def modrm(mem: Mem, width: Size) -> dict:
    """The memory access of the ModRM operand."""
    return dict(mem=mem, amode=Amode.MODRM, aseg=Aseg.EFF, width=width)


def operand_offset(p: Program, dst: Reg) -> None:
    """The offset of the ModRM operand, to reach behind its first part (`beside`)."""
    mov(p, dst, Src.ADDR, amode=Amode.MODRM, aseg=Aseg.LIN)


def beside(mem: Mem, base: Reg, disp: int, width: Size) -> dict:
    """An access beside the ModRM operand, `base` from `operand_offset`."""
    return dict(mem=mem, amode=Amode.BASE, base=base, disp=disp, aseg=Aseg.EFF, width=width)


def pop(width: Size = Size.V) -> dict:
    """The memory access of a POP that also moves ESP; ESP comes back if a later row faults."""
    return dict(mem=Mem.LOAD, width=width, amode=Amode.POP, base=Reg.ESP, aseg=Aseg.SS, step=Step.POP)


def push(width: Size = Size.V) -> dict:
    return dict(mem=Mem.STORE, width=width, amode=Amode.PUSH, base=Reg.ESP, aseg=Aseg.SS, step=Step.PUSH)


def system(mem: Mem, base: Reg, disp: int, width: Size = Size.D) -> dict:
    """An access of the processor itself at the linear address base + disp."""
    return dict(mem=mem, amode=Amode.FLAT, base=base, disp=disp, width=width, aseg=Aseg.LIN, supervisor=1)


def physical(mem: Mem, base: Reg, disp: int, width: Size = Size.D) -> dict:
    """An access at the physical address base + disp."""
    return dict(mem=mem, amode=Amode.FLAT, base=base, disp=disp, width=width, aseg=Aseg.PHYS)


def load_system(p: Program, dst: Reg, base: Reg, disp: int, width: Size = Size.D) -> None:
    mov(p, dst, Src.MEM, **system(Mem.LOAD, base, disp, width))


def by_operand_size(p: Program, emit: Callable[[int], None]) -> None:
    """`emit(4)` here, and `emit(2)` aside for a 16-bit operand size; both continue behind."""
    small, done = p.unique("small"), p.unique("done")
    branch_status(p, small, Status.OPSIZE16)
    emit(4)
    p.label(done)

    def aside() -> None:
        p.label(small)
        emit(2)
        p.rows[-1].update(next=Next.JUMP, target=done)

    p.defer(aside)


def width_of(size: int) -> Size:
    return {1: Size.B, 2: Size.W, 4: Size.D}[size]


# Descriptors

def null_check(p: Program, selector: Reg, target: str) -> None:
    """Go to `target` for a null selector."""
    branch(p, Cond.Z, target, Alu.AND, selector, K(INDEX))


def fetch(p: Program, selector: Reg, low: Reg, high: Reg, address: Reg, beyond: str) -> None:
    """Read the descriptor a selector names, or go to `beyond`. `address` becomes that of its last byte."""
    local, found = p.unique("local"), p.unique("found")
    op(p, Alu.OR, high, selector, K(7))
    branch(p, Cond.NZ, local, Alu.AND, selector, K(SELECTOR_TI))
    # the limit check fills the time until the address can be used
    op(p, Alu.ADD, address, high, Y(Sys.GDT_BASE))
    branch(p, Cond.C, beyond, Alu.SUB, Y(Sys.GDT_LIMIT), high)
    p.label(found)
    load_system(p, low, address, LOW_PLACE)
    load_system(p, high, address, HIGH_PLACE)

    def aside() -> None:
        p.label(local)
        branch(p, Cond.Z, beyond, Alu.AND, Y(Sys.ATTR, Aseg.LDTR), K(HIGH_P))
        branch(p, Cond.C, beyond, Alu.SUB, Y(Sys.LIMIT, Aseg.LDTR), high)
        op(p, Alu.ADD, address, high, Y(Sys.BASE, Aseg.LDTR), next=Next.JUMP, target=found)

    p.defer(aside)


def check(p: Program, kind: Check, high: Reg, selector: Reg) -> None:
    p(alu=Alu.CHECK, a=high, b=selector, const=kind.value)


def mark_accessed(p: Program, high: Reg, address: Reg) -> None:
    """Set the accessed bit of a descriptor in memory and in `high`, where it is clear."""
    mark, done = p.unique("mark"), p.unique("marked")
    branch(p, Cond.Z, mark, Alu.AND, high, K(HIGH_ACCESSED))
    p.label(done)

    def aside() -> None:
        p.label(mark)
        set_type_bit(p, high, address, HIGH_ACCESSED)
        p.rows[-1].update(next=Next.JUMP, target=done)

    p.defer(aside)


def set_type_bit(p: Program, high: Reg, address: Reg, bit: int) -> None:
    """Set a bit of the descriptor's access byte, in memory and in `high`."""
    op(p, Alu.OR, high, high, K(bit))
    op(p, Alu.SHR, Reg.T15, high, K(8))
    mov(p, Reg.NONE, Reg.T15, size=Size.B, **system(Mem.STORE, address, ACCESS_PLACE, Size.B))


def load_cache(p: Program, sreg: Aseg, selector, low, high) -> None:
    """A segment register takes a checked descriptor."""
    write(p, Sys.SEL, selector, sreg)
    p(alu=Alu.DESC, a=high, b=low, sreg=sreg)


def load_null(p: Program, sreg: Aseg, selector) -> None:
    """A segment register becomes unusable: base, limit and attributes are zero."""
    load_cache(p, sreg, selector, Src.ZERO, Src.ZERO)


def load_data_segment(p: Program, sreg: Aseg, selector: Reg) -> None:
    """Load ES, DS, FS or GS: selector in `selector`. Uses T4, T5, T6, T15."""
    null, done = p.unique("null"), p.unique("loaded")
    null_check(p, selector, null)
    fetch(p, selector, Reg.T4, Reg.T5, Reg.T6, fault(Vector.GP, selector))
    check(p, Check.DATA, Reg.T5, selector)
    mark_accessed(p, Reg.T5, Reg.T6)
    load_cache(p, sreg, selector, Reg.T4, Reg.T5)
    p.label(done)

    def aside() -> None:
        p.label(null)
        load_null(p, sreg, selector)
        p.rows[-1].update(next=Next.JUMP, target=done)

    p.defer(aside)


def load_stack_segment(p: Program, selector: Reg) -> None:
    """Load SS at CPL: selector in `selector`. Uses T4, T5, T6, T15."""
    null_check(p, selector, fault(Vector.GP))
    fetch(p, selector, Reg.T4, Reg.T5, Reg.T6, fault(Vector.GP, selector))
    check(p, Check.STACK, Reg.T5, selector)
    mark_accessed(p, Reg.T5, Reg.T6)
    load_cache(p, Aseg.SS, selector, Reg.T4, Reg.T5)
    write(p, Sys.SHADOW, Src.ZERO)


def limit_check(p: Program, low: Reg, high: Reg, eip: Reg) -> None:
    """#GP(0) when `eip` is beyond the limit of a code descriptor. Uses T15."""
    p(alu=Alu.LIMIT, a=high, b=low, dst=Reg.T15)
    branch(p, Cond.C, fault(Vector.GP), Alu.SUB, Reg.T15, eip)


def selector_with_rpl(p: Program, dst: Reg, selector: Reg, level) -> None:
    """dst = selector with RPL replaced."""
    op(p, Alu.AND, dst, selector, K(INDEX))
    op(p, Alu.OR, dst, dst, level)


# Frames

def stack(mem: Mem, aseg: Aseg, base: Reg, disp: int, width: Size, inner: bool = False) -> dict:
    """An access to a stack, by the B bit of its segment; `inner` with the rights of a level below 3."""
    return dict(mem=mem, amode=Amode.STACK, base=base, disp=disp, aseg=aseg, width=width, supervisor=int(inner))


def probe_frame(p: Program, aseg: Aseg, base: Reg, size: int, width: int, inner: bool = False) -> None:
    """Check that `size` bytes below `base` can be written: its lowest and its highest value, in this order."""
    for disp in dict.fromkeys((-size, -width)):
        p(**stack(Mem.RMW, aseg, base, disp, width_of(width), inner))


def write_frame(p: Program, aseg: Aseg, base: Reg, values, width: int, inner: bool = False) -> None:
    """Store `values` below `base`, the highest first; `base` stays."""
    for number, value in enumerate(values, 1):
        mov(p, Reg.NONE, value, size=width_of(width),
            **stack(Mem.STORE, aseg, base, -number * width, width_of(width), inner))
