"""Images are read and placed as a boot loader does, and what is wrong with one is said in one sentence."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from sim.bootinfo import Module
from sim.image import Image, ImageError, Protocol
from sim.machine import MachineError, parse_ram_size
from sim.symbols import Symbol, SymbolTable
from tests.sim.elf import BASE, Elf, multiboot_header, pvh_note


def ram(mebibytes: int = 4) -> np.ndarray:
    return np.zeros(mebibytes << 18, dtype=np.uint32)


def words(memory: np.ndarray, address: int, count: int) -> tuple[int, ...]:
    return tuple(int(word) for word in memory[address // 4:address // 4 + count])


def text(memory: np.ndarray, address: int) -> str:
    data = memory.tobytes()[address:address + 256]
    return data[:data.index(0)].decode()


def test_multiboot_image_is_placed_with_its_zeroes() -> None:
    memory = ram()
    memory[:] = 0xDEAD_BEEF
    image = Image.parse(Elf().bytes(), "x")
    boot = image.place(memory)
    assert image.protocol is Protocol.MULTIBOOT
    assert (boot.eip, boot.eax) == (BASE + 12, 0x2BAD_B002)
    assert memory.tobytes()[BASE + 12:BASE + 15] == b"\xF4\xEB\xFD"
    assert words(memory, BASE + 16, 1) == (0,) and words(memory, BASE + 0x1000, 1) == (0xDEAD_BEEF,)


def test_multiboot_information() -> None:
    memory = ram()
    boot = Image.parse(Elf().bytes(), "dir/guest.elf").place(
        memory, "iterations=3", [Module("disk", b"abc", "ro"), Module("second", b"z")])
    flags, lower, upper, _device, line, modules, module_address = words(memory, boot.ebx, 7)
    assert flags == 0b10_0100_1101 and (lower, upper) == (639, 3 * 1024)
    assert text(memory, line) == "guest.elf iterations=3"
    assert modules == 2
    start, end, name, _reserved = words(memory, module_address, 4)
    assert start == BASE + 0x1000 and end - start == 3 and memory.tobytes()[start:end] == b"abc"
    assert text(memory, name) == "disk ro" and words(memory, module_address + 16, 1) == (start + 0x1000,)
    length, address = words(memory, boot.ebx + 44, 2)
    ranges = [struct.unpack_from("<IQQI", memory.tobytes(), address + at) for at in range(0, length, 24)]
    assert ranges[0] == (20, 0, 0x9FC00, 1) and ranges[-1] == (20, 0x10_0000, 3 << 20, 1)


def test_pvh_image_and_its_start_info() -> None:
    memory = ram()
    image = Image.parse(Elf([(BASE, b"\xF4" * 16, 16)], note=pvh_note(BASE + 4)).bytes(), "x")
    boot = image.place(memory, "quiet", [Module("m", b"12345")])
    assert image.protocol is Protocol.PVH and boot.eip == BASE + 4
    magic, version, _flags, modules = words(memory, boot.ebx, 4)
    assert (magic, version, modules) == (0x336E_C578, 1, 1)
    module_list, line, _rsdp, memory_map = struct.unpack_from("<QQQQ", memory.tobytes(), boot.ebx + 16)
    assert text(memory, line) == "quiet"
    assert struct.unpack_from("<QQ", memory.tobytes(), module_list)[1] == 5
    assert struct.unpack_from("<QQI", memory.tobytes(), memory_map) == (0, 0x9FC00, 1)


def test_boot_information_avoids_low_segments() -> None:
    loads = [(0x8000, b"low", 0x4000), (BASE, multiboot_header() + b"\xF4", 64)]
    boot = Image.parse(Elf(loads).bytes(), "x").place(ram())
    assert boot.ebx == 0xC000


def test_boot_information_needs_low_memory() -> None:
    loads = [(0x1000, b"", 0x9EB80), (BASE, multiboot_header() + b"\xF4", 64)]
    with pytest.raises(ImageError, match=r"The boot information of \d+ bytes does not fit below A0000h"):
        Image.parse(Elf(loads).bytes(), "x").place(ram())


@pytest.mark.parametrize(("data", "sentence"), [
    (b"", "'x' is not an ELF file: it begins with nothing"),
    (b"#!/bin/sh", "'x' is not an ELF file: it begins with 23 21 2f 62"),
    (Elf().bytes()[:40], "'x' is truncated: its 40 bytes are less than an ELF header"),
    (Elf().bytes()[:60], "'x' is truncated: its program headers end at byte 84 of a file of 60"),
    (Elf().bytes()[:90], "'x' is truncated: a segment ends at byte 99 of a file of 90"),
    (Elf(elf_class=2).bytes(), "'x' is a 64-bit little-endian ELF file; the computer boots 32-bit little-endian ones"),
    (Elf(order=2).bytes(), "'x' is a 32-bit big-endian ELF file; the computer boots 32-bit little-endian ones"),
    (Elf(machine=40).bytes(), "'x' is for ELF machine 40; the computer is an Intel 80386 (machine 3)"),
    (Elf(kind=1).bytes(), "'x' is an ELF file of type 1; only executables (type 2) can boot"),
    (Elf([(BASE, b"\xF4", 16)]).bytes(),
     "'x' has neither a Multiboot header in its first 8192 bytes nor a PVH note"),
    (Elf([(BASE, multiboot_header(7), 64)]).bytes(),
     "'x' requires Multiboot features 4h, which this loader does not have"),
    (Elf([(BASE, multiboot_header() + b"\xF4", 64), (BASE + 32, b"", 64)]).bytes(),
     "Segments of 'x' overlap: one ends at 100040h, the next begins at 100020h"),
    (Elf([(BASE, multiboot_header(), 4)]).bytes(),
     "'x' has a segment with 12 bytes in the file but only 4 in memory"),
    (Elf([(0xFFFF_F000, multiboot_header(), 0x2000)]).bytes(),
     "'x' has a segment from FFFFF000h of 2000h bytes, which passes 4 GiB"),
    (Elf([]).bytes(), "'x' has no segment to load"),
    (Elf(entry=0x20_0000).bytes(), "'x' starts at 200000h, which lies in none of its segments"),
])
def test_what_is_wrong_with_a_file(data: bytes, sentence: str) -> None:
    with pytest.raises(ImageError) as error:
        Image.parse(data, "x")
    assert str(error.value) == sentence


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^Cannot read '.*nothing': No such file or directory$"):
        Image.load(tmp_path / "nothing")


def test_segments_outside_ram() -> None:
    image = Image.parse(Elf([(0x80_0000, multiboot_header() + b"\xF4", 64)], entry=0x80_000C).bytes(), "x")
    with pytest.raises(ImageError) as error:
        image.place(ram())
    assert str(error.value) == "A segment of 'x' ends at 800040h, after the 4 MiB of RAM; try -m 9"


def test_segments_in_the_hole() -> None:
    image = Image.parse(Elf([(0xB_8000, multiboot_header() + b"\xF4", 64)], entry=0xB_800C).bytes(), "x")
    with pytest.raises(ImageError) as error:
        image.place(ram())
    assert str(error.value) == (
        "A segment of 'x' at B8000h reaches into the hole from A0000h to FFFFFh, where a PC has no RAM")


def test_module_that_does_not_fit() -> None:
    with pytest.raises(ImageError, match=r"^Module 'big' would end at 501000h, after the 4 MiB of RAM; try -m 6$"):
        Image.parse(Elf().bytes(), "x").place(ram(), "", [Module("big", bytes(4 << 20))])


@pytest.mark.parametrize(("size", "value"), [("16", 16 << 20), ("4096K", 4 << 20), ("1G", 1 << 30), ("64m", 64 << 20)])
def test_memory_sizes(size: str, value: int) -> None:
    assert parse_ram_size(size) == value


@pytest.mark.parametrize(("size", "sentence"), [
    ("lots", "Memory size 'lots' is not a number of MiB, with or without a suffix K, M or G"),
    ("", "Memory size '' is not a number of MiB, with or without a suffix K, M or G"),
    ("-5", "Memory size '-5' is not a number of MiB, with or without a suffix K, M or G"),
    ("1", "Memory size '1' is out of range: from 2 to 3072 MiB"),
    ("8G", "Memory size '8G' is out of range: from 2 to 3072 MiB"),
    ("4097K", "Memory size '4097K' is not a multiple of 4 KiB"),
])
def test_absurd_memory_sizes(size: str, sentence: str) -> None:
    with pytest.raises(MachineError) as error:
        parse_ram_size(size)
    assert str(error.value) == sentence


def test_symbols() -> None:
    table = SymbolTable.of([Symbol(0x100, 0x10, "f"), Symbol(0x100, 0, "alias"), Symbol(0x200, 0, "label")])
    assert [table.describe(address) for address in (0xFF, 0x100, 0x10F, 0x110, 0x21A)] == [
        "", "f", "f+Fh", "", "label+1Ah"]
    assert (table.address_of("label"), table.address_of("none")) == (0x200, None)
    assert (table.address_of("label+1Ah"), table.address_of("none+1h"), table.address_of("+1h")) == (0x21A, None, None)
