"""Control, debug and table registers, translation and caches, SYSENTER, HLT.

CPL and IOPL of instructions that the opcode table marks `cpl0` or `iopl` are checked before their first row.
"""
from rtl.cpu.microasm import K, Program, Y
from rtl.cpu.uop import Alu, Amode, Aseg, Cond, Mem, Next, Reg, Size, Src, Status, Sys
from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import CR_READ, DR_READ, DR_WRITE, ExitCode
from rtl.isa.registers import CR4_WRITABLE, Cr0, Dr6, Eflags
from rtl.isa.segments import ACCESS_CODE, ACCESS_DATA, ACCESS_DPL3, FLAGS_FLAT32

from .macros import (
    INDEX,
    LIBRARY,
    beside,
    branch,
    branch_status,
    fault,
    flush,
    jump,
    load_cache,
    modrm,
    mov,
    op,
    operand_offset,
    write,
)
from .segments import selector_operand

_GP0 = fault(Vector.GP)
_ALL = 0xFFFF_FFFF


# Control registers

@LIBRARY.program("mov_cr0")
def mov_cr0(p: Program) -> None:
    op(p, Alu.AND, Reg.T1, Reg.RM, K(int(Cr0.NW | Cr0.CD)))
    # there is no real mode
    branch(p, Cond.Z, _GP0, Alu.AND, Reg.RM, K(int(Cr0.PE)))
    branch(p, Cond.Z, _GP0, Alu.SUB, Reg.T1, K(int(Cr0.NW)))
    mov(p, Reg.T0, Reg.RM, a=Src.RM_NUMBER, intercept=ExitCode.CR0_WRITE)
    write(p, Sys.CR0, Reg.T0, a=Src.RM_NUMBER, intercept=ExitCode.CR0_SEL_WRITE)
    flush(p)


@LIBRARY.program("mov_cr2")
def mov_cr2(p: Program) -> None:
    write(p, Sys.CR2, Reg.RM, a=Src.RM_NUMBER, intercept=ExitCode.CR2_WRITE)


@LIBRARY.program("mov_cr3")
def mov_cr3(p: Program) -> None:
    write(p, Sys.CR3, Reg.RM, a=Src.RM_NUMBER, intercept=ExitCode.CR3_WRITE)
    flush(p)


@LIBRARY.program("mov_cr4")
def mov_cr4(p: Program) -> None:
    mov(p, Reg.T0, Reg.RM)
    branch(p, Cond.NZ, _GP0, Alu.AND, Reg.T0, K(_ALL & ~int(CR4_WRITABLE)))
    write(p, Sys.CR4, Reg.T0, a=Src.RM_NUMBER, intercept=ExitCode.CR4_WRITE)
    flush(p)


def _read_control(p: Program, number: int, sys: Sys) -> None:
    mov(p, Reg.RM, Y(sys), a=Src.RM_NUMBER, intercept=CR_READ + number)


CONTROL = {0: Sys.CR0, 2: Sys.CR2, 3: Sys.CR3, 4: Sys.CR4}
for _number, _sys in CONTROL.items():
    LIBRARY.program(f"mov_r_cr{_number}", number=_number, sys=_sys)(_read_control)


def _smsw(p: Program, in_memory: bool) -> None:
    """A word in memory; as much as the operand size holds in a register."""
    if in_memory:
        mov(p, Reg.NONE, Y(Sys.CR0), size=Size.W, intercept=ExitCode.CR0_READ, **modrm(Mem.STORE, Size.W))
    else:
        mov(p, Reg.RM, Y(Sys.CR0), size=Size.V, intercept=ExitCode.CR0_READ)


def _lmsw(p: Program, in_memory: bool) -> None:
    """Changes MP, EM and TS, and can set PE.

    The selective CR0 write intercept is for LMSW whatever it changes; both intercepts come before the access.
    """
    if in_memory:
        p(intercept=ExitCode.CR0_WRITE)
        p(intercept=ExitCode.CR0_SEL_WRITE)
        selector_operand(p, in_memory)
        op(p, Alu.AND, Reg.T0, Reg.T0, K(int(Cr0.PE | Cr0.MP | Cr0.EM | Cr0.TS)))
    else:
        selector_operand(p, in_memory, intercept=ExitCode.CR0_WRITE)
        op(p, Alu.AND, Reg.T0, Reg.T0, K(int(Cr0.PE | Cr0.MP | Cr0.EM | Cr0.TS)), intercept=ExitCode.CR0_SEL_WRITE)
    op(p, Alu.AND, Reg.T1, Y(Sys.CR0), K(_ALL & ~int(Cr0.MP | Cr0.EM | Cr0.TS)))
    op(p, Alu.OR, Reg.T1, Reg.T1, Reg.T0)
    write(p, Sys.CR0, Reg.T1)
    flush(p)


for _form, _in_memory in {"r": False, "m": True}.items():
    LIBRARY.program(f"smsw_{_form}", in_memory=_in_memory)(_smsw)
    LIBRARY.program(f"lmsw_{_form}", in_memory=_in_memory)(_lmsw)


@LIBRARY.program("clts")
def clts(p: Program) -> None:
    write(p, Sys.TS, Src.ZERO, intercept=ExitCode.CR0_WRITE)


# Debug registers

def _debug_access(p: Program) -> None:
    """#UD for DR4 and DR5 with CR4.DE, then #DB with DR6.BD while DR7.GD is set."""
    p()
    branch_status(p, "refused", Status.DR_UD, Status.DR_GD)

    def refused() -> None:
        p.label("refused")
        branch_status(p, fault(Vector.UD), Status.DR_UD)
        op(p, Alu.OR, Reg.T0, Y(Sys.DR6), K(int(Dr6.BD)))
        write(p, Sys.DR6, Reg.T0)
        jump(p, fault(Vector.DB))

    p.defer(refused)


