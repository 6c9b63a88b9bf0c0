"""Secure Virtual Machine: the virtual machine control block and what its fields mean.

AMD64 APM vol. 2, chapter 15; appendix B (layout of the VMCB), appendix C (exit codes: `rtl.isa.exitcodes`).
A VMCB is one page: the control area, then at `SAVE_AREA` the state-save area. The host save area that VM_HSAVE_PA names
has the host's state at the same offsets.

Fields of 64 bits are written whole; there is no long mode, so the upper half of a register is zero.
"""

# Field widths are written as annotations, which are not types.
# mypy: disable-error-code="valid-type"

import enum

from .exitcodes import ABSENT, ExitCode, exit_name, intercept_bit, intercept_word
from .layout import Struct, mask

__all__ = [
    "ABSENT", "ASIDS", "CPUID_SVM", "Clean", "CpuidSvm", "EVENT_EV", "EVENT_TYPE", "EVENT_V", "EVENT_VECTOR", "Event",
    "EventType", "ExitCode", "FETCHED_MAX", "INTERRUPT_SHADOW", "IOPM_BYTES", "IoInfo", "MOV_CR", "MSRPM_BYTES",
    "MSRPM_RANGES", "MSRPM_RANGE_MSRS", "NPF_FETCH", "NPF_FINAL", "NPF_P", "NPF_RSVD", "NPF_TABLE", "NPF_U", "NPF_W",
    "NP_ENABLE", "NpfInfo", "REGION_BYTES", "REVISION", "SAVE_AREA", "SegmentField", "TASK_HAS_ERROR", "TASK_IRET",
    "TASK_JUMP", "TASK_RF", "TaskInfo", "TlbControl", "VINTR_GIF", "VINTR_GIF_ENABLE", "VINTR_IGNORE_TPR", "VINTR_IRQ",
    "VINTR_MASKING", "VINTR_PRIORITY", "VINTR_TPR", "VINTR_VECTOR", "VINTR_WRITABLE", "VintrLayout", "VmCr", "Vmcb",
    "exit_name", "intercept_bit", "intercept_word", "msrpm_bit",
]

#: Bytes of a VMCB and of a host save area, and the alignment of both.
REGION_BYTES = 0x1000
SAVE_AREA = 0x400
#: Bytes of instruction a decode assist saves at most.
FETCHED_MAX = 15
#: Address-space identifiers: 0 is the host, 1 to ASIDS - 1 are guests.
ASIDS = 16
REVISION = 1


class Vmcb(enum.IntEnum):
    """Byte offsets in a VMCB, each with its `size` in bytes; segments have 16 (see `SegmentField`)."""
    size: int

    def __new__(cls, offset: int, size: int) -> "Vmcb":
        field = int.__new__(cls, offset)
        field._value_ = offset
        field.size = size
        return field

    INTERCEPT_CR = 0x000, 4
    INTERCEPT_DR = 0x004, 4
    INTERCEPT_EXCEPTION = 0x008, 4
    INTERCEPT_MISC1 = 0x00C, 4
    INTERCEPT_MISC2 = 0x010, 4
    PAUSE_THRESHOLD = 0x03C, 2
    PAUSE_COUNT = 0x03E, 2
    IOPM_BASE = 0x040, 8
    MSRPM_BASE = 0x048, 8
    TSC_OFFSET = 0x050, 8
    ASID = 0x058, 4
    TLB_CONTROL = 0x05C, 4
    VINTR = 0x060, 8
    INTERRUPT_SHADOW = 0x068, 8
    EXITCODE = 0x070, 8
    EXITINFO1 = 0x078, 8
    EXITINFO2 = 0x080, 8
    EXITINTINFO = 0x088, 8
    NP_ENABLE = 0x090, 8
    EVENTINJ = 0x0A8, 8
    N_CR3 = 0x0B0, 8
    LBR_CONTROL = 0x0B8, 8
    CLEAN = 0x0C0, 4
    NRIP = 0x0C8, 8
    FETCHED_COUNT = 0x0D0, 1
    FETCHED_BYTES = 0x0D1, 15
    ES = 0x400, 16
    CS = 0x410, 16
    SS = 0x420, 16
    DS = 0x430, 16
    FS = 0x440, 16
    GS = 0x450, 16
    GDTR = 0x460, 16
    LDTR = 0x470, 16
    IDTR = 0x480, 16
    TR = 0x490, 16
    CPL = 0x4CB, 1
    EFER = 0x4D0, 8
    CR4 = 0x548, 8
    CR3 = 0x550, 8
    CR0 = 0x558, 8
    DR7 = 0x560, 8
    DR6 = 0x568, 8
    RFLAGS = 0x570, 8
    RIP = 0x578, 8
    RSP = 0x5D8, 8
    RAX = 0x5F8, 8
    STAR = 0x600, 8
    LSTAR = 0x608, 8
    CSTAR = 0x610, 8
    SFMASK = 0x618, 8
    KERNEL_GS_BASE = 0x620, 8
    SYSENTER_CS = 0x628, 8
    SYSENTER_ESP = 0x630, 8
    SYSENTER_EIP = 0x638, 8
    CR2 = 0x640, 8
    G_PAT = 0x668, 8
    DEBUGCTL = 0x670, 8
    BR_FROM = 0x678, 8
    BR_TO = 0x680, 8
    LAST_EXCP_FROM = 0x688, 8
    LAST_EXCP_TO = 0x690, 8


