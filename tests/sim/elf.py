"""Small ELF files made byte by byte, right or wrong in one place."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from rtl.isa.platform import MULTIBOOT_HEADER_MAGIC

BASE = 0x10_0000


def multiboot_header(flags: int = 3) -> bytes:
    return struct.pack("<III", MULTIBOOT_HEADER_MAGIC, flags, -(MULTIBOOT_HEADER_MAGIC + flags) & 0xFFFF_FFFF)


def pvh_note(entry: int) -> bytes:
    return struct.pack("<III4sI", 4, 4, 18, b"Xen\0", entry)


@dataclass
class Elf:
    """A 32-bit executable; `loads` are (physical address, bytes, size in memory)."""

    loads: list[tuple[int, bytes, int]] = field(
        default_factory=lambda: [(BASE, multiboot_header() + b"\xF4\xEB\xFD", 0x1000)])
    entry: int = BASE + 12
    note: bytes = b""
    elf_class: int = 1
    order: int = 1
    machine: int = 3
    kind: int = 2

    def bytes(self) -> bytes:
        count = len(self.loads) + bool(self.note)
        offset = 52 + 32 * count
        headers, body = b"", b""
        for address, data, size in self.loads:
            headers += struct.pack("<8I", 1, offset + len(body), address, address, len(data), size, 7, 0x1000)
            body += data + bytes(-len(data) % 4)
        if self.note:
            headers += struct.pack("<8I", 4, offset + len(body), 0, 0, len(self.note), len(self.note), 4, 4)
            body += self.note
        ident = b"\x7fELF" + bytes([self.elf_class, self.order, 1]) + bytes(9)
        return ident + struct.pack("<HHIIIIIHHHHHH", self.kind, self.machine, 1, self.entry, 52, 0, 0, 52, 32, count,
                                   40, 0, 0) + headers + body
