"""SVM: VMRUN and #VMEXIT, VMLOAD and VMSAVE, STGI, CLGI, VMMCALL, SKINIT, INVLPGA (AMD64 APM vol. 2, chapter 15).

EFER.SVME and CPL are checked by decode. A world switch is one row per word of the VMCB: registers are loaded and stored
as they lie there, fields of 64 bits with an upper half of zero. The host save area is laid out as the state-save area
of a VMCB; its upper halves are left alone, which saves time.
"""
from rtl.cpu.microasm import K, Program, Y
from rtl.cpu.uop import Alu, Amode, Aseg, Cond, Mem, Next, Reg, Size, Src, Status, Sys
from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode
from rtl.isa.msrs import EFER_SVME
from rtl.isa.registers import CR4_WRITABLE, DR7_FIXED, Cr0
from rtl.isa.svm import ASIDS, NP_ENABLE, REGION_BYTES, SegmentField, Vmcb

from .macros import LIBRARY, branch, branch_status, fault, flush, jump, mov, op, physical, write

_GP0 = fault(Vector.GP)
_ALL = 0xFFFF_FFFF
_SEGMENTS = (Aseg.ES, Aseg.CS, Aseg.SS, Aseg.DS)
_TABLES = {Vmcb.GDTR: (Sys.GDT_LIMIT, Sys.GDT_BASE), Vmcb.IDTR: (Sys.IDT_LIMIT, Sys.IDT_BASE)}
VMCB, HOST = Reg.T0, Reg.T1


def _load(p: Program, area: Reg, offset: int, sys: Sys, sreg: Aseg = Aseg.ES) -> None:
    """A system register becomes the word at `offset`."""
    write(p, sys, Src.MEM, sreg, **physical(Mem.LOAD, area, offset))


def _store(p: Program, area: Reg, offset: int, value, **fields) -> None:
    mov(p, Reg.NONE, value, **physical(Mem.STORE, area, offset), **fields)


def _store_wide(p: Program, area: Reg, offset: int, value) -> None:
    """A field of 64 bits, in a host save area its lower half."""
    _store(p, area, offset, value)
    if area is not HOST:
        _store(p, area, offset + 4, Src.ZERO)


_HIDDEN = {SegmentField.SELECTOR: Sys.SEGWORD, SegmentField.LIMIT: Sys.LIMIT, SegmentField.BASE: Sys.BASE}


def _load_segment(p: Program, area: Reg, sreg: Aseg) -> None:
    for field, sys in _HIDDEN.items():
        _load(p, area, Vmcb[sreg.name] + field, sys, sreg)


def _store_segment(p: Program, area: Reg, sreg: Aseg) -> None:
    for field, sys in _HIDDEN.items():
        store = _store_wide if sys is Sys.BASE else _store
        store(p, area, Vmcb[sreg.name] + field, Y(sys, sreg))


def _load_tables(p: Program, area: Reg) -> None:
    for table, (limit, base) in _TABLES.items():
        _load(p, area, table + SegmentField.LIMIT, limit)
        _load(p, area, table + SegmentField.BASE, base)


def _store_common(p: Program, area: Reg, eip: Src) -> None:
    """What both areas have of a world: segments, tables, registers."""
    for sreg in _SEGMENTS:
        _store_segment(p, area, sreg)
    for table, (limit, base) in _TABLES.items():
        _store(p, area, table + SegmentField.LIMIT, Y(limit))
        _store_wide(p, area, table + SegmentField.BASE, Y(base))
    for field, value in ((Vmcb.EFER, Y(Sys.EFER)), (Vmcb.CR4, Y(Sys.CR4)), (Vmcb.CR3, Y(Sys.CR3)),
                         (Vmcb.CR0, Y(Sys.CR0)), (Vmcb.RFLAGS, Y(Sys.EFLAGS)), (Vmcb.RIP, eip), (Vmcb.RSP, Reg.ESP),
                         (Vmcb.RAX, Reg.EAX)):
        _store_wide(p, area, field, value)


