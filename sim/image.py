"""Guest images: Multiboot 1 and PVH ELF files, read, checked, and placed in memory as a boot loader does."""

from __future__ import annotations

import enum
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rtl.isa.platform import (
    HIGH_MEMORY_START,
    LOW_MEMORY_END,
    MULTIBOOT_HEADER_MAGIC,
    MULTIBOOT_SEARCH,
    PVH_NOTE_NAME,
    PVH_NOTE_TYPE,
)

from .bootinfo import BootRequest, Module, multiboot_info, pvh_start_info
from .elf import ELF_MAGIC, EM_386, ET_EXEC, HEADER_SIZE, PT_LOAD, ElfError, ElfFile, ProgramHeader
from .firmware_tables import TABLES_BASE, firmware_tables
from .symbols import Symbol, SymbolTable

_UNDERSTOOD_REQUIREMENTS = 0x3
PAGE = 4096


class ImageError(Exception):
    """An image or its environment cannot be used; the message is one sentence naming the offending value."""


class Protocol(enum.Enum):
    """How the image wants to be started."""

    MULTIBOOT = "Multiboot 1"
    PVH = "PVH"


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes to place at a physical address, followed by zeroes up to ``size``."""

    address: int
    data: bytes
    size: int

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass(frozen=True, slots=True)
class BootState:
    """Registers with which the first instruction runs: flat 32-bit protected mode, paging and interrupts off."""

    eip: int
    eax: int
    ebx: int


@dataclass(frozen=True)
class Image:
    """A guest program that is ready to be placed in memory.

    Members
    -------
    name : for messages. entry : physical address of the first instruction.
    segments : disjoint, sorted by address. symbols : names of addresses.
    """

    name: str
    protocol: Protocol
    entry: int
    segments: tuple[Segment, ...]
    symbols: SymbolTable = field(default_factory=SymbolTable)

    @property
    def end(self) -> int:
        """First address after the highest segment."""
        return max(segment.end for segment in self.segments)

    @classmethod
    def load(cls, path: Path | str) -> Image:
        """Read an ELF file.

        Raises
        ------
        ImageError
            The file cannot be read, is no 32-bit x86 executable, is cut short, or has no known entry protocol.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ImageError(f"Cannot read '{path}': {error.strerror}") from None
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: bytes, name: str) -> Image:
        """The image in the bytes of an ELF file. Raises ImageError as `load` does."""
        elf = _check_header(data, name)
        try:
            headers = elf.programs
            segments = _segments(headers, data, name)
            protocol, entry = _entry(elf, headers, data, name)
            symbols = SymbolTable.of(Symbol(*symbol) for symbol in elf.symbols())
        except ElfError as error:
            raise ImageError(f"'{name}' {error}") from None
        if not any(segment.address <= entry < segment.end for segment in segments):
            raise ImageError(f"'{name}' starts at {entry:X}h, which lies in none of its segments")
        return cls(name, protocol, entry, segments, symbols)

    def place(self, ram: np.ndarray, command_line: str = "", modules: Sequence[Module] = ()) -> BootState:
        """Copy the segments, the modules, the firmware's tables and the boot information into ``ram`` and say how to
        start.

        The boot information goes into the first free place from 9000h up in conventional memory, modules page-aligned
        after the image.

        Raises
        ------
        ImageError
            Something does not fit in RAM, or lies where a PC has none.
        """
        memory = ram.data.cast("B")
        ram_size = len(memory)
        for segment in self.segments:
            if segment.end > ram_size:
                raise ImageError(f"A segment of '{self.name}' ends at {segment.end:X}h, after the {ram_size >> 20} MiB "
                                 f"of RAM; try -m {-(-segment.end >> 20)}")
            if segment.address < HIGH_MEMORY_START and segment.end > LOW_MEMORY_END:
                raise ImageError(f"A segment of '{self.name}' at {segment.address:X}h reaches into the hole from "
                                 f"{LOW_MEMORY_END:X}h to {HIGH_MEMORY_START - 1:X}h, where a PC has no RAM")
        placed = _place_modules(modules, max(self.end, HIGH_MEMORY_START), ram_size)
        for segment in self.segments:
            memory[segment.address:segment.address + len(segment.data)] = segment.data
            memory[segment.address + len(segment.data):segment.end] = bytes(segment.size - len(segment.data))
        for module, address in placed:
            memory[address:address + len(module.data)] = module.data
        if ram_size >= HIGH_MEMORY_START:
            tables = firmware_tables()
            memory[TABLES_BASE:TABLES_BASE + len(tables)] = tables
        request = BootRequest(ram_size, os.fsencode(command_line), os.fsencode(Path(self.name).name), tuple(placed))
        build = multiboot_info if self.protocol is Protocol.MULTIBOOT else pvh_start_info
        size = len(build(0, request).data)
        base = self._free_low_memory(size)
        info = build(base, request)
        memory[base:base + size] = info.data
        return BootState(self.entry, info.eax, info.ebx)

    def _free_low_memory(self, size: int) -> int:
        base = 0x9000
        for segment in self.segments:
            if segment.address < base + size and base < segment.end:
                base = -(-segment.end // 16) * 16
        if base + size > LOW_MEMORY_END - 0x400:
            raise ImageError(f"The boot information of {size} bytes does not fit below {LOW_MEMORY_END:X}h beside "
                             f"the segments of '{self.name}'")
        return base


def _check_header(data: bytes, name: str) -> ElfFile:
    if data[:4] != ELF_MAGIC:
        raise ImageError(f"'{name}' is not an ELF file: it begins with {data[:4].hex(' ') or 'nothing'}")
    if len(data) < HEADER_SIZE:
        raise ImageError(f"'{name}' is truncated: its {len(data)} bytes are less than an ELF header")
    elf = ElfFile(data)
    if elf.elf_class != 1 or elf.order != 1:
        kind = {1: "32-bit", 2: "64-bit"}.get(elf.elf_class, f"class {elf.elf_class}")
        order = {1: "little-endian", 2: "big-endian"}.get(elf.order, f"byte order {elf.order}")
        raise ImageError(f"'{name}' is a {kind} {order} ELF file; the computer boots 32-bit little-endian ones")
    if elf.machine != EM_386:
        raise ImageError(f"'{name}' is for ELF machine {elf.machine}; the computer is an Intel 80386 "
                         f"(machine {EM_386})")
    if elf.kind != ET_EXEC:
        raise ImageError(f"'{name}' is an ELF file of type {elf.kind}; only executables (type {ET_EXEC}) can boot")
    return elf


def _segments(headers: list[ProgramHeader], data: bytes, name: str) -> tuple[Segment, ...]:
    found: list[Segment] = []
    for header in headers:
        if header.kind != PT_LOAD or header.memsz == 0:
            continue
        end = header.offset + header.filesz
        if end > len(data):
            raise ImageError(f"'{name}' is truncated: a segment ends at byte {end} of a file of {len(data)}")
        if header.filesz > header.memsz:
            raise ImageError(f"'{name}' has a segment with {header.filesz} bytes in the file but only "
                             f"{header.memsz} in memory")
        if header.paddr + header.memsz > 1 << 32:
            raise ImageError(f"'{name}' has a segment from {header.paddr:X}h of {header.memsz:X}h bytes, which "
                             f"passes 4 GiB")
        found.append(Segment(header.paddr, data[header.offset:end], header.memsz))
    if not found:
        raise ImageError(f"'{name}' has no segment to load")
    found.sort(key=lambda segment: segment.address)
    for before, after in zip(found, found[1:], strict=False):
        if after.address < before.end:
            raise ImageError(f"Segments of '{name}' overlap: one ends at {before.end:X}h, the next begins at "
                             f"{after.address:X}h")
    return tuple(found)


def _entry(elf: ElfFile, headers: list[ProgramHeader], data: bytes, name: str) -> tuple[Protocol, int]:
    if _has_multiboot(data, name):
        for header in headers:
            if header.kind == PT_LOAD and header.vaddr <= elf.entry < header.vaddr + header.memsz:
                return Protocol.MULTIBOOT, elf.entry - header.vaddr + header.paddr
        return Protocol.MULTIBOOT, elf.entry
    for note in elf.notes():
        if note.name == PVH_NOTE_NAME.encode() and note.kind == PVH_NOTE_TYPE and len(note.description) >= 4:
            return Protocol.PVH, int.from_bytes(note.description[:4], "little")
    raise ImageError(f"'{name}' has neither a Multiboot header in its first {MULTIBOOT_SEARCH} bytes nor a PVH note")


def _has_multiboot(data: bytes, name: str) -> bool:
    head = data[:MULTIBOOT_SEARCH]
    for offset in range(0, len(head) - 11, 4):
        magic, flags, checksum = struct.unpack_from("<III", head, offset)
        if magic == MULTIBOOT_HEADER_MAGIC and not (magic + flags + checksum) & 0xFFFF_FFFF:
            unknown = flags & 0xFFFF & ~_UNDERSTOOD_REQUIREMENTS
            if unknown:
                raise ImageError(f"'{name}' requires Multiboot features {unknown:X}h, which this loader does not have")
            return True
    return False


def _place_modules(modules: Sequence[Module], after: int, ram_size: int) -> list[tuple[Module, int]]:
    placed = []
    for module in modules:
        address = -(-after // PAGE) * PAGE
        after = address + len(module.data)
        if after > ram_size:
            raise ImageError(f"Module '{module.name}' would end at {after:X}h, after the {ram_size >> 20} MiB of RAM; "
                             f"try -m {-(-after >> 20)}")
        placed.append((module, address))
    return placed
