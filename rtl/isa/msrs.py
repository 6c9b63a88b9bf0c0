"""Model-specific registers and performance events.

RDMSR and WRMSR of a register not listed, or reserved for a feature that is absent, are #GP(0).
Intel SDM vol. 4; AMD64 APM vol. 2, appendix A.
"""

import enum
from dataclasses import dataclass

from .apic import APIC_BASE_ENABLE


class Msr(enum.IntEnum):
    """MSR numbers."""
    TSC = 0x0000_0010
    APIC_BASE = 0x0000_001B
    SYSENTER_CS = 0x0000_0174
    SYSENTER_ESP = 0x0000_0175
    SYSENTER_EIP = 0x0000_0176
    PAT = 0x0000_0277
    EFER = 0xC000_0080
    VM_CR = 0xC001_0114
    VM_HSAVE_PA = 0xC001_0117
    PERF_BASE = 0xC001_1000


@dataclass(frozen=True, slots=True)
class MsrInfo:
    """One MSR: which bits a write changes (others must be written as at reset, else #GP(0)), and its reset value.

    `feature` is None where the register exists today, else what it waits for.
    """
    msr: Msr
    writable: int
    reset: int
    feature: str | None
    text: str


#: The only bit of EFER that exists.
EFER_SVME = 1 << 12

MSRS: dict[Msr, MsrInfo] = {info.msr: info for info in (
    MsrInfo(Msr.TSC, 0xFFFF_FFFF_FFFF_FFFF, 0, None, "time-stamp counter: one per clock"),
    MsrInfo(Msr.APIC_BASE, APIC_BASE_ENABLE, 0xFEE0_0900, None,
            "local APIC: enable (bit 11), BSP (bit 8, always 1), base FEE00000h, which does not change: a write of "
            "anything but bit 11 is #GP(0). CPUID announces the APIC whether enabled or not"),
    MsrInfo(Msr.SYSENTER_CS, 0xFFFF_FFFF, 0, None, "code selector of SYSENTER; SYSENTER is #GP(0) while it is null"),
    MsrInfo(Msr.SYSENTER_ESP, 0xFFFF_FFFF, 0, None, "stack pointer of SYSENTER"),
    MsrInfo(Msr.SYSENTER_EIP, 0xFFFF_FFFF, 0, None, "entry point of SYSENTER"),
    MsrInfo(Msr.PAT, 0x0707_0707_0707_0707, 0x0007_0406_0007_0406, "pat", "page attributes; a VMCB keeps the guest's"),
    MsrInfo(Msr.EFER, EFER_SVME, 0, "svm", "SVME; cannot be set while VM_CR.SVMDIS is"),
    MsrInfo(Msr.VM_CR, 0x1D, 0, "svm", "SVM control: LOCK (bit 3) keeps itself and SVMDIS (bit 4) as they are; DPD and "
            "DIS_A20M (bits 0, 2) change nothing; INIT is not redirected: R_INIT (bit 1) is #GP(0)"),
    MsrInfo(Msr.VM_HSAVE_PA, 0xFFFF_F000, 0, "svm", "physical address of the host save area"),
    MsrInfo(Msr.PERF_BASE, 0, 0, None, "first performance counter: PERF_BASE + event; writes are #GP(0)"),
)}


class PerfEvent(enum.IntEnum):
    """Performance counters, by event. RDPMC with ECX = event reads the same counter as MSR PERF_BASE + event.

    The numbers are stable: new events go at the end. A number without an event is #GP(0).
    """
    CYCLES = 0
    INSTRUCTIONS = 1
    HALTED = 2
    EXCEPTIONS = 3
    INTERRUPTS = 4
    BRANCHES = 5
    TAKEN_BRANCHES = 6
    STALL_FETCH = 7
    STALL_BRANCH = 8
    STALL_LOAD_USE = 9
    STALL_LOAD_MISS = 10
    STALL_STORE = 11
    STALL_MICROCODE = 12
    STALL_MULDIV = 13
    STALL_WALK = 14
    STALL_IO = 15
    ICACHE_HITS = 16
    ICACHE_MISSES = 17
    DCACHE_HITS = 18
    DCACHE_MISSES = 19
    ITLB_HITS = 20
    ITLB_MISSES = 21
    DTLB_HITS = 22
    DTLB_MISSES = 23
    WALK_CACHE_HITS = 24
    WALK_CACHE_MISSES = 25
    WALK_REFS_GUEST = 26
    WALK_REFS_NESTED = 27
    WALK_WRITES = 28
    DMA_BYTES = 29
    IOTLB_HITS = 30
    IOTLB_MISSES = 31
    VMRUNS = 32
    VMEXITS = 33
    NESTED_TLB_HITS = 34
    NESTED_TLB_MISSES = 35
    NESTED_WALK_CACHE_HITS = 36
    NESTED_WALK_CACHE_MISSES = 37
    GUEST_CYCLES = 38
    GUEST_INSTRUCTIONS = 39