def _load_common(p: Program, area: Reg) -> None:
    """Segments, tables, flags, ESP, EAX. EIP is for the caller."""
    for sreg in _SEGMENTS:
        _load_segment(p, area, sreg)
    _load_tables(p, area)
    _load(p, area, Vmcb.RFLAGS, Sys.EFLAGS)
    mov(p, Reg.ESP, Src.MEM, **physical(Mem.LOAD, area, Vmcb.RSP))
    mov(p, Reg.EAX, Src.MEM, **physical(Mem.LOAD, area, Vmcb.RAX))


def _vmcb_address(p: Program, code: ExitCode) -> None:
    """T0 = the VMCB that EAX names, or AX with a 16-bit address size."""
    mov(p, VMCB, Src.ADDR, intercept=code, **_EAX_ADDRESS)
    branch(p, Cond.NZ, _GP0, Alu.AND, VMCB, K(REGION_BYTES - 1))


#: The address in EAX by the address size.
_EAX_ADDRESS = dict(amode=Amode.BASE, base=Reg.EAX, aseg=Aseg.LIN)

#: The control area but for TLB_CONTROL, which acts.
_CONTROL = {
    Vmcb.INTERCEPT_CR: Sys.INTERCEPT_CR, Vmcb.INTERCEPT_DR: Sys.INTERCEPT_DR,
    Vmcb.INTERCEPT_EXCEPTION: Sys.INTERCEPT_EXCEPTION, Vmcb.INTERCEPT_MISC1: Sys.INTERCEPT_MISC1,
    Vmcb.INTERCEPT_MISC2: Sys.INTERCEPT_MISC2, Vmcb.PAUSE_THRESHOLD: Sys.PAUSE, Vmcb.IOPM_BASE: Sys.IOPM,
    Vmcb.MSRPM_BASE: Sys.MSRPM, Vmcb.TSC_OFFSET: Sys.TSC_OFFSET, Vmcb.TSC_OFFSET + 4: Sys.TSC_OFFSET_HI,
    Vmcb.ASID: Sys.ASID, Vmcb.VINTR: Sys.VINTR, Vmcb.VINTR + 4: Sys.VINTR_HI, Vmcb.INTERRUPT_SHADOW: Sys.SHADOW_BIT,
    Vmcb.NP_ENABLE: Sys.NP, Vmcb.EVENTINJ: Sys.EVENTINJ, Vmcb.EVENTINJ + 4: Sys.EVENTINJ_HI, Vmcb.NRIP: Sys.EVENT_NEXT,
    Vmcb.N_CR3: Sys.N_CR3, Vmcb.G_PAT: Sys.G_PAT, Vmcb.G_PAT + 4: Sys.G_PAT_HI}
#: Fields whose upper half must be zero.
_NARROW = (Vmcb.IOPM_BASE, Vmcb.MSRPM_BASE, Vmcb.EFER, Vmcb.CR4, Vmcb.CR0, Vmcb.DR7, Vmcb.DR6)


@LIBRARY.program("vmrun")
def vmrun(p: Program) -> None:
    """Host state to its save area; control area; consistency; guest mode; state of the guest."""
    bad, cr4, cr0, eip = Reg.T2, Reg.T3, Reg.T4, Reg.T1
    _vmcb_address(p, ExitCode.VMRUN)
    branch_status(p, _GP0, Status.HSAVE_RAM, cond=Cond.Z)
    mov(p, HOST, Y(Sys.HSAVE))
    write(p, Sys.VMCB, VMCB)
    for offset, sys in _CONTROL.items():
        _load(p, VMCB, offset, sys)
    _store_common(p, HOST, Src.NEXT)
    _check_state(p, bad, cr4, cr0)
    branch(p, Cond.NZ, "invalid", Alu.OR, bad, Y(Sys.CONSISTENCY))
    write(p, Sys.GUEST, K(1))
    _load(p, VMCB, Vmcb.TLB_CONTROL, Sys.TLB_CONTROL)
    write(p, Sys.SWITCH_CR0, cr0)
    write(p, Sys.SWITCH_CR4, cr4)
    _load(p, VMCB, Vmcb.CR3, Sys.SWITCH_CR3)
    _load(p, VMCB, Vmcb.CR2, Sys.CR2)
    _load(p, VMCB, Vmcb.DR7, Sys.DR7)
    _load(p, VMCB, Vmcb.DR6, Sys.DR6)
    write(p, Sys.CPL, Src.MEM, **physical(Mem.LOAD, VMCB, Vmcb.CPL, Size.B))
    mov(p, eip, Src.MEM, **physical(Mem.LOAD, VMCB, Vmcb.RIP))
    _load_common(p, VMCB)
    flush(p, eip)

    p.label("invalid")
    write(p, Sys.EXIT_INFO1, Src.ZERO)
    write(p, Sys.EXIT_INFO2, Src.ZERO)
    write(p, Sys.FORCE_EXIT, K(_ALL))