class SegmentField(enum.IntEnum):
    """Byte offsets in a segment of a VMCB. ATTRIB has the bits of `rtl.isa.segments.Attributes`."""
    SELECTOR = 0
    ATTRIB = 2
    LIMIT = 4
    BASE = 8


class VintrLayout(Struct):
    """VINTR: the virtual interrupt. APM 15.21."""
    tpr: 8
    irq: 1
    gif: 1
    reserved_10: 6
    priority: 4
    ignore_tpr: 1
    reserved_21: 3
    masking: 1
    gif_enable: 1
    reserved_26: 6
    vector: 8
    reserved_40: 24


class EventType(enum.IntEnum):
    """TYPE of EVENTINJ and EXITINTINFO; 1 and 5 to 7 are reserved. APM 15.7.2 and 15.20."""
    INTERRUPT = 0
    NMI = 2
    EXCEPTION = 3
    SOFTWARE = 4


class Event(Struct):
    """EVENTINJ, the event to deliver at VMRUN, and EXITINTINFO, the one a #VMEXIT interrupted."""
    vector: 8
    type: 3
    ev: 1
    reserved_12: 19
    v: 1
    error: 32


class IoInfo(Struct):
    """EXITINFO1 of an IOIO exit; EXITINFO2 is the EIP of the next instruction. APM 15.10.2.

    `segment`, of OUTS, is a decode assist.
    """
    input: 1
    reserved_1: 1
    string: 1
    rep: 1
    size8: 1
    size16: 1
    size32: 1
    address16: 1
    address32: 1
    address64: 1
    segment: 3
    reserved_13: 3
    port: 16


class NpfInfo(Struct):
    """EXITINFO1 of a nested page fault; EXITINFO2 is the guest-physical address. APM 15.25.6."""
    p: 1
    w: 1
    u: 1
    rsvd: 1
    fetch: 1
    reserved_5: 27
    final: 1
    table: 1
    reserved_34: 30


class TaskInfo(Struct):
    """EXITINFO2 of a task-switch exit; EXITINFO1 is the TSS selector. APM 15.14.1."""
    error: 32
    reserved_32: 4
    iret: 1
    reserved_37: 1
    jump: 1
    reserved_39: 5
    has_error: 1
    reserved_45: 3
    rf: 1
    reserved_49: 15


class TlbControl(enum.IntEnum):
    """TLB_CONTROL; other values are reserved and do as ALL. APM 15.16.2."""
    NOTHING = 0
    ALL = 1
    ASID = 3
    ASID_LOCAL = 7


class Clean(enum.IntFlag):
    """CLEAN: what has not changed since the last #VMEXIT. Ours reads everything again, as it may. APM 15.15."""
    INTERCEPTS = 1 << 0
    PERMISSION_MAPS = 1 << 1
    ASID = 1 << 2
    VINTR = 1 << 3
    NESTED_PAGING = 1 << 4
    CONTROL_REGISTERS = 1 << 5
    DEBUG_REGISTERS = 1 << 6
    TABLES = 1 << 7
    SEGMENTS = 1 << 8
    CR2 = 1 << 9
    LBR = 1 << 10


