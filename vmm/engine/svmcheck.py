"""What VMRUN refuses: the consistency checks of AMD64 APM vol. 2, 15.5.1, 15.16.1, 15.20 and 15.25.3."""

from __future__ import annotations

from collections.abc import Iterator

from rtl.isa.exitcodes import ExitCode, intercept_bit
from rtl.isa.msrs import EFER_SVME
from rtl.isa.registers import CR4_WRITABLE, Cr0
from rtl.isa.svm import ASIDS, IOPM_BYTES, MSRPM_BYTES, NP_ENABLE, Event, EventType, Vmcb
from vmm.engine.vmcb import Area

_PAGE = 0xFFF
_HIGHEST_EXCEPTION, _NMI = 31, 2
#: Memory types of a field of G_PAT.
_TYPES = frozenset({0, 1, 4, 5, 6, 7})


def violations(vmcb: Area, host_paging: bool) -> Iterator[str]:
    """What is illegal about a VMCB, one phrase each; nothing if VMRUN accepts it.

    `host_paging` is CR0.PG of the host.
    """
    cr0, efer = vmcb.quad(Vmcb.CR0), vmcb.quad(Vmcb.EFER)
    if not efer & EFER_SVME:
        yield "EFER.SVME is clear"
    if efer & ~EFER_SVME:
        yield "EFER has a reserved bit set"
    if cr0 & Cr0.NW and not cr0 & Cr0.CD:
        yield "CR0.NW is set and CR0.CD is clear"
    if not cr0 & Cr0.PE:
        yield "CR0.PE is clear, and there is no real mode"
    for field in (Vmcb.CR0, Vmcb.DR6, Vmcb.DR7):
        if vmcb.word(field + 4):
            yield f"{field.name} has a bit above 31 set"
    if vmcb.quad(Vmcb.CR4) & ~int(CR4_WRITABLE):
        yield "CR4 has a reserved bit set"
    if not vmcb.word(Vmcb.INTERCEPT_MISC2) & intercept_bit(ExitCode.VMRUN):
        yield "VMRUN is not intercepted"
    if not 0 < vmcb.word(Vmcb.ASID) < ASIDS:
        yield f"ASID is not 1 to {ASIDS - 1}"
    for field, size in ((Vmcb.IOPM_BASE, IOPM_BYTES), (Vmcb.MSRPM_BASE, MSRPM_BYTES)):
        if (vmcb.quad(field) & ~_PAGE) + size > 1 << 32:
            yield f"{field.name} lies beyond 4 GiB"
    yield from _event(vmcb)
    if vmcb.word(Vmcb.NP_ENABLE) & NP_ENABLE:
        yield from _nested(vmcb, host_paging)


def _event(vmcb: Area) -> Iterator[str]:
    event = Event.from_bits(vmcb.word(Vmcb.EVENTINJ))
    if not event.v:
        return
    if event.type not in set(EventType):
        yield f"EVENTINJ is of type {event.type}"
    if event.type == EventType.EXCEPTION and (event.vector > _HIGHEST_EXCEPTION or event.vector == _NMI):
        yield f"EVENTINJ is exception {event.vector}"


def _nested(vmcb: Area, host_paging: bool) -> Iterator[str]:
    if not host_paging:
        yield "nested paging with the host's paging off"
    if vmcb.word(Vmcb.N_CR3 + 4):
        yield "N_CR3 has a bit above 31 set"
    pat = vmcb.quad(Vmcb.G_PAT)
    if not all(byte in _TYPES for byte in pat.to_bytes(8, "little")):
        yield "G_PAT has an illegal memory type"
