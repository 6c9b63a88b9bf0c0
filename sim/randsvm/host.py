"""The host's program: it does one round after the other, whatever comes of each.

A round is a row of words: address of the next round, CR0, CR4, number of pokes, (address, value) of each, address of
the VMCB, period of the timer, which begins here, EFLAGS, EFER, VM_HSAVE_PA, whether to clear GIF first. The row that
begins with zero is the end: exit with value 0.

After a #VMEXIT the guest is made ready to go on: behind an intercepted instruction; where it was for an interrupt; at
the next slot of 32 bytes, or the first one, for everything else, its ASID flushed, because an INVLPG may have been
skipped. An INVLPG is done for the guest. An event that was cut short is injected again.

Any fault of the host itself, and any VMCB it cannot read, ends the round.
"""

from __future__ import annotations

import struct

from rtl.isa.exitcodes import ExitCode
from rtl.isa.msrs import EFER_SVME, Msr
from rtl.isa.paging import PTE_P, PTE_RW
from rtl.isa.platform import PORT
from rtl.isa.segments import ACCESS_CODE, ACCESS_DATA, ATTR_P, FLAGS_FLAT32, SystemType, descriptor
from rtl.isa.svm import TlbControl, Vmcb

from ..randprog import asm
from ..randprog.asm import EAX, EBP, EBX, ECX, EDI, EDX, ESI, ESP
from ..randprog.world import BODY, SLOT
from . import layout
from .guest import SLOTS

CODE_SELECTOR, DATA_SELECTOR = 8, 16
IRQ_BASE = 0x20
_FAULT, _IRQ = layout.CODE + 0x800, layout.CODE + 0x840
_PUSHES = (EBX, ECX, EDX, ESI, EDI, EBP)
_SVM = {name: bytes([0x0F, 0x01, 0xD8 + number]) for number, name in enumerate(
    "vmrun vmmcall vmload vmsave stgi clgi skinit invlpga".split())}
_OUT_COUNT = bytes([0xE6, PORT["PIT"].base])
_LODS, _NOT_ZERO, _ZERO, _BELOW = b"\xAD", 0x75, 0x74, 0x72


class _Code:
    """Machine code with short jumps forward."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.text = bytearray()
        self.labels: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []

    def put(self, *parts: bytes) -> None:
        for part in parts:
            self.text += part

    def label(self, name: str) -> None:
        self.labels[name] = self.base + len(self.text)

    def short(self, opcode: int, label: str) -> None:
        self.text += bytes([opcode, 0])
        self._jumps.append((len(self.text), label))

    def near(self, label: str) -> None:
        self.text += asm.jump(self.base + len(self.text), self.labels[label])

    def finish(self) -> bytes:
        for place, label in self._jumps:
            distance = self.labels[label] - self.base - place
            self.text[place - 1] = struct.pack("b", distance)[0]
        return bytes(self.text)


def _load(register: int, address: int) -> bytes:
    return bytes([0x8B, 0x05 | register << 3]) + asm.imm32(address)


def _store(address: int, register: int) -> bytes:
    return bytes([0x89, 0x05 | register << 3]) + asm.imm32(address)


def _field(opcode: int, register: int, field: int) -> bytes:
    """An operation of `register` and the doubleword of the VMCB at EBP."""
    return bytes([opcode, 0x85 | register << 3]) + asm.imm32(field)


def _set_field(field: int, value: int) -> bytes:
    return b"\xC7\x85" + asm.imm32(field) + asm.imm32(value)


def _wrmsr(number: int) -> bytes:
    """From EAX."""
    return asm.mov(ECX, number) + b"\x31\xD2\x0F\x30"


def code() -> tuple[bytes, dict[str, int]]:
    """The host's code, and its labels: `next` begins a round, `vmrun` is the VMRUN."""
    c = _Code(layout.CODE)
    _start(c)
    c.label("next")
    c.put(asm.mov(ESP, layout.STACK), b"\xFC", _load(ESI, layout.CURSOR), _LODS, b"\x85\xC0")
    c.short(_NOT_ZERO, "round")
    c.put(asm.out(PORT["EXIT"].base, 0), b"\xF4")
    c.label("round")
    c.put(_store(layout.CURSOR, EAX), _LODS, asm.mov_to_control(0, EAX), _LODS, asm.mov_to_control(4, EAX))
    c.put(_LODS, b"\x89\xC1", b"\xE3\x06", _LODS, b"\x89\xC7", b"\xA5", b"\xE2\xFA")
    c.put(_LODS, _store(layout.VMCB, EAX), b"\x89\xC5", asm.out(PORT["PIT"].base + 3, 0x34), _LODS)
    c.put(_OUT_COUNT, b"\x88\xE0", _OUT_COUNT, _LODS, b"\x50\x9D")
    c.put(_LODS, _wrmsr(Msr.EFER), _LODS, _wrmsr(Msr.VM_HSAVE_PA), _LODS, b"\x85\xC0")
    c.short(_ZERO, "open")
    c.put(_SVM["clgi"])
    c.label("open")
    c.put(b"\x89\xE8")
    for number, register in enumerate(_PUSHES):
        c.put(_load(register, layout.REGISTERS + 4 * number))
    c.put(_SVM["vmload"])
    c.label("vmrun")
    c.put(_SVM["vmrun"], _SVM["vmsave"])
    for number, register in enumerate(_PUSHES):
        c.put(_store(layout.REGISTERS + 4 * number, register))
    # What GIF has held back comes at the NOP; what the guest took without the PIC's knowing ends here.
    c.put(b"\x89\xC5", _SVM["stgi"], b"\x90\xFA", asm.out(PORT["PIC_MASTER"].base, 0x20))
    _after_exit(c)
    text = c.finish().ljust(_FAULT - layout.CODE, b"\xCC")
    fault = asm.mov(EAX, EFER_SVME) + _wrmsr(Msr.EFER) + _SVM["stgi"]
    fault += asm.jump(_FAULT + len(fault), c.labels["next"])
    irq = b"\x50" + asm.out(PORT["PIC_MASTER"].base, 0x20) + b"\x58\xCF"
    return text + fault.ljust(_IRQ - _FAULT, b"\xCC") + irq, c.labels


