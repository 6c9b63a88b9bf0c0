"""Guest programs of a few instructions, as images."""

from __future__ import annotations

import struct

from rtl.isa.platform import PORT
from sim.image import Image
from tests.sim.elf import BASE, Elf, multiboot_header

START = BASE + 12


def elf(code: bytes) -> bytes:
    """A Multiboot ELF file that runs `code`."""
    return Elf([(BASE, multiboot_header() + code, 0x4000)], entry=START).bytes()


def image(code: bytes) -> Image:
    return Image.parse(elf(code), "guest")


def leave(value: int) -> bytes:
    """MOV AL, value; OUT exit, AL; HLT."""
    return bytes([0xB0, value, 0xE6, PORT["EXIT"].base, 0xF4])


def say(text: str) -> bytes:
    """Text on the debug console."""
    return b"".join(bytes([0xB0, byte, 0xE6, PORT["DEBUGCON"].base]) for byte in text.encode())


def count(iterations: int) -> bytes:
    """MOV ECX, n; again: ADD EAX, ECX; MOV [104000h - 4], EAX; DEC ECX; JNZ again."""
    return (b"\xB9" + struct.pack("<I", iterations) + b"\x01\xC8\xA3" + struct.pack("<I", BASE + 0x3FFC)
            + b"\x49" + b"\x75\xF6")


#: MOV DX, 600h; OUT DX, AL; OUT DX, EAX; IN AL, DX; INC AL; OUT exit, AL: exits with 0 if nobody hears it.
DOORBELL = bytes.fromhex("66BA0006 EE EF EC FEC0 E6") + bytes([PORT["EXIT"].base])
#: CLI; HLT
HALT = b"\xFA\xF4"
#: LIDT of a table without room
NO_IDT = b"\x0F\x01\x1D" + struct.pack("<I", BASE + 0x3000)
#: The same, and UD2
TRIPLE_FAULT = NO_IDT + b"\x0F\x0B"
#: JMP to itself
FOREVER = b"\xEB\xFE"
#: Pulse of the reset line through port 64h, then wait.
RESET = bytes([0xB0, 0xFE, 0xE6, 0x64]) + FOREVER
