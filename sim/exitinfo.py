"""What a #VMEXIT says of its cause, in words: EXITINFO1 and EXITINFO2 by exit code (AMD64 APM vol. 2, appendix C)."""

from __future__ import annotations

from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import EXCEPTION, ExitCode
from rtl.isa.msrs import Msr
from rtl.isa.svm import EVENT_EV, EVENT_V, MOV_CR, Event, EventType, IoInfo, NpfInfo, TaskInfo

_REGISTERS = ("EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI")
_M32 = 0xFFFF_FFFF
#: Exceptions that push an error code, which EXITINFO1 has.
_WITH_ERROR = (Vector.DF, Vector.TS, Vector.NP, Vector.SS, Vector.GP, Vector.AC)


def describe_exit(code: int, info1: int, info2: int, ecx: int = 0) -> str:
    """Words for EXITINFO1 and EXITINFO2; empty where they say nothing. ``ecx`` is the guest's."""
    if code == ExitCode.IOIO:
        return _port(IoInfo.from_bits(info1))
    if code == ExitCode.NPF:
        return _nested_fault(NpfInfo.from_bits(info1), info2)
    if code == ExitCode.MSR:
        return f"{'write' if info1 & 1 else 'read'} {_msr(ecx)}"
    if code in (ExitCode.EXCEPTION_PF, ExitCode.INVLPG):
        error = f", error code {info1 & _M32:X}h" if code == ExitCode.EXCEPTION_PF else ""
        return f"address {info2 if error else info1:08X}{error}"
    if code in [EXCEPTION + vector for vector in _WITH_ERROR]:
        return f"error code {info1 & _M32:X}h"
    if code == ExitCode.SWINT:
        return f"INT {info1 & 0xFF:02X}h"
    if code == ExitCode.TASK_SWITCH:
        return _task(info1 & 0xFFFF, TaskInfo.from_bits(info2))
    if code < EXCEPTION:
        # A move to or from a control register says so; a debug register is only ever moved.
        return _REGISTERS[info1 & 7] if info1 & MOV_CR or code >= ExitCode.DR0_READ else ""
    return ""


def describe_event(bits: int) -> str:
    """Words for EXITINTINFO or EVENTINJ; empty if there is no event."""
    if not bits & EVENT_V:
        return ""
    event = Event.from_bits(bits)
    kind = {EventType.INTERRUPT: "interrupt", EventType.NMI: "NMI", EventType.EXCEPTION: "exception",
            EventType.SOFTWARE: "INT"}.get(event.type, f"type {event.type}")
    return f"{kind} {event.vector:02X}h" + (f", error code {event.error:X}h" if bits & EVENT_EV else "")


def _port(info: IoInfo) -> str:
    size = info.size8 | info.size16 << 1 | info.size32 << 2
    kind = ("in" if info.input else "out") + ("s" if info.string else "")
    return f"{'rep ' if info.rep else ''}{kind} port {info.port:X}h, {size} {'byte' if size == 1 else 'bytes'}"


def _nested_fault(info: NpfInfo, address: int) -> str:
    kind = "fetch" if info.fetch else "write" if info.w else "read"
    why = "reserved bit" if info.rsvd else "protection" if info.p else "not present"
    of = " of a guest table" if info.table else ""
    return f"{kind}{of} at {address:08X}, {why}"


def _task(selector: int, info: TaskInfo) -> str:
    kind = "IRET" if info.iret else "jump" if info.jump else "call or gate"
    return f"{kind} to TSS {selector:X}h" + (f", error code {info.error:X}h" if info.has_error else "")


def _msr(number: int) -> str:
    try:
        return Msr(number).name
    except ValueError:
        return f"MSR {number:X}h"
