"""What a boot loader tells a kernel: the Multiboot 1 information and the PVH start info, as bytes.

Multiboot specification 0.6.96, section 3.3; Xen public/arch-x86/hvm/start_info.h, version 1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from rtl.isa.platform import HIGH_MEMORY_START, LOW_MEMORY_END, MULTIBOOT_BOOT_MAGIC, PVH_START_MAGIC

#: The last KiB of conventional memory belongs to firmware on a PC (extended BIOS data area).
LOW_USABLE_END = LOW_MEMORY_END - 0x400
_FIRMWARE_TABLES = 0xF_0000
LOADER_NAME = b"gigogne"

_USABLE, _RESERVED = 1, 2
_MB_MEMORY, _MB_COMMAND_LINE, _MB_MODULES, _MB_MAP, _MB_LOADER = 1 << 0, 1 << 2, 1 << 3, 1 << 6, 1 << 9
_MB_INFO_SIZE = 120


@dataclass(frozen=True, slots=True)
class Module:
    """A file handed to the guest, with the text a loader gives for it."""

    name: str
    data: bytes
    command_line: str = ""


@dataclass(frozen=True, slots=True)
class BootRequest:
    """What there is to tell: size of RAM, command line (without the image's name), modules and where they lie."""

    ram_size: int
    command_line: bytes
    image_name: bytes
    modules: tuple[tuple[Module, int], ...] = ()


@dataclass(frozen=True, slots=True)
class BootInfo:
    """Bytes for the base address asked for, and the registers that announce them."""

    data: bytes
    eax: int
    ebx: int


def memory_map(ram_size: int) -> list[tuple[int, int, int]]:
    """(base, length, type) of each range, as the firmware of a PC reports them."""
    ranges = [
        (0, LOW_USABLE_END, _USABLE),
        (LOW_USABLE_END, LOW_MEMORY_END - LOW_USABLE_END, _RESERVED),
        (_FIRMWARE_TABLES, HIGH_MEMORY_START - _FIRMWARE_TABLES, _RESERVED),
    ]
    if ram_size > HIGH_MEMORY_START:
        ranges.append((HIGH_MEMORY_START, ram_size - HIGH_MEMORY_START, _USABLE))
    return ranges


class _Layout:
    """Blocks one after the other, each aligned to 8 bytes."""

    def __init__(self, base: int, reserved: int) -> None:
        self.base = base
        self.data = bytearray(reserved)

    def add(self, block: bytes) -> int:
        self.data += bytes(-len(self.data) % 8)
        address = self.base + len(self.data)
        self.data += block
        return address

    def text(self, line: bytes) -> int:
        return self.add(line + b"\0")


def multiboot_info(base: int, request: BootRequest) -> BootInfo:
    """The information structure at ``base`` with everything it points at."""
    layout = _Layout(base, _MB_INFO_SIZE)
    # The first word of the command line is the image's own name, as GRUB and QEMU put it.
    command_line = layout.text(b" ".join(part for part in (request.image_name, request.command_line) if part))
    loader = layout.text(LOADER_NAME)
    ranges = memory_map(request.ram_size)
    map_bytes = b"".join(struct.pack("<IQQI", 20, start, length, kind) for start, length, kind in ranges)
    map_address = layout.add(map_bytes)
    entries = b"".join(
        struct.pack("<IIII", address, address + len(module.data),
                    layout.text(f"{module.name} {module.command_line}".rstrip().encode(errors="surrogateescape")), 0)
        for module, address in request.modules)
    modules = layout.add(entries)
    flags = _MB_MEMORY | _MB_COMMAND_LINE | _MB_MAP | _MB_LOADER | (_MB_MODULES if request.modules else 0)
    layout.data[:32] = struct.pack(
        "<8I", flags, LOW_USABLE_END >> 10, max(request.ram_size - HIGH_MEMORY_START, 0) >> 10, 0, command_line,
        len(request.modules), modules if request.modules else 0, 0)
    struct.pack_into("<II", layout.data, 44, len(map_bytes), map_address)
    struct.pack_into("<I", layout.data, 64, loader)
    return BootInfo(bytes(layout.data), MULTIBOOT_BOOT_MAGIC, base)


def pvh_start_info(base: int, request: BootRequest) -> BootInfo:
    """hvm_start_info, version 1, at ``base`` with everything it points at."""
    layout = _Layout(base, 56)
    command_line = layout.text(request.command_line)
    ranges = memory_map(request.ram_size)
    map_address = layout.add(b"".join(struct.pack("<QQII", *entry, 0) for entry in ranges))
    entries = b"".join(
        struct.pack("<QQQQ", address, len(module.data),
                    layout.text(module.command_line.encode(errors="surrogateescape")), 0)
        for module, address in request.modules)
    modules = layout.add(entries)
    layout.data[:56] = struct.pack(
        "<IIIIQQQQII", PVH_START_MAGIC, 1, 0, len(request.modules), modules if request.modules else 0, command_line, 0,
        map_address, len(ranges), 0)
    return BootInfo(bytes(layout.data), 0, base)