@LIBRARY.program("mov_r_dr")
def mov_r_dr(p: Program) -> None:
    _debug_access(p)
    mov(p, Reg.RM, Y(Sys.DR), a=Src.RM_NUMBER, intercept=DR_READ)


@LIBRARY.program("mov_dr_r")
def mov_dr_r(p: Program) -> None:
    _debug_access(p)
    write(p, Sys.DR, Reg.RM, a=Src.RM_NUMBER, intercept=DR_WRITE)
    flush(p)


# Descriptor-table registers

def _load_table(p: Program, base: Sys, limit: Sys, code: ExitCode) -> None:
    """A 16-bit operand size takes 24 bits of base."""
    mov(p, Reg.T0, Src.MEM, intercept=code, **modrm(Mem.LOAD, Size.W))
    operand_offset(p, Reg.T2)
    mov(p, Reg.T1, Src.MEM, **beside(Mem.LOAD, Reg.T2, 2, Size.D))
    branch_status(p, "small", Status.OPSIZE16)
    p.label("load")
    write(p, limit, Reg.T0)
    write(p, base, Reg.T1, next=Next.END)
    p.label("small")
    op(p, Alu.AND, Reg.T1, Reg.T1, K(0xFF_FFFF), next=Next.JUMP, target="load")


def _store_table(p: Program, base: Sys, limit: Sys, code: ExitCode) -> None:
    """Six bytes, the base in full whatever the operand size."""
    p(intercept=code, **modrm(Mem.RMW, Size.W))
    operand_offset(p, Reg.T2)
    p(**beside(Mem.RMW, Reg.T2, 2, Size.D))
    mov(p, Reg.NONE, Y(limit), size=Size.W, **modrm(Mem.STORE, Size.W))
    mov(p, Reg.NONE, Y(base), **beside(Mem.STORE, Reg.T2, 2, Size.D))


for _table, _registers in {"gdt": (Sys.GDT_BASE, Sys.GDT_LIMIT), "idt": (Sys.IDT_BASE, Sys.IDT_LIMIT)}.items():
    for _kind, _build, _code in (("l", _load_table, f"{_table.upper()}R_WRITE"),
                                 ("s", _store_table, f"{_table.upper()}R_READ")):
        LIBRARY.program(f"{_kind}{_table}", base=_registers[0], limit=_registers[1],
                        code=ExitCode[_code])(_build)


# Translation and caches

@LIBRARY.program("invlpg")
def invlpg(p: Program) -> None:
    mov(p, Reg.T0, Src.ADDR, a=Src.ADDR, intercept=ExitCode.INVLPG, amode=Amode.MODRM, aseg=Aseg.EFF)
    write(p, Sys.INVLPG, Reg.T0)
    flush(p)


def _write_back(p: Program, code: ExitCode) -> None:
    """INVD is the same as WBINVD: it may write dirty lines back."""
    write(p, Sys.WBINVD, Src.ZERO, serial=1, intercept=code)
    flush(p)


LIBRARY.program("wbinvd", code=ExitCode.WBINVD)(_write_back)
LIBRARY.program("invd", code=ExitCode.INVD)(_write_back)


# Fast system calls

def _flat(access: int) -> int:
    """Upper doubleword of a flat 4 GiB descriptor."""
    return access << 8 | FLAGS_FLAT32 << 20 | 0xF_0000


_FLAT_LOW = K(0xFFFF)


def _fast_transfer(p: Program, dpl: int, code: Reg, ss: Reg) -> None:
    for sreg, selector, access in ((Aseg.CS, code, ACCESS_CODE), (Aseg.SS, ss, ACCESS_DATA)):
        mov(p, Reg.T4, K(_flat(access | dpl)))
        load_cache(p, sreg, selector, _FLAT_LOW, Reg.T4)
    write(p, Sys.CPL, K(3 if dpl else 0))


@LIBRARY.program("sysenter")
def sysenter(p: Program) -> None:
    op(p, Alu.AND, Reg.T0, Y(Sys.SYSENTER_CS), K(INDEX))
    branch(p, Cond.Z, _GP0, Alu.MOV, Src.ZERO, Reg.T0)
    op(p, Alu.ADD, Reg.T1, Reg.T0, K(8))
    op(p, Alu.AND, Reg.T2, Y(Sys.EFLAGS), K(_ALL & ~int(Eflags.IF | Eflags.RF | Eflags.VM)))
    write(p, Sys.EFLAGS, Reg.T2)
    _fast_transfer(p, 0, Reg.T0, Reg.T1)
    mov(p, Reg.ESP, Y(Sys.SYSENTER_ESP))
    flush(p, Y(Sys.SYSENTER_EIP, Aseg.CS))


@LIBRARY.program("sysexit")
def sysexit(p: Program) -> None:
    op(p, Alu.AND, Reg.T0, Y(Sys.SYSENTER_CS), K(INDEX))
    branch(p, Cond.Z, _GP0, Alu.MOV, Src.ZERO, Reg.T0)
    op(p, Alu.ADD, Reg.T1, Reg.T0, K(24 | 3))
    op(p, Alu.ADD, Reg.T0, Reg.T0, K(16 | 3))
    _fast_transfer(p, ACCESS_DPL3, Reg.T0, Reg.T1)
    mov(p, Reg.ESP, Reg.ECX)
    flush(p, Reg.EDX)


@LIBRARY.program("hlt")
def hlt(p: Program) -> None:
    p(alu=Alu.HALT, intercept=ExitCode.HLT)
