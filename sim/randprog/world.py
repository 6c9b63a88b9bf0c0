"""The machine around a random program: descriptor tables, task states, page tables, handlers, as memory contents.

Every exception handler resumes at the next 32-byte slot of the body, with TF off, so that no fault ends a program and
none repeats. An exception outside the body goes to the end. Timer interrupts are acknowledged and ignored.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from rtl.isa.exceptions import ERROR_CODE_MASK, Vector
from rtl.isa.paging import PTE_D, PTE_G, PTE_P, PTE_PS, PTE_RW, PTE_US
from rtl.isa.platform import PORT
from rtl.isa.segments import (
    ACCESS_CODE,
    ACCESS_DATA,
    ACCESS_DPL3,
    ACCESS_TSS32,
    ATTR_P,
    FLAGS_FLAT32,
    TYPE_CONFORMING,
    TYPE_EXPAND_DOWN,
    TYPE_READABLE,
    SystemType,
    descriptor,
)
from rtl.isa.tss import TSS32_MIN_LIMIT, Tss32

from . import asm

ENTRY, GDT, IDT, TSS, HANDLERS = 0x10_0000, 0x10_1000, 0x10_2000, 0x10_3000, 0x10_4000
DIRECTORY, TABLE, KERNEL_STACK = 0x10_5000, 0x10_6000, 0x10_9000
TASK, TASK_STACK, COUNTER = 0x10_A000, 0x10_C000, 0x10_D000
BODY, DATA, DATA_END, STACK = 0x11_0000, 0x14_0000, 0x15_0000, 0x16_8000
ODD, ODD_END = 0x17_0000, 0x18_0000     #: pages whose rights are drawn at random
ALIAS = 0x0080_0000                      #: 4 MiB page over the first 4 MiB of memory
SLOT = 32
RAM = 4 << 20
EXIT_INT, RETURN_INT, TASK_INT, TIMER_INT = 0x80, 0x81, 0x82, 0x20

CODE0, DATA0, CODE3, DATA3, TSS_SEL, TASK_SEL, GATE, SMALL, DOWN, CODE16, CONFORM, READ_ONLY, ABSENT, SHORT_CODE = (
    index * 8 for index in range(1, 15))
GATE3 = 15 * 8
#: Selectors programs load, right and wrong ones.
SELECTORS = (0, 3, DATA0, DATA3 | 3, DATA3, SMALL | 3, SMALL, DOWN | 3, READ_ONLY | 3, ABSENT | 3, CODE3 | 3,
             CODE0, CONFORM | 3, TSS_SEL, GATE | 3, 0x7F8, 0x0C)

_FLAT = 0xF_FFFF


@dataclass(frozen=True)
class World:
    """What the surroundings of one program are like.

    Members
    -------
    user : the body runs at CPL 3. paging, write_protect, global_pages : CR0.PG, CR0.WP, CR4.PGE.
    interrupts : IF is set and the timer runs. alignment : CR0.AM.
    """

    user: bool
    paging: bool
    write_protect: bool
    global_pages: bool
    interrupts: bool
    alignment: bool
    timer_count: int
    odd_rights: tuple[int, ...]
    rounds: int

    @classmethod
    def draw(cls, rng: random.Random) -> World:
        paging = rng.random() < 0.8
        rights = tuple(rng.choice((0, PTE_P, PTE_P | PTE_RW, PTE_P | PTE_US, PTE_P | PTE_US | PTE_RW))
                       for _ in range((ODD_END - ODD) // 4096))
        return cls(rng.random() < 0.6, paging, rng.random() < 0.5, rng.random() < 0.5, rng.random() < 0.7,
                   rng.random() < 0.3, rng.randrange(20, 120), rights, rng.randrange(1, 4))

    # -- tables

    def gdt(self) -> bytes:
        data3, small_flags = ACCESS_DATA | ACCESS_DPL3, FLAGS_FLAT32 & 4
        entries = {
            CODE0: descriptor(0, _FLAT, ACCESS_CODE, FLAGS_FLAT32),
            DATA0: descriptor(0, _FLAT, ACCESS_DATA, FLAGS_FLAT32),
            CODE3: descriptor(0, _FLAT, ACCESS_CODE | ACCESS_DPL3, FLAGS_FLAT32),
            DATA3: descriptor(0, _FLAT, data3, FLAGS_FLAT32),
            TSS_SEL: descriptor(TSS, TSS32_MIN_LIMIT + 40, ACCESS_TSS32, 0),
            TASK_SEL: descriptor(TASK, TSS32_MIN_LIMIT, ACCESS_TSS32, 0),
            GATE: _gate(CODE0, HANDLERS + 0xF00, ATTR_P | ACCESS_DPL3 | SystemType.CALL_GATE32.value, 2),
            GATE3: _gate(CODE3 | 3, HANDLERS + 0xF40, ATTR_P | ACCESS_DPL3 | SystemType.CALL_GATE32.value, 0),
            SMALL: descriptor(DATA, 0x1FFF, data3, small_flags),
            # Not yet accessed, so that loading it writes the descriptor.
            DOWN: descriptor(DATA, 0x0FFF, data3 & ~1 | TYPE_EXPAND_DOWN, small_flags),
            CODE16: descriptor(BODY, 0xFFFF, ACCESS_CODE | ACCESS_DPL3, 0),
            CONFORM: descriptor(0, _FLAT, ACCESS_CODE | TYPE_CONFORMING, FLAGS_FLAT32),
            READ_ONLY: descriptor(DATA, 0x3FFF, data3 & ~TYPE_READABLE & ~1, small_flags),
            ABSENT: descriptor(0, _FLAT, data3 & ~ATTR_P, FLAGS_FLAT32),
            SHORT_CODE: descriptor(0, 0x110, ACCESS_CODE | ACCESS_DPL3, FLAGS_FLAT32),
        }
        table = bytearray(8 * 16)
        for selector, value in entries.items():
            struct.pack_into("<Q", table, selector, value)
        return bytes(table)

    def idt(self) -> bytes:
        table = bytearray()
        for vector in range(256):
            if vector == TASK_INT:
                table += struct.pack("<Q", _gate(TASK_SEL, 0, ATTR_P | ACCESS_DPL3 | SystemType.TASK_GATE.value, 0))
                continue
            kind = SystemType.TRAP_GATE32 if vector in (1, 3, 4, RETURN_INT) else SystemType.INTERRUPT_GATE32
            dpl = ACCESS_DPL3 if vector in (Vector.BP, Vector.OF, EXIT_INT, RETURN_INT) else 0
            table += struct.pack("<Q", _gate(CODE0, _stub(vector), ATTR_P | dpl | kind.value, 0))
        return bytes(table)

    def tss(self, end: int) -> dict[int, bytes]:
        first = bytearray(TSS32_MIN_LIMIT + 41)
        struct.pack_into("<II", first, Tss32.ESP0, KERNEL_STACK, DATA0)
        # A task switch back loads CR3 from here and never saves it.
        struct.pack_into("<I", first, Tss32.CR3, DIRECTORY)
        struct.pack_into("<H", first, Tss32.IO_BASE, TSS32_MIN_LIMIT + 1)
        # Ports 80h-87h are open; the byte after the map must be all ones.
        first[TSS32_MIN_LIMIT + 1:] = b"\xFF" * 16 + b"\x00" + b"\xFF" * (len(first) - TSS32_MIN_LIMIT - 18)
        task = bytearray(TSS32_MIN_LIMIT + 1)
        fields = {Tss32.ESP0: KERNEL_STACK, Tss32.SS0: DATA0, Tss32.CR3: DIRECTORY, Tss32.EIP: HANDLERS + 0xE00,
                  Tss32.EFLAGS: 2, Tss32.ESP: TASK_STACK, Tss32.CS: CODE0}
        for field, value in fields.items():
            struct.pack_into("<I", task, field, value)
        for field in (Tss32.ES, Tss32.SS, Tss32.DS, Tss32.FS, Tss32.GS):
            struct.pack_into("<I", task, field, DATA0)
        struct.pack_into("<I", task, Tss32.T, (TSS32_MIN_LIMIT + 1) << 16)
        return {TSS: bytes(first), TASK: bytes(task)}

    def tables(self, rng: random.Random) -> dict[int, bytes]:
        user = PTE_US if self.user else 0
        extra = PTE_G if self.global_pages else 0
        directory = [0] * 1024
        directory[0] = TABLE | PTE_P | PTE_RW | PTE_US
        directory[ALIAS >> 22] = PTE_P | PTE_RW | PTE_US | PTE_PS | extra
        table = []
        for page in range(1024):
            address = page << 12
            flags = PTE_P | PTE_RW
            if BODY <= address < STACK + 0x8000:
                flags |= user | (PTE_D if rng.random() < 0.3 else 0)
            elif ODD <= address < ODD_END:
                flags = self.odd_rights[(address - ODD) >> 12]
            else:
                flags |= extra
            table.append(address | flags)
        return {DIRECTORY: struct.pack("<1024I", *directory), TABLE: struct.pack("<1024I", *table)}

    # -- code

    def handlers(self, end: int) -> bytes:
        code = bytearray(0x1000)
        common = HANDLERS + 0xC00
        for vector in range(256):
            stub = _stub(vector)
            if vector == EXIT_INT:
                text = asm.jump(stub, HANDLERS + 0xD00)
            elif vector == RETURN_INT:
                text = b"\xCF"
            elif 0x20 <= vector < 0x30:
                text = asm.jump(stub, HANDLERS + 0xD80)
            elif vector < 32 and ERROR_CODE_MASK >> vector & 1:
                text = asm.jump(stub, common)
            else:
                text = b"\x6A\x00" + asm.jump(stub + 2, common)
            code[stub - HANDLERS:stub - HANDLERS + len(text)] = text

        def place(offset: int, text: bytes) -> None:
            code[offset:offset + len(text)] = text

        skip = b"\x83\x64\x24\x04\xE0\x83\x44\x24\x04\x20"        # and [esp+4], -32; add [esp+4], 32
        no_trap = b"\x81\x64\x24\x0C" + asm.imm32(~0x100)         # and [esp+12], ~TF
        below = b"\x81\x7C\x24\x04" + asm.imm32(BODY) + b"\x72\x0A"            # cmp [esp+4], BODY; jb out
        above = b"\x81\x7C\x24\x04" + asm.imm32(end) + b"\x72\x08"             # cmp [esp+4], end; jb in
        outside = b"\xC7\x44\x24\x04" + asm.imm32(end)                         # out: mov [esp+4], end
        place(0xC00, skip + no_trap + below + above + outside + b"\x83\xC4\x04\xCF")
        again = b"\x36\xFF\x0D" + asm.imm32(COUNTER)              # dec ss:[COUNTER]
        restart = b"\xC7\x04\x24" + asm.imm32(BODY) + b"\xCF"     # mov [esp], BODY; iretd
        finish = asm.out(PORT["EXIT"].base, 0) + b"\xF4\xEB\xFD"
        place(0xD00, again + bytes([0x74, len(restart)]) + restart + finish)
        place(0xD80, b"\x50" + asm.out(0x20, 0x20) + b"\x58\xCF")  # push eax; acknowledge; pop eax; iretd
        place(0xE00, b"\x40\x01\xC1\xCF\xEB\xFA")                  # task: inc eax; add ecx, eax; iretd; again
        place(0xF00, b"\x8B\x44\x24\x08\xCA\x08\x00")              # call gate: mov eax, [esp+8]; retf 8
        place(0xF40, b"\x43\xCB")                                  # inc ebx; retf
        return bytes(code)

    def start(self, rng: random.Random, end: int) -> bytes:
        """Code at ENTRY: loads the tables, starts the timer and enters the body with random registers."""
        gdtr, idtr = ENTRY + 0xF00, ENTRY + 0xF10
        code = b"\x0F\x01\x15" + asm.imm32(gdtr) + b"\x0F\x01\x1D" + asm.imm32(idtr)
        code += asm.mov(asm.ESP, KERNEL_STACK)
        code += asm.far_jump(CODE0, ENTRY + len(code) + 7)
        for segment in (0, 2, 3, 4, 5):
            code += asm.mov_sreg(segment, DATA0)
        code += asm.mov(asm.EAX, TSS_SEL) + b"\x0F\x00\xD8"      # ltr ax
        if self.paging:
            code += asm.mov(asm.EAX, DIRECTORY) + asm.mov_to_control(3, asm.EAX)
            code += asm.mov(asm.EAX, 0x10 | 0x80 * self.global_pages) + asm.mov_to_control(4, asm.EAX)
        code += asm.mov(asm.EAX, 0x11 | self.paging << 31 | self.write_protect << 16 | self.alignment << 18)
        code += asm.mov_to_control(0, asm.EAX)
        for port, value in ((0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0xA0, 0x11), (0xA1, 0x28), (0xA1, 2),
                            (0xA1, 1), (0x21, 0xFE if self.interrupts else 0xFF), (0xA1, 0xFF)):
            code += asm.out(port, value)
        code += asm.out(0x43, 0x34) + asm.out(0x40, self.timer_count) + asm.out(0x40, 0)
        flags = 2 | self.interrupts << 9
        stack = STACK - rng.randrange(0, 64) * 4
        if self.user:
            code += asm.push(DATA3 | 3) + asm.push(stack) + asm.push(flags) + asm.push(CODE3 | 3) + asm.push(BODY)
            for segment in (0, 3, 4, 5):
                code += asm.mov_sreg(segment, DATA3 | 3)
        else:
            code += asm.mov(asm.ESP, stack) + asm.push(flags) + asm.push(CODE0) + asm.push(BODY)
        for register in (asm.EAX, asm.ECX, asm.EDX, asm.EBX, asm.EBP, asm.ESI, asm.EDI):
            code += asm.mov(register, rng.getrandbits(32))
        code += b"\xCF"
        code += bytes(0xF00 - len(code))
        return code + struct.pack("<HI", 0x7F, GDT) + bytes(10) + struct.pack("<HI", 0x7FF, IDT)


def _stub(vector: int) -> int:
    return HANDLERS + vector * 12


def _gate(selector: int, offset: int, access: int, count: int) -> int:
    """A gate descriptor. SDM vol. 3A, figures 5-8 and 6-2."""
    return offset & 0xFFFF | selector << 16 | count << 32 | access << 40 | (offset >> 16) << 48
