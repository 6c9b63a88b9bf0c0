"""Time, counters and model-specific registers: RDTSC, RDPMC, RDMSR, WRMSR, and the MSR permission map of a guest.

The map is looked at in memory, and only when MSR exits are wanted (AMD64 APM vol. 2, 15.11).
"""
from rtl.cpu.microasm import K, Program, Y
from rtl.cpu.uop import Alu, Cond, Mem, Next, Reg, Size, Src, Status, Sys
from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode
from rtl.isa.msrs import EFER_SVME, MSRS, Msr, PerfEvent
from rtl.isa.svm import MSRPM_RANGE_MSRS, MSRPM_RANGES, VmCr

from .macros import LIBRARY, branch, branch_status, fault, jump, mask, mov, op, physical, status, write

_GP0 = fault(Vector.GP)
_ALL = 0xFFFF_FFFF


def _pair(p: Program, low: Sys, high: Sys, **fields) -> None:
    mov(p, Reg.EAX, Y(low), **fields)
    mov(p, Reg.EDX, Y(high), next=Next.END)


@LIBRARY.program("rdtsc")
def rdtsc(p: Program) -> None:
    op(p, Alu.AND, Reg.T0, status(), K(mask(Status.TSD, Status.CPL0)))
    branch(p, Cond.Z, _GP0, Alu.SUB, Reg.T0, K(mask(Status.TSD)))
    _pair(p, Sys.TSC_LO, Sys.TSC_HI, intercept=ExitCode.RDTSC)


@LIBRARY.program("rdpmc")
def rdpmc(p: Program) -> None:
    p()
    branch_status(p, _GP0, Status.PCE, Status.CPL0, cond=Cond.Z)
    branch(p, Cond.NC, _GP0, Alu.SUB, Reg.ECX, K(len(PerfEvent)), intercept=ExitCode.RDPMC)
    _pair(p, Sys.PERF_LO, Sys.PERF_HI)


#: MSRs of 32 bits that any value may be written to.
_PLAIN = {Msr.SYSENTER_CS: Sys.SYSENTER_CS, Msr.SYSENTER_ESP: Sys.SYSENTER_ESP, Msr.SYSENTER_EIP: Sys.SYSENTER_EIP}
#: MSRs of which some bits can be written; the rest of 64 bits reads as zero.
_CHECKED = {Msr.APIC_BASE: Sys.APIC_BASE}
#: Those of virtualization, likewise.
_SVM = {Msr.EFER: Sys.EFER, Msr.VM_CR: Sys.VM_CR, Msr.VM_HSAVE_PA: Sys.HSAVE}