def _start(c: _Code) -> None:
    pointers = layout.GDT + 0x100
    c.put(b"\x0F\x01\x15" + asm.imm32(pointers), b"\x0F\x01\x1D" + asm.imm32(pointers + 8))
    c.put(asm.far_jump(CODE_SELECTOR, c.base + len(c.text) + 7))
    for segment in range(6):
        if segment != 1:
            c.put(asm.mov_sreg(segment, DATA_SELECTOR))
    c.put(asm.mov(EAX, layout.DIRECTORY), asm.mov_to_control(3, EAX))
    for port, value in ((0x20, 0x11), (0x21, IRQ_BASE), (0x21, 4), (0x21, 1), (0xA0, 0x11), (0xA1, IRQ_BASE + 8),
                        (0xA1, 2), (0xA1, 1), (0x21, 0xFE), (0xA1, 0xFF)):
        c.put(asm.out(port, value))


def _after_exit(c: _Code) -> None:
    c.put(_field(0x8B, ECX, Vmcb.ASID), _field(0x8B, EAX, Vmcb.EXITINFO1), _field(0x8B, EDX, Vmcb.EXITCODE))
    c.put(b"\x81\xFA" + asm.imm32(ExitCode.INVLPG))
    c.short(_NOT_ZERO, "again")
    c.put(_SVM["invlpga"])
    c.label("again")
    c.put(_field(0x8B, EAX, Vmcb.EXITINTINFO), b"\x85\xC0")
    c.short(0x79, "resume")
    c.put(_field(0x89, EAX, Vmcb.EVENTINJ), _field(0x8B, EAX, Vmcb.EXITINTINFO + 4))
    c.put(_field(0x89, EAX, Vmcb.EVENTINJ + 4))
    c.label("resume")
    c.put(_set_field(Vmcb.TLB_CONTROL, TlbControl.NOTHING), _field(0x8B, EAX, Vmcb.NRIP), b"\x85\xC0")
    c.short(_NOT_ZERO, "skip")
    for outside in (ExitCode.INTR, ExitCode.VINTR):
        c.put(b"\x83\xFA" + bytes([outside]))
        c.short(_ZERO, "done")
    c.put(_field(0x8B, EAX, Vmcb.RIP), b"\x83\xE0\xE0\x83\xC0\x20", _set_field(Vmcb.TLB_CONTROL, TlbControl.ASID))
    # Outside its slots a guest would run over zeros, which write wherever EAX points.
    c.put(b"\x8D\x90" + asm.imm32(-BODY), b"\x81\xFA" + asm.imm32(SLOTS * SLOT))
    c.short(_BELOW, "skip")
    c.put(asm.mov(EAX, BODY))
    c.label("skip")
    c.put(_field(0x89, EAX, Vmcb.RIP))
    c.label("done")
    c.near("next")


def tables() -> dict[int, bytes]:
    """The host's descriptors and page tables: everything flat, linear addresses are physical ones."""
    entries = (0, *(descriptor(0, 0xF_FFFF, access, FLAGS_FLAT32) for access in (ACCESS_CODE, ACCESS_DATA)))
    pointers = struct.pack("<HIHHIH", 8 * len(entries) - 1, layout.GDT, 0, 0x7FF, layout.IDT, 0)
    idt = b"".join(struct.pack("<Q", _gate(_FAULT if vector < IRQ_BASE else _IRQ)) for vector in range(256))
    count = layout.RAM >> 22
    directory = [layout.TABLES + 0x1000 * number | PTE_P | PTE_RW for number in range(count)]
    return {layout.GDT: struct.pack("<3Q", *entries).ljust(0x100, b"\0") + pointers, layout.IDT: idt,
            layout.DIRECTORY: struct.pack(f"<{count}I", *directory).ljust(0x1000, b"\0"),
            layout.TABLES: struct.pack(f"<{count << 10}I", *(
                page << 12 | PTE_P | PTE_RW for page in range(count << 10)))}


def _gate(offset: int) -> int:
    access = ATTR_P | SystemType.INTERRUPT_GATE32.value
    return offset & 0xFFFF | CODE_SELECTOR << 16 | access << 40 | offset >> 16 << 48