def _check_state(p: Program, bad: Reg, cr4: Reg, cr0: Reg) -> None:
    """`bad` is not zero, or "invalid" is reached, when the guest's state is illegal (APM 15.5.1).

    EFER has SVME alone, as the host's has it now. Without PE the guest would be in real mode, which does not exist.
    """
    mov(p, bad, Src.ZERO)
    mov(p, cr0, Src.MEM, **physical(Mem.LOAD, VMCB, Vmcb.CR0))
    mov(p, cr4, Src.MEM, **physical(Mem.LOAD, VMCB, Vmcb.CR4))
    for field in _NARROW:
        op(p, Alu.OR, bad, bad, Src.MEM, **physical(Mem.LOAD, VMCB, field + 4))
    mov(p, Reg.T5, Src.MEM, **physical(Mem.LOAD, VMCB, Vmcb.N_CR3 + 4))
    branch(p, Cond.NZ, "n_cr3", Alu.MOV, Src.ZERO, Reg.T5)
    p.label("n_cr3_used")
    mov(p, Reg.T5, Src.MEM, **physical(Mem.LOAD, VMCB, Vmcb.EFER))
    op(p, Alu.XOR, Reg.T5, Reg.T5, K(EFER_SVME))
    op(p, Alu.OR, bad, bad, Reg.T5)
    branch(p, Cond.Z, "invalid", Alu.AND, cr0, K(int(Cr0.PE)))
    op(p, Alu.AND, Reg.T5, cr0, K(int(Cr0.NW | Cr0.CD)))
    branch(p, Cond.Z, "invalid", Alu.SUB, Reg.T5, K(int(Cr0.NW)))
    op(p, Alu.AND, Reg.T5, cr4, K(_ALL & ~int(CR4_WRITABLE)))
    op(p, Alu.OR, bad, bad, Reg.T5)

    def wide_n_cr3() -> None:
        p.label("n_cr3")
        branch(p, Cond.Z, "n_cr3_used", Alu.AND, Y(Sys.NP), K(NP_ENABLE))
        jump(p, "invalid")

    p.defer(wide_n_cr3)