#: Counters are this wide and read zero-extended to 64 bits.
PERF_WIDTH = 48

PERF_TEXT: dict[PerfEvent, str] = {
    PerfEvent.CYCLES: "clocks since reset",
    PerfEvent.INSTRUCTIONS: "instructions completed; a REP instruction is one",
    PerfEvent.HALTED: "clocks in HLT",
    PerfEvent.EXCEPTIONS: "exceptions and software interrupts delivered",
    PerfEvent.INTERRUPTS: "external interrupts delivered",
    PerfEvent.BRANCHES: "jumps, calls and returns, taken or not",
    PerfEvent.TAKEN_BRANCHES: "those taken",
    PerfEvent.STALL_FETCH: "clocks nothing issued for want of instruction bytes",
    PerfEvent.STALL_BRANCH: "clocks nothing issued because the next address was unknown or the fetch had just turned",
    PerfEvent.STALL_LOAD_USE: "clocks nothing issued until a load's result or an address register was ready",
    PerfEvent.STALL_LOAD_MISS: "clocks a load waited for memory",
    PerfEvent.STALL_STORE: "clocks a store waited for memory or the write buffer",
    PerfEvent.STALL_MICROCODE: "clocks spent in micro-operations after an instruction's first",
    PerfEvent.STALL_MULDIV: "clocks the multiplier or divider was waited for",
    PerfEvent.STALL_WALK: "clocks a translation was waited for",
    PerfEvent.STALL_IO: "clocks an I/O access was waited for",
    PerfEvent.ICACHE_HITS: "instruction cache hits",
    PerfEvent.ICACHE_MISSES: "instruction cache misses",
    PerfEvent.DCACHE_HITS: "data cache hits",
    PerfEvent.DCACHE_MISSES: "data cache misses",
    PerfEvent.ITLB_HITS: "instruction TLB hits",
    PerfEvent.ITLB_MISSES: "instruction TLB misses",
    PerfEvent.DTLB_HITS: "data TLB hits",
    PerfEvent.DTLB_MISSES: "data TLB misses",
    PerfEvent.WALK_CACHE_HITS: "page-walk cache hits",
    PerfEvent.WALK_CACHE_MISSES: "page-walk cache misses",
    PerfEvent.WALK_REFS_GUEST: "references of the walker to tables under CR3",
    PerfEvent.WALK_REFS_NESTED: "references of the walker to tables under N_CR3",
    PerfEvent.WALK_WRITES: "accessed and dirty bits written by the walker",
    PerfEvent.DMA_BYTES: "bytes moved by devices",
    PerfEvent.IOTLB_HITS: "IOTLB hits",
    PerfEvent.IOTLB_MISSES: "IOTLB misses",
    PerfEvent.VMRUNS: "VMRUN completed",
    PerfEvent.VMEXITS: "#VMEXIT taken",
    PerfEvent.NESTED_TLB_HITS: "nested TLB hits",
    PerfEvent.NESTED_TLB_MISSES: "nested TLB misses",
    PerfEvent.NESTED_WALK_CACHE_HITS: "nested page-walk cache hits",
    PerfEvent.NESTED_WALK_CACHE_MISSES: "nested page-walk cache misses",
    PerfEvent.GUEST_CYCLES: "clocks between the end of a VMRUN and the beginning of its #VMEXIT",
    PerfEvent.GUEST_INSTRUCTIONS: "instructions completed by guests; a REP instruction is one",
}