class VmCr(enum.IntFlag):
    """MSR VM_CR. APM 15.30.1."""
    DPD = 1 << 0
    R_INIT = 1 << 1
    DIS_A20M = 1 << 2
    LOCK = 1 << 3
    SVMDIS = 1 << 4


class CpuidSvm(enum.IntFlag):
    """EDX of CPUID leaf 8000000Ah."""
    NESTED_PAGING = 1 << 0
    LBR = 1 << 1
    LOCK = 1 << 2
    NRIP = 1 << 3
    TSC_RATE = 1 << 4
    CLEAN = 1 << 5
    FLUSH_BY_ASID = 1 << 6
    DECODE_ASSISTS = 1 << 7
    PAUSE_FILTER = 1 << 10
    PAUSE_THRESHOLD = 1 << 12
    VIRTUAL_GIF = 1 << 16


#: What this processor has of those.
CPUID_SVM = (
    CpuidSvm.NESTED_PAGING | CpuidSvm.NRIP | CpuidSvm.CLEAN | CpuidSvm.FLUSH_BY_ASID | CpuidSvm.DECODE_ASSISTS
    | CpuidSvm.PAUSE_FILTER | CpuidSvm.VIRTUAL_GIF)

VINTR_TPR = mask(VintrLayout, "tpr")
VINTR_IRQ = mask(VintrLayout, "irq")
VINTR_GIF = mask(VintrLayout, "gif")
VINTR_PRIORITY = mask(VintrLayout, "priority")
VINTR_IGNORE_TPR = mask(VintrLayout, "ignore_tpr")
VINTR_MASKING = mask(VintrLayout, "masking")
VINTR_GIF_ENABLE = mask(VintrLayout, "gif_enable")
VINTR_VECTOR = mask(VintrLayout, "vector")
#: What the processor keeps of the low word, and #VMEXIT writes back.
VINTR_WRITABLE = (
    VINTR_TPR | VINTR_IRQ | VINTR_GIF | VINTR_PRIORITY | VINTR_IGNORE_TPR | VINTR_MASKING | VINTR_GIF_ENABLE)
EVENT_VECTOR = mask(Event, "vector")
EVENT_TYPE = mask(Event, "type")
EVENT_EV = mask(Event, "ev")
EVENT_V = mask(Event, "v")
NPF_P = mask(NpfInfo, "p")
NPF_W = mask(NpfInfo, "w")
NPF_U = mask(NpfInfo, "u")
NPF_RSVD = mask(NpfInfo, "rsvd")
NPF_FETCH = mask(NpfInfo, "fetch")
NPF_FINAL = mask(NpfInfo, "final")
NPF_TABLE = mask(NpfInfo, "table")
TASK_IRET = mask(TaskInfo, "iret")
TASK_JUMP = mask(TaskInfo, "jump")
TASK_HAS_ERROR = mask(TaskInfo, "has_error")
TASK_RF = mask(TaskInfo, "rf")
#: EXITINFO1 of an intercepted MOV to or from a control register, with the general register's number. For a debug
#: register it is the number alone.
MOV_CR = 1 << 63
#: Bit 0 of NP_ENABLE and of INTERRUPT_SHADOW.
NP_ENABLE = 1
INTERRUPT_SHADOW = 1

#: The I/O permission map: one bit per port; an access at the last port may test the three bits after.
IOPM_BYTES = 0x3000
#: The MSR permission map: two bits per MSR, read then write; byte offset of each range of 2000h MSRs.
MSRPM_BYTES = 0x2000
MSRPM_RANGES: dict[int, int] = {0x0000_0000: 0x0000, 0xC000_0000: 0x0800, 0xC001_0000: 0x1000}
MSRPM_RANGE_MSRS = 0x2000


def msrpm_bit(msr: int, write: bool) -> int | None:
    """The number of the bit in the MSR permission map that intercepts an access; None outside: always intercepted."""
    first = MSRPM_RANGES.get(msr & ~(MSRPM_RANGE_MSRS - 1))
    return None if first is None else 8 * first + 2 * (msr & MSRPM_RANGE_MSRS - 1) + write
