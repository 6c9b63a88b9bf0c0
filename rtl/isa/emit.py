"""Generates what other languages need from this package: firmware includes and reference tables.

    python -m rtl.isa.emit --include DIR    writes gigogne.h (C and preprocessed assembly) and gigogne.inc (GNU as)
    python -m rtl.isa.emit --docs DIR       writes the Markdown tables of docs/reference

Files are replaced only when their content changes, so that build systems see no false change.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import apic, cpuid, exceptions, msrs, paging, platform, reference, registers, segments, svm, tss
from .layout import Struct, mask

#: A heading and its constants: C name and value.
Section = tuple[str, list[tuple[str, int]]]


def _enum(prefix: str, members: Iterable) -> list[tuple[str, int]]:
    return [(f"{prefix}_{member.name}", int(member.value)) for member in members]


def sections() -> Iterator[Section]:
    """Every constant the firmware may use, by subject."""
    yield "I/O ports", [(f"GIG_PORT_{port.name}", port.base) for port in platform.PORTS]
    yield "Memory map", [(f"GIG_MEM_{region.name}", region.base) for region in platform.MEMORY] + [
        ("GIG_LOW_MEMORY_END", platform.LOW_MEMORY_END), ("GIG_HIGH_MEMORY_START", platform.HIGH_MEMORY_START)]
    yield "Interrupt lines", _enum("GIG_IRQ", platform.Irq)
    yield "Local APIC and I/O APIC", (
        _enum("X86_APIC", apic.ApicReg) + _enum("X86_IOAPIC", apic.IoApicReg) + _enum("X86_IOAPIC", apic.IoApicIndex))
    yield "Clocks", [
        ("GIG_CPU_HZ", platform.CPU_HZ), ("GIG_PIT_HZ", platform.PIT_HZ), ("GIG_UART_HZ", platform.UART_HZ),
        ("GIG_CPU_CLOCKS_PER_PIT_TICK", platform.CPU_CLOCKS_PER_PIT_TICK)]
    yield "Boot protocols", [
        ("GIG_MULTIBOOT_HEADER_MAGIC", platform.MULTIBOOT_HEADER_MAGIC),
        ("GIG_MULTIBOOT_BOOT_MAGIC", platform.MULTIBOOT_BOOT_MAGIC),
        ("GIG_PVH_START_MAGIC", platform.PVH_START_MAGIC), ("GIG_PVH_NOTE_TYPE", platform.PVH_NOTE_TYPE)]
    yield "EFLAGS", _enum("X86_EFLAGS", registers.Eflags) + [("X86_EFLAGS_FIXED", registers.EFLAGS_FIXED)]
    yield "Control registers", _enum("X86_CR0", registers.Cr0) + _enum("X86_CR4", registers.Cr4)
    yield "Debug registers", (
        _enum("X86_DR6", registers.Dr6) + [("X86_DR6_FIXED", registers.DR6_FIXED)]
        + _enum("X86_DR7", registers.Dr7) + [("X86_DR7_FIXED", registers.DR7_FIXED)]
        + _enum("X86_DR7_TYPE", registers.BreakpointType))
    yield "Exceptions", _enum("X86_VEC", exceptions.Vector) + [
        ("X86_VECTORS_WITH_ERROR_CODE", exceptions.ERROR_CODE_MASK),
        ("X86_ERROR_EXT", exceptions.ERROR_EXT), ("X86_ERROR_IDT", exceptions.ERROR_IDT),
        ("X86_ERROR_TI", exceptions.ERROR_TI),
        ("X86_PF_P", paging.PF_P), ("X86_PF_W", paging.PF_W), ("X86_PF_U", paging.PF_U),
        ("X86_PF_RSVD", paging.PF_RSVD)]
    yield "Page-table entries", [
        ("X86_PTE_P", paging.PTE_P), ("X86_PTE_W", paging.PTE_RW), ("X86_PTE_U", paging.PTE_US),
        ("X86_PTE_PWT", paging.PTE_PWT), ("X86_PTE_PCD", paging.PTE_PCD), ("X86_PTE_A", paging.PTE_A),
        ("X86_PTE_D", paging.PTE_D), ("X86_PTE_PS", paging.PTE_PS), ("X86_PTE_G", paging.PTE_G),
        ("X86_PTE_AVAILABLE", paging.PTE_AVAILABLE), ("X86_PTE_FRAME", paging.FRAME_MASK),
        ("X86_PDE_LARGE_FRAME", paging.PDE_LARGE_MASK),
        ("X86_PAGE_SHIFT", paging.PAGE_SHIFT), ("X86_PAGE_SIZE", paging.PAGE_SIZE),
        ("X86_LARGE_PAGE_SHIFT", paging.LARGE_PAGE_SHIFT), ("X86_LARGE_PAGE_SIZE", paging.LARGE_PAGE_SIZE)]
    yield "Segments", [
        ("X86_SEL_RPL", segments.SELECTOR_RPL), ("X86_SEL_TI", segments.SELECTOR_TI),
        ("X86_TYPE_ACCESSED", segments.TYPE_ACCESSED), ("X86_TYPE_WRITABLE", segments.TYPE_WRITABLE),
        ("X86_TYPE_READABLE", segments.TYPE_READABLE), ("X86_TYPE_EXPAND_DOWN", segments.TYPE_EXPAND_DOWN),
        ("X86_TYPE_CONFORMING", segments.TYPE_CONFORMING), ("X86_TYPE_CODE", segments.TYPE_CODE),
        *((name, value) for name, value in _enum("X86_TYPE", segments.SystemType) if "RESERVED" not in name),
        ("X86_ATTR_S", segments.ATTR_S), ("X86_ATTR_DPL3", segments.ACCESS_DPL3), ("X86_ATTR_P", segments.ATTR_P),
        ("X86_ACCESS_CODE", segments.ACCESS_CODE), ("X86_ACCESS_DATA", segments.ACCESS_DATA),
        ("X86_ACCESS_TSS32", segments.ACCESS_TSS32), ("X86_FLAGS_FLAT32", segments.FLAGS_FLAT32)]
    yield "Task-state segments", (
        _enum("X86_TSS32", tss.Tss32) + [("X86_TSS32_SIZE", tss.TSS32_SIZE)]
        + _enum("X86_TSS16", tss.Tss16) + [("X86_TSS16_SIZE", tss.TSS16_SIZE)])
    yield "Model-specific registers", _enum("X86_MSR", msrs.Msr) + [("X86_EFER_SVME", msrs.EFER_SVME)]
    yield from svm_sections()
    yield "Performance events", _enum("GIG_EVENT", msrs.PerfEvent)
    yield "CPUID", [
        (f"X86_CPUID_{feature.name}", 1 << feature) for feature in cpuid.Feature] + [
        ("X86_CPUID_ECX_HYPERVISOR", cpuid.ECX_HYPERVISOR), ("X86_CPUID_ECX_SVM", cpuid.ECX_SVM),
        ("GIG_CPUID_HYPERVISOR_LEAF", cpuid.HYPERVISOR_LEAF)]


def _wide(prefix: str, struct: type[Struct]) -> list[tuple[str, int]]:
    """Masks of the fields of a structure of 64 bits; those of its upper half as words of it, with _HIGH."""
    masks = [(name.upper(), mask(struct, name)) for name in struct.widths if not name.startswith("reserved")]
    return [(f"{prefix}_{name}_HIGH", value >> 32) if value >> 32 else (f"{prefix}_{name}", value)
            for name, value in masks]


def svm_sections() -> Iterator[Section]:
    """The virtual machine control block. Intercept bits are masks of their own words."""
    yield "VMCB", _enum("VMCB", svm.Vmcb) + _enum("VMCB_SEG", svm.SegmentField) + [
        ("VMCB_SAVE_AREA", svm.SAVE_AREA), ("VMCB_BYTES", svm.REGION_BYTES)]
    # An assembler for 32 bits has no place for the upper half of INVALID, which is all ones as well.
    yield "SVM exit codes", [(f"SVM_EXIT_{code.name}", code & 0xFFFF_FFFF) for code in svm.ExitCode]
    yield "SVM intercepts", [
        (f"SVM_INTERCEPT_{code.name}", svm.intercept_bit(code)) for code in svm.ExitCode if code < svm.ExitCode.NPF]
    yield "SVM fields", (
        _wide("SVM_VINTR", svm.VintrLayout) + _wide("SVM_EVENT", svm.Event) + _wide("SVM_IOIO", svm.IoInfo)
        + _wide("SVM_NPF", svm.NpfInfo) + _wide("SVM_TASK", svm.TaskInfo)
        + [(f"SVM_EVENT_TYPE_{kind.name}", kind << 8) for kind in svm.EventType]
        + _enum("SVM_TLB", svm.TlbControl) + _enum("SVM_CLEAN", svm.Clean) + _enum("SVM_VM_CR", svm.VmCr)
        + _enum("SVM_CPUID", svm.CpuidSvm) + [
            ("SVM_NP_ENABLE", svm.NP_ENABLE), ("SVM_INTERRUPT_SHADOW", svm.INTERRUPT_SHADOW), ("SVM_ASIDS", svm.ASIDS),
            ("SVM_MOV_CR_HIGH", svm.MOV_CR >> 32), ("SVM_IOPM_BYTES", svm.IOPM_BYTES),
            ("SVM_MSRPM_BYTES", svm.MSRPM_BYTES), ("SVM_CPUID_LEAF", cpuid.SVM_LEAF)])


def _number(value: int) -> str:
    return str(value) if value < 10 else f"{value:#x}"


def c_header() -> str:
    """The text of gigogne.h: only `#define`s of integers, so that assembly may include it too."""
    lines = ["/* Generated by python -m rtl.isa.emit from rtl/isa; do not edit. */"]
    lines += ["#ifndef GIGOGNE_H", "#define GIGOGNE_H"]
    for title, constants in sections():
        lines += ["", f"/* {title} */", *(f"#define {name} {_number(value)}" for name, value in constants)]
    return "\n".join([*lines, "", "#endif", ""])


def as_include() -> str:
    """The text of gigogne.inc for GNU as without preprocessor."""
    lines = ["# Generated by python -m rtl.isa.emit from rtl/isa; do not edit."]
    for title, constants in sections():
        lines += ["", f"# {title}", *(f".set {name}, {_number(value)}" for name, value in constants)]
    return "\n".join([*lines, ""])


def write(folder: Path, files: dict[str, str]) -> None:
    """Write each file whole or not at all, and leave alone those that are up to date."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        scratch = folder / f".{name}.{os.getpid()}"
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m rtl.isa.emit", description="Generate files from rtl/isa.")
    parser.add_argument("--include", type=Path, metavar="DIR", help="write gigogne.h and gigogne.inc")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="write the reference tables")
    options = parser.parse_args(arguments)
    if options.include is None and options.docs is None:
        parser.error("nothing to do: give --include DIR, --docs DIR or both")
    try:
        if options.include is not None:
            write(options.include, {"gigogne.h": c_header(), "gigogne.inc": as_include()})
        if options.docs is not None:
            write(options.docs, reference.pages())
    except OSError as error:
        print(f"cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
