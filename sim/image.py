"""Guest images: Multiboot 1 and PVH ELF files, read, checked, and placed in memory as a boot loader does."""

from __future__ import annotations

import enum
import io
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from elftools.elf.segments import NoteSegment

from rtl.isa.platform import (
    HIGH_MEMORY_START,
    LOW_MEMORY_END,
    MULTIBOOT_HEADER_MAGIC,
    MULTIBOOT_SEARCH,
    PVH_NOTE_NAME,
    PVH_NOTE_TYPE,
)

from .bootinfo import BootRequest, Module, multiboot_info, pvh_start_info
from .symbols import Symbol, SymbolTable

_ELF_MAGIC = b"\x7fELF"
_EM_386 = 3
_ET_EXEC = 2
_HEADER_SIZE = 52
_PROGRAM_HEADER_SIZE = 32
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
        _check_header(data, name)
        try:
            elf = ELFFile(io.BytesIO(data))
            segments = _segments(elf, data, name)
            protocol, entry = _entry(elf, data, name)
            symbols = _symbols(elf)
        except (ELFError, struct.error, UnicodeDecodeError) as error:
            raise ImageError(f"'{name}' is a damaged ELF file: {error}") from None
        if not any(segment.address <= entry < segment.end for segment in segments):
            raise ImageError(f"'{name}' starts at {entry:X}h, which lies in none of its segments")
        return cls(name, protocol, entry, segments, symbols)

    def place(self, ram: np.ndarray, command_line: str = "", modules: Sequence[Module] = ()) -> BootState:
        """Copy the segments, the modules and the boot information into ``ram`` and say how to start.

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


def _check_header(data: bytes, name: str) -> None:
    if data[:4] != _ELF_MAGIC:
        raise ImageError(f"'{name}' is not an ELF file: it begins with {data[:4].hex(' ') or 'nothing'}")
    if len(data) < _HEADER_SIZE:
        raise ImageError(f"'{name}' is truncated: its {len(data)} bytes are less than an ELF header")
    if data[4] != 1 or data[5] != 1:
        kind = {1: "32-bit", 2: "64-bit"}.get(data[4], f"class {data[4]}")
        order = {1: "little-endian", 2: "big-endian"}.get(data[5], f"byte order {data[5]}")
        raise ImageError(f"'{name}' is a {kind} {order} ELF file; the computer boots 32-bit little-endian ones")
    kind_number, machine = struct.unpack_from("<HH", data, 16)
    if machine != _EM_386:
        raise ImageError(f"'{name}' is for ELF machine {machine}; the computer is an Intel 80386 (machine {_EM_386})")
    if kind_number != _ET_EXEC:
        raise ImageError(f"'{name}' is an ELF file of type {kind_number}; only executables (type {_ET_EXEC}) can boot")
    offset, = struct.unpack_from("<I", data, 28)
    count, = struct.unpack_from("<H", data, 44)
    if offset + count * _PROGRAM_HEADER_SIZE > len(data):
        raise ImageError(f"'{name}' is truncated: its program headers end at byte "
                         f"{offset + count * _PROGRAM_HEADER_SIZE} of a file of {len(data)}")


def _segments(elf: ELFFile, data: bytes, name: str) -> tuple[Segment, ...]:
    found: list[Segment] = []
    for header in (segment.header for segment in elf.iter_segments() if segment.header.p_type == "PT_LOAD"):
        if header.p_memsz == 0:
            continue
        end = header.p_offset + header.p_filesz
        if end > len(data):
            raise ImageError(f"'{name}' is truncated: a segment ends at byte {end} of a file of {len(data)}")
        if header.p_filesz > header.p_memsz:
            raise ImageError(f"'{name}' has a segment with {header.p_filesz} bytes in the file but only "
                             f"{header.p_memsz} in memory")
        if header.p_paddr + header.p_memsz > 1 << 32:
            raise ImageError(f"'{name}' has a segment from {header.p_paddr:X}h of {header.p_memsz:X}h bytes, which "
                             f"passes 4 GiB")
        found.append(Segment(header.p_paddr, data[header.p_offset:end], header.p_memsz))
    if not found:
        raise ImageError(f"'{name}' has no segment to load")
    found.sort(key=lambda segment: segment.address)
    for before, after in zip(found, found[1:], strict=False):
        if after.address < before.end:
            raise ImageError(f"Segments of '{name}' overlap: one ends at {before.end:X}h, the next begins at "
                             f"{after.address:X}h")
    return tuple(found)


def _entry(elf: ELFFile, data: bytes, name: str) -> tuple[Protocol, int]:
    if _has_multiboot(data, name):
        entry = elf.header.e_entry
        for segment in elf.iter_segments():
            header = segment.header
            if header.p_type == "PT_LOAD" and header.p_vaddr <= entry < header.p_vaddr + header.p_memsz:
                return Protocol.MULTIBOOT, entry - header.p_vaddr + header.p_paddr
        return Protocol.MULTIBOOT, entry
    for segment in elf.iter_segments():
        if isinstance(segment, NoteSegment):
            for note in segment.iter_notes():
                if note["n_name"] == PVH_NOTE_NAME and _note_type(note) == PVH_NOTE_TYPE:
                    return Protocol.PVH, struct.unpack("<I", _note_bytes(note)[:4])[0]
    raise ImageError(f"'{name}' has neither a Multiboot header in its first {MULTIBOOT_SEARCH} bytes nor a PVH note")


def _note_type(note: Any) -> int:
    return note["n_type"] if isinstance(note["n_type"], int) else -1


def _note_bytes(note: Any) -> bytes:
    raw = note["n_descdata"]
    return raw if isinstance(raw, bytes) else raw.encode("latin-1")


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


def _symbols(elf: ELFFile) -> SymbolTable:
    found = []
    for section in elf.iter_sections():
        if isinstance(section, SymbolTableSection):
            for symbol in section.iter_symbols():
                if symbol.name and symbol["st_info"]["type"] in ("STT_FUNC", "STT_NOTYPE", "STT_OBJECT") \
                        and symbol["st_shndx"] not in ("SHN_UNDEF", "SHN_ABS"):
                    found.append(Symbol(symbol["st_value"], symbol["st_size"], symbol.name))
    return SymbolTable.of(found)


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
