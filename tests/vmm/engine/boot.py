"""Boots an ELF image by Multiboot 1 on the emulated machine, as much as tests need of a loader."""

from __future__ import annotations

import struct
from pathlib import Path

from elftools.elf.elffile import ELFFile

from rtl.isa.platform import MULTIBOOT_BOOT_MAGIC
from sim.firmware_tables import TABLES_BASE, firmware_tables
from vmm.engine.emulate import EmulatedMachine

INFORMATION, COMMAND_LINE, MEMORY_MAP = 0x9000, 0x9100, 0x9400
_FLAGS = 1 | 4 | 64


def boot(image: Path, command_line: str = "", megabytes: int = 16, machine: EmulatedMachine | None = None,
         ) -> EmulatedMachine:
    machine = machine or EmulatedMachine(megabytes << 20)
    with image.open("rb") as file:
        elf = ELFFile(file)
        for segment in elf.iter_segments("PT_LOAD"):
            machine.memory.load_blob(segment["p_paddr"], segment.data())
        entry = elf["e_entry"]
    size = machine.memory.size
    regions = [(0, 0x9F000, 1), (0x10_0000, size - 0x10_0000, 1)]
    memory_map = b"".join(struct.pack("<IQQI", 20, *region) for region in regions)
    text = f"{image.name} {command_line}".strip().encode() + b"\0"
    information = struct.pack("<IIIIII", _FLAGS, 636, (size >> 10) - 1024, 0, COMMAND_LINE, 0).ljust(44, b"\0")
    information += struct.pack("<II", len(memory_map), MEMORY_MAP)
    for address, blob in ((INFORMATION, information), (COMMAND_LINE, text), (MEMORY_MAP, memory_map),
                          (TABLES_BASE, firmware_tables())):
        machine.memory.load_blob(address, blob)
    state = machine.cpu.state
    state.eip, state.gpr[0], state.gpr[3] = entry, MULTIBOOT_BOOT_MAGIC, INFORMATION
    return machine