def _permission_check(p: Program, is_write: bool) -> None:
    """Exit when the map has the bit of MSR ECX set, or no bit for it; else go on at "select". Uses T1, T2."""
    bit, entry = Reg.T1, Reg.T2
    op(p, Alu.SHR, bit, Reg.ECX, K(MSRPM_RANGE_MSRS.bit_length() - 1))
    for first, offset in MSRPM_RANGES.items():
        branch(p, Cond.Z, f"range{offset:x}", Alu.SUB, bit, K(first // MSRPM_RANGE_MSRS))
    p.label("exit")
    write(p, Sys.EXIT_INFO1, K(int(is_write)))
    write(p, Sys.FORCE_EXIT, K(ExitCode.MSR.value), next=Next.END)
    for offset in MSRPM_RANGES.values():
        p.label(f"range{offset:x}")
        mov(p, entry, K(offset), next=Next.JUMP, target="entry")
    p.label("entry")
    op(p, Alu.ADD, entry, entry, Y(Sys.MSRPM))
    op(p, Alu.AND, bit, Reg.ECX, K(MSRPM_RANGE_MSRS - 1))
    op(p, Alu.SHR, bit, bit, K(2))
    op(p, Alu.ADD, entry, entry, bit)
    mov(p, entry, Src.MEM, **physical(Mem.LOAD, entry, 0, Size.B))
    op(p, Alu.AND, bit, Reg.ECX, K(3))
    op(p, Alu.ADD, bit, bit, bit)
    op(p, Alu.SHR, entry, entry, bit)
    branch(p, Cond.NZ, "exit", Alu.AND, entry, K(2 if is_write else 1))
    jump(p, "select")


def _select_msr(p: Program, is_write: bool) -> None:
    """Behind row 0: ask the permission map, then go to the label of the MSR that ECX names."""
    branch_status(p, "guest", Status.MSR_INTERCEPT)
    p.label("select")
    branch(p, Cond.Z, "tsc", Alu.SUB, Reg.ECX, K(int(Msr.TSC)))
    for msr in _PLAIN:
        branch(p, Cond.Z, msr.name, Alu.SUB, Reg.ECX, K(int(msr)))

    def guest() -> None:
        p.label("guest")
        _permission_check(p, is_write)

    p.defer(guest)


@LIBRARY.program("rdmsr")
def rdmsr(p: Program) -> None:
    op(p, Alu.SUB, Reg.T0, Reg.ECX, K(int(Msr.PERF_BASE)))
    _select_msr(p, False)
    branch(p, Cond.NC, "others", Alu.SUB, Reg.T0, K(len(PerfEvent)))
    _pair(p, Sys.PERF_LO, Sys.PERF_HI)
    p.label("tsc")
    _pair(p, Sys.TSC_LO, Sys.TSC_HI)
    p.label("others")
    for msr in _CHECKED | _SVM:
        branch(p, Cond.Z, msr.name, Alu.SUB, Reg.ECX, K(int(msr)))
    jump(p, _GP0)
    for msr, sys in (_PLAIN | _CHECKED | _SVM).items():
        p.label(msr.name)
        mov(p, Reg.EAX, Y(sys))
        mov(p, Reg.EDX, Src.ZERO, next=Next.END)


@LIBRARY.program("wrmsr")
def wrmsr(p: Program) -> None:
    p()
    _select_msr(p, True)
    for msr in _CHECKED | _SVM:
        branch(p, Cond.Z, msr.name, Alu.SUB, Reg.ECX, K(int(msr)))
    jump(p, _GP0)
    p.label("tsc")
    # a lower half that cannot carry while the upper one is written
    write(p, Sys.TSC_LO, Src.ZERO)
    write(p, Sys.TSC_HI, Reg.EDX)
    write(p, Sys.TSC_LO, Reg.EAX, next=Next.END)
    for msr, sys in _PLAIN.items():
        p.label(msr.name)
        branch(p, Cond.NZ, _GP0, Alu.MOV, Src.ZERO, Reg.EDX)
        write(p, sys, Reg.EAX, next=Next.END)
    for msr, sys in _CHECKED.items():
        p.label(msr.name)
        branch(p, Cond.NZ, _GP0, Alu.MOV, Src.ZERO, Reg.EDX)
        op(p, Alu.XOR, Reg.T0, Reg.EAX, K(MSRS[msr].reset))
        branch(p, Cond.NZ, _GP0, Alu.AND, Reg.T0, K(_ALL & ~MSRS[msr].writable))
        write(p, sys, Reg.EAX, next=Next.END)
    for msr in _SVM:
        p.label(msr.name)
        branch(p, Cond.NZ, _GP0, Alu.MOV, Src.ZERO, Reg.EDX)
        branch(p, Cond.NZ, _GP0, Alu.AND, Reg.EAX, K(_ALL & ~MSRS[msr].writable))
        _WRITES[msr](p)


def _write_efer(p: Program) -> None:
    """SVME cannot be set while VM_CR.SVMDIS is. What follows is decoded with the new SVME."""
    done = p.unique("done")
    branch(p, Cond.Z, done, Alu.AND, Reg.EAX, K(EFER_SVME))
    branch(p, Cond.NZ, _GP0, Alu.AND, Y(Sys.VM_CR), K(int(VmCr.SVMDIS)))
    p.label(done)
    write(p, Sys.EFER, Reg.EAX)
    p(alu=Alu.JMPI, a=Src.NEXT, next=Next.END)


def _write_vm_cr(p: Program) -> None:
    """SVMDIS cannot be set while EFER.SVME is. LOCK keeps itself and SVMDIS as they are."""
    locked, enabled = int(VmCr.LOCK | VmCr.SVMDIS), p.unique("enabled")
    branch(p, Cond.Z, enabled, Alu.AND, Reg.EAX, K(int(VmCr.SVMDIS)))
    branch(p, Cond.NZ, _GP0, Alu.AND, Y(Sys.EFER), K(EFER_SVME))
    p.label(enabled)
    op(p, Alu.AND, Reg.T0, Y(Sys.VM_CR), K(locked))
    branch(p, Cond.NZ, "locked", Alu.AND, Reg.T0, K(int(VmCr.LOCK)))
    write(p, Sys.VM_CR, Reg.EAX, next=Next.END)
    p.label("locked")
    op(p, Alu.AND, Reg.T1, Reg.EAX, K(MSRS[Msr.VM_CR].writable & ~locked))
    op(p, Alu.OR, Reg.T0, Reg.T0, Reg.T1)
    write(p, Sys.VM_CR, Reg.T0, next=Next.END)


def _write_hsave(p: Program) -> None:
    write(p, Sys.HSAVE, Reg.EAX, next=Next.END)


_WRITES = {Msr.EFER: _write_efer, Msr.VM_CR: _write_vm_cr, Msr.VM_HSAVE_PA: _write_hsave}
