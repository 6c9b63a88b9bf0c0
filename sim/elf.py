"""ELF files of the one kind that boots here: 32-bit, little-endian.

System V Application Binary Interface, chapter 4 (headers, sections, symbols) and 5 (program headers, notes). Only what
a loader needs; a kernel has tens of thousands of symbols, which are read as a table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

PT_LOAD, PT_NOTE = 1, 4
_SHT_SYMTAB, _SHT_DYNSYM = 2, 11
_SHN_UNDEF, _SHN_ABS = 0, 0xFFF1
#: Types up to this one are labels, objects and functions; the others are sections, files and the like.
_STT_FUNC = 2

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<8I")
_SECTION_HEADER = struct.Struct("<10I")
_SYMBOL = struct.Struct("<IIIBBH")
_NOTE = struct.Struct("<III")

ELF_MAGIC = b"\x7fELF"
EM_386 = 3
ET_EXEC = 2
HEADER_SIZE = _HEADER.size


class ElfError(Exception):
    """The file is cut short or damaged; the message is what to say of it after its name."""


@dataclass(frozen=True, slots=True)
class ProgramHeader:
    """A segment: its kind, its place in the file and in memory."""

    kind: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int


@dataclass(frozen=True, slots=True)
class Note:
    """An entry of a note segment."""

    name: bytes
    kind: int
    description: bytes


class ElfFile:
    """The tables of a file.

    Parameters
    ----------
    data : the whole file, at least `HEADER_SIZE` bytes.

    Members
    -------
    elf_class, order : 1 and 1 for files of this kind; nothing else is known of others.
    kind, machine, entry : as in the header.
    programs : the program headers.

    Raises
    ------
    ElfError
        By a member that would have to read past the end of the file.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.elf_class, self.order = data[4], data[5]
        (_ident, self.kind, self.machine, _version, self.entry, self._programs, self._sections, _flags, _size,
         _program_size, self._program_count, _section_size, self._section_count, _names) = _HEADER.unpack_from(data)

    @property
    def programs(self) -> list[ProgramHeader]:
        table = self._slice(self._programs, self._program_count * _PROGRAM_HEADER.size, "program headers")
        return [ProgramHeader(kind, offset, vaddr, paddr, filesz, memsz)
                for kind, offset, vaddr, paddr, filesz, memsz, _flags, _align in _PROGRAM_HEADER.iter_unpack(table)]

    def notes(self) -> Iterator[Note]:
        """The entries of all note segments; names are without their final zero."""
        for header in self.programs:
            if header.kind != PT_NOTE:
                continue
            data = self._slice(header.offset, header.filesz, "notes")
            at = 0
            while at + _NOTE.size <= len(data):
                name_size, size, kind = _NOTE.unpack_from(data, at)
                name_at = at + _NOTE.size
                description_at = name_at + (name_size + 3 & ~3)
                at = description_at + (size + 3 & ~3)
                beyond = description_at + size - len(data)
                if beyond > 0:
                    raise ElfError(f"is damaged: a note ends {beyond} bytes after its segment")
                yield Note(data[name_at:name_at + name_size].rstrip(b"\0"), kind,
                           data[description_at:description_at + size])

    def symbols(self) -> Iterator[tuple[int, int, str]]:
        """Address, size and name of functions, objects and labels that the file defines."""
        table = self._slice(self._sections, self._section_count * _SECTION_HEADER.size, "section headers")
        sections = list(_SECTION_HEADER.iter_unpack(table))
        for _name, kind, _flags, _address, offset, size, link, _info, _align, _entry in sections:
            if kind not in (_SHT_SYMTAB, _SHT_DYNSYM):
                continue
            if link >= len(sections):
                raise ElfError(f"is damaged: the names of its symbols are in section {link} of {len(sections)}")
            names = self._slice(sections[link][4], sections[link][5], "names of symbols") + b"\0"
            symbols = self._slice(offset, size // _SYMBOL.size * _SYMBOL.size, "symbols")
            for at, value, length, info, _other, section in _SYMBOL.iter_unpack(symbols):
                if info & 0xF <= _STT_FUNC and section not in (_SHN_UNDEF, _SHN_ABS):
                    name = names[at:names.find(b"\0", at)]
                    if name:
                        yield value, length, name.decode(errors="replace")

    def _slice(self, offset: int, size: int, what: str) -> bytes:
        if offset + size > len(self._data):
            raise ElfError(f"is truncated: its {what} end at byte {offset + size} of a file of {len(self._data)}")
        return self._data[offset:offset + size]