@LIBRARY.routine("vmexit")
def vmexit(p: Program) -> None:
    """The core enters here in place of the instruction or event that exits."""
    eip, fetched = Reg.T2, Reg.T3
    # waits for instruction bytes, which cannot come while a store behind it waits
    mov(p, fetched, Y(Sys.FETCHED))
    mov(p, VMCB, Y(Sys.VMCB))
    mov(p, HOST, Y(Sys.HSAVE))
    _store(p, VMCB, Vmcb.EXITCODE + 4, Y(Sys.EXIT_CODE_HI))
    for offset, sys in {
            Vmcb.EXITINFO1: Sys.EXIT_INFO1, Vmcb.EXITINFO1 + 4: Sys.EXIT_INFO1_HI, Vmcb.EXITINFO2: Sys.EXIT_INFO2,
            Vmcb.EXITINFO2 + 4: Sys.EXIT_INFO2_HI, Vmcb.EXITINTINFO: Sys.EXIT_INTINFO,
            Vmcb.EXITINTINFO + 4: Sys.EXIT_INTINFO_HI}.items():
        _store(p, VMCB, offset, Y(sys))
    # VMEXIT_INVALID: there was no guest
    _store(p, VMCB, Vmcb.EXITCODE, Y(Sys.EXIT_CODE), next=Next.BR, cond=Cond.S, target="host")
    # V and reserved bits
    mov(p, Reg.NONE, Src.ZERO, size=Size.B, **physical(Mem.STORE, VMCB, Vmcb.EVENTINJ + 3, Size.B))
    _store(p, VMCB, Vmcb.VINTR, Y(Sys.VINTR))
    _store_wide(p, VMCB, Vmcb.INTERRUPT_SHADOW, Y(Sys.SHADOW_BIT))
    _store_wide(p, VMCB, Vmcb.NRIP, Y(Sys.NRIP))
    for number, value in enumerate((fetched, Y(Sys.FETCHED_1), Y(Sys.FETCHED_2), Y(Sys.FETCHED_3))):
        _store(p, VMCB, Vmcb.FETCHED_COUNT + 4 * number, value)
    _store_common(p, VMCB, Src.EIP)
    for field, sys in {Vmcb.DR7: Sys.DR7, Vmcb.DR6: Sys.DR6, Vmcb.CR2: Sys.CR2}.items():
        _store_wide(p, VMCB, field, Y(sys))
    mov(p, Reg.NONE, Y(Sys.CPL), size=Size.B, **physical(Mem.STORE, VMCB, Vmcb.CPL, Size.B))

    p.label("host")
    write(p, Sys.GUEST, Src.ZERO)
    for field, sys in {Vmcb.EFER: Sys.EFER, Vmcb.CR4: Sys.SWITCH_CR4, Vmcb.CR3: Sys.SWITCH_CR3,
                       Vmcb.CR0: Sys.SWITCH_CR0}.items():
        _load(p, HOST, field, sys)
    write(p, Sys.DR7, K(DR7_FIXED))
    write(p, Sys.CPL, Src.ZERO)
    mov(p, eip, Src.MEM, **physical(Mem.LOAD, HOST, Vmcb.RIP))
    _load_common(p, HOST)
    flush(p, eip)


_LOADED = (Aseg.FS, Aseg.GS, Aseg.TR, Aseg.LDTR)
_SYSENTER = {Vmcb.SYSENTER_CS: Sys.SYSENTER_CS, Vmcb.SYSENTER_ESP: Sys.SYSENTER_ESP,
             Vmcb.SYSENTER_EIP: Sys.SYSENTER_EIP}


@LIBRARY.program("vmload")
def vmload(p: Program) -> None:
    _vmcb_address(p, ExitCode.VMLOAD)
    for sreg in _LOADED:
        _load_segment(p, VMCB, sreg)
    for field, sys in _SYSENTER.items():
        _load(p, VMCB, field, sys)


@LIBRARY.program("vmsave")
def vmsave(p: Program) -> None:
    _vmcb_address(p, ExitCode.VMSAVE)
    for sreg in _LOADED:
        _store_segment(p, VMCB, sreg)
    for field, sys in _SYSENTER.items():
        _store_wide(p, VMCB, field, Y(sys))


@LIBRARY.program("stgi")
def stgi(p: Program) -> None:
    write(p, Sys.GIF, K(1), intercept=ExitCode.STGI)


@LIBRARY.program("clgi")
def clgi(p: Program) -> None:
    write(p, Sys.GIF, Src.ZERO, intercept=ExitCode.CLGI)


def _undefined(p: Program, code: ExitCode) -> None:
    """#UD unless intercepted."""
    p(alu=Alu.FAULT, const=Vector.UD.value, intercept=code)


LIBRARY.program("vmmcall", code=ExitCode.VMMCALL)(_undefined)
LIBRARY.program("skinit", code=ExitCode.SKINIT)(_undefined)


@LIBRARY.program("invlpga")
def invlpga(p: Program) -> None:
    write(p, Sys.INVLPGA_ASID, Reg.ECX, intercept=ExitCode.INVLPGA)
    branch(p, Cond.NC, "none", Alu.SUB, Reg.ECX, K(ASIDS))
    write(p, Sys.INVLPGA, Src.ADDR, **_EAX_ADDRESS)
    p.label("none")
    flush(p)
