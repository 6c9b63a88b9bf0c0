"""A host about to execute VMRUN and a guest in the same small machine, for directed tests of SVM."""

from __future__ import annotations

from rtl.isa.exitcodes import EXCEPTION, ExitCode, intercept_bit, intercept_word
from rtl.isa.msrs import EFER_SVME, Msr
from rtl.isa.registers import DR6_FIXED, DR7_FIXED, Seg
from rtl.isa.retire import RetireCause
from rtl.isa.svm import SegmentField, Vmcb
from tests.vmm.engine import machine as parts
from tests.vmm.engine.machine import CODE, GDT, IDT, machine
from vmm.engine.interpreter import Interpreter, Retired
from vmm.state import SegmentCache, SegmentView

VMCB, HSAVE, GUEST, GUEST_STACK, IOPM, MSRPM = 0x1_0000, 0x1_1000, 0xC000, 0xE000, 0x1_2000, 0x1_5000
AFTER = CODE + 3
"""EIP of the host behind VMRUN."""


def write(cpu: Interpreter, field: int, value: int, size: int | None = None) -> None:
    """A field of the VMCB, in its own size."""
    size = size or Vmcb(field).size
    cpu.memory.load_blob(VMCB + field, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))


def read(cpu: Interpreter, field: int, size: int | None = None) -> int:
    return int.from_bytes(cpu.memory.blob(VMCB + field, size or Vmcb(field).size), "little")


def write_segment(cpu: Interpreter, field: Vmcb, segment: SegmentView) -> None:
    write(cpu, field + SegmentField.SELECTOR, segment.selector, 2)
    write(cpu, field + SegmentField.ATTRIB, segment.attributes, 2)
    write(cpu, field + SegmentField.LIMIT, segment.limit, 4)
    write(cpu, field + SegmentField.BASE, segment.base, 8)


def intercept(cpu: Interpreter, *codes: int, on: bool = True) -> None:
    for code in codes:
        field = 4 * intercept_word(code)
        word = read(cpu, field, 4)
        write(cpu, field, word | intercept_bit(code) if on else word & ~intercept_bit(code), 4)


def world(code: str, intercepts: tuple[int, ...] = (), host: str = "0f01d8", **registers: int) -> Interpreter:
    """A host at VMRUN, and a VMCB for a flat guest at CPL 0 about to run `code` at GUEST with the host's tables.

    `registers` are the guest's; VMMCALL and VMRUN are always intercepted.
    """
    cpu = machine(host)
    cpu.svm = True
    cpu.state.msrs[Msr.EFER], cpu.state.msrs[Msr.VM_HSAVE_PA] = EFER_SVME, HSAVE
    cpu.memory.load_blob(GUEST, bytes.fromhex(code))
    for number, field in enumerate((Vmcb.ES, Vmcb.CS, Vmcb.SS, Vmcb.DS)):
        write_segment(cpu, field, cpu.state.segments[number])
    write_segment(cpu, Vmcb.GDTR, SegmentCache(0, GDT, 0xFF))
    write_segment(cpu, Vmcb.IDTR, SegmentCache(0, IDT, 48 * 8 - 1))
    for field, value in (
            (Vmcb.ASID, 1), (Vmcb.EFER, EFER_SVME), (Vmcb.CR0, 0x11), (Vmcb.RIP, GUEST), (Vmcb.RSP, GUEST_STACK),
            (Vmcb.DR6, DR6_FIXED), (Vmcb.DR7, DR7_FIXED), (Vmcb.RFLAGS, 2), (Vmcb.IOPM_BASE, IOPM),
            (Vmcb.MSRPM_BASE, MSRPM)):
        write(cpu, field, value)
    intercept(cpu, ExitCode.VMRUN, ExitCode.VMMCALL, *intercepts)
    for name, value in registers.items():
        if name == "eax":
            write(cpu, Vmcb.RAX, value)
        else:
            cpu.state.gpr["eax ecx edx ebx esp ebp esi edi".split().index(name)] = value
    cpu.state.gpr[0] = VMCB
    cpu.state_changed()
    return cpu


def enter(cpu: Interpreter) -> Interpreter:
    """Execute VMRUN."""
    retired = cpu.step()
    assert retired.cause is RetireCause.INSTRUCTION and cpu.state.svm.guest, retired
    return cpu


def leave(cpu: Interpreter, limit: int = 20) -> Retired:
    """Go on to the #VMEXIT."""
    for _ in range(limit):
        retired = cpu.step()
        if retired.cause is RetireCause.VMEXIT:
            return retired
    raise AssertionError(f"no #VMEXIT within {limit} steps; EIP is {cpu.state.eip:#x}")


def outcome(cpu: Interpreter) -> int:
    """Exit code of a guest that is entered and leaves."""
    enter(cpu)
    retired = leave(cpu)
    assert read(cpu, Vmcb.EXITCODE) == retired.error
    assert retired.error is not None
    return retired.error


def to_user_guest(cpu: Interpreter) -> None:
    """Let the VMCB be that of a guest at CPL 3."""
    write(cpu, Vmcb.CPL, 3)
    for field, selector in ((Vmcb.CS, parts.USER_CODE), (Vmcb.SS, parts.USER_DATA), (Vmcb.DS, parts.USER_DATA),
                            (Vmcb.ES, parts.USER_DATA)):
        write(cpu, field, selector, 2)
        write(cpu, field + SegmentField.ATTRIB, read(cpu, field + SegmentField.ATTRIB, 2) | 3 << 5, 2)


def exception(vector: int) -> int:
    return EXCEPTION + vector


def host_segments(cpu: Interpreter) -> list[SegmentCache]:
    return [cpu.state.segments[number].copy() for number in (Seg.ES, Seg.CS, Seg.SS, Seg.DS)]
