"""The ELF reader against pyelftools, and on damaged files."""

from __future__ import annotations

import io
import random
import struct

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from sim.elf import ElfError, ElfFile
from sim.image import Image, ImageError
from tests.sim.elf import BASE, Elf, multiboot_header, pvh_note

#: Value, size, type, section: a function, a label, an object, then what is no name of an address: a section, a file,
#: an undefined symbol, a constant.
SYMBOLS = {"start": (BASE, 16, 2, 1), "again": (BASE + 4, 0, 0, 1), "table": (BASE + 8, 4, 1, 1),
           "section": (BASE, 0, 3, 1), "guest.c": (0, 0, 4, 0xFFF1), "undefined": (0, 0, 0, 0),
           "three": (3, 0, 0, 0xFFF1)}


def with_symbols(data: bytes, link: int = 2) -> bytes:
    """The file with a symbol table: sections nothing, .symtab, .strtab."""
    names, table = b"\0", bytes(16)
    for name, (value, size, kind, section) in SYMBOLS.items():
        table += struct.pack("<IIIBBH", len(names), value, size, 1 << 4 | kind, 0, section)
        names += name.encode() + b"\0"
    names_at = len(data) + len(table)
    headers = bytes(40) + struct.pack("<10I", 0, 2, 0, 0, len(data), len(table), link, 1, 4, 16) + struct.pack(
        "<10I", 0, 3, 0, 0, names_at, len(names), 0, 0, 1, 0)
    whole = bytearray(data + table + names + headers)
    struct.pack_into("<I", whole, 32, names_at + len(names))
    struct.pack_into("<HHH", whole, 46, 40, 3, 0)
    return bytes(whole)


FILE = with_symbols(Elf([(BASE, multiboot_header() + b"\xF4" * 16, 0x100), (BASE + 0x1000, b"data", 64)],
                        note=pvh_note(BASE + 12)).bytes())


def test_symbols_are_the_names_of_addresses() -> None:
    assert list(ElfFile(FILE).symbols()) == [(BASE, 16, "start"), (BASE + 4, 0, "again"), (BASE + 8, 4, "table")]


def test_as_pyelftools_reads_it() -> None:
    mine, theirs = ElfFile(FILE), ELFFile(io.BytesIO(FILE))
    assert [(header.offset, header.vaddr, header.paddr, header.filesz, header.memsz) for header in mine.programs] == [
        (header["p_offset"], header["p_vaddr"], header["p_paddr"], header["p_filesz"], header["p_memsz"])
        for header in theirs.iter_segments()]
    assert mine.entry == theirs.header.e_entry
    named = {symbol.name: (symbol["st_value"], symbol["st_size"]) for section in theirs.iter_sections()
             if isinstance(section, SymbolTableSection) for symbol in section.iter_symbols()}
    assert all(named[name] == (value, size) for value, size, name in mine.symbols())


def test_notes() -> None:
    note, = ElfFile(FILE).notes()
    assert (note.name, note.kind, note.description) == (b"Xen", 18, struct.pack("<I", BASE + 12))


@pytest.mark.parametrize(("data", "phrase"), [
    (FILE[:-1], f"is truncated: its section headers end at byte {len(FILE)} of a file of {len(FILE) - 1}"),
    (with_symbols(Elf().bytes(), link=3), "is damaged: the names of its symbols are in section 3 of 3"),
])
def test_damaged_symbols(data: bytes, phrase: str) -> None:
    with pytest.raises(ElfError) as error:
        list(ElfFile(data).symbols())
    assert str(error.value) == phrase
    with pytest.raises(ImageError, match=f"^'x' {phrase}$"):
        Image.parse(data, "x")


def test_note_longer_than_its_segment() -> None:
    with pytest.raises(ElfError, match="^is damaged: a note ends 8 bytes after its segment$"):
        list(ElfFile(Elf(note=struct.pack("<III", 4, 8, 18) + b"Xen\0").bytes()).notes())


def test_any_damage_is_an_image_or_a_sentence() -> None:
    rng = random.Random(1)
    read = 0
    for _ in range(3000):
        data = bytearray(FILE)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.getrandbits(8)))
        try:
            Image.parse(bytes(data[:rng.choice((len(data), rng.randrange(len(data))))]), "x")
            read += 1
        except ImageError as error:
            assert str(error).startswith(("'x' ", "Segments of 'x' "))
    assert 100 < read < 2900
