"""The tables of the firmware, read back as the specifications say, by code that knows nothing of who wrote them."""

from __future__ import annotations

import numpy as np

from rtl.isa.platform import REGION
from sim.bootinfo import memory_map
from sim.firmware_tables import TABLES_BASE, firmware_tables
from sim.image import Image
from tests.sim.elf import Elf

END = 0x10_0000


def number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at:at + size], "little")


def memory() -> bytes:
    """All below 1 MiB of a computer with an image in it."""
    ram = np.zeros(1 << 19, dtype=np.uint32)
    Image.parse(Elf().bytes(), "guest").place(ram)
    return ram.tobytes()[:END]


def search(low: bytes, signature: bytes, start: int, size: int) -> int:
    found = [at for at in range(start, END, 16) if low.startswith(signature, at)]
    assert len(found) == 1
    assert sum(low[found[0]:found[0] + size]) % 256 == 0
    return found[0]


def test_mp_tables() -> None:
    low = memory()
    pointer = search(low, b"_MP_", 0xF_0000, 16)
    assert low[pointer + 8:pointer + 10] == b"\1\4" and low[pointer + 11:pointer + 16] == bytes(5)
    table = number(low, pointer + 4, 4)
    length, count = number(low, table + 4, 2), number(low, table + 34, 2)
    assert low[table:table + 4] == b"PCMP" and low[table + 6] == 4
    assert sum(low[table:table + length]) % 256 == 0
    assert number(low, table + 36, 4) == 0xFEE0_0000
    entries, at = [], table + 44
    for _ in range(count):
        size = 20 if low[at] == 0 else 8
        entries.append(low[at:at + size])
        at += size
    assert at == table + length
    (processor,), (bus,), (controller,) = ([entry for entry in entries if entry[0] == kind] for kind in (0, 1, 2))
    assert processor[1] == 0 and processor[2] == 0x14 and processor[3] == 3, "enabled, and the bootstrap processor"
    assert number(processor, 4, 4) >> 8 & 15 == 5, "its family"
    assert bus == b"\1\0ISA   "
    assert controller[1:4] == b"\1\x11\1" and number(controller, 4, 4) == 0xFEC0_0000
    routes = {(entry[1], entry[5]): (entry[6], entry[7]) for entry in entries if entry[0] == 3}
    assert routes == {(3, 0): (1, 0), (0, 0): (1, 2)} | {(0, irq): (1, irq) for irq in (1, *range(3, 16))}
    assert [(entry[1], entry[6], entry[7]) for entry in entries if entry[0] == 4] == [(3, 0xFF, 0), (1, 0xFF, 1)]
    assert all(number(entry, 2, 2) == 0 and entry[4] == 0 for entry in entries if entry[0] > 2)
    assert [entry[0] for entry in entries] == sorted(entry[0] for entry in entries)


def test_acpi_tables() -> None:
    low = memory()
    rsdp = search(low, b"RSD PTR ", 0xE_0000, 20)
    assert low[rsdp + 15] == 0
    tables = {}

    def table(at: int) -> bytes:
        data = low[at:at + number(low, at + 4, 4)]
        assert sum(data) % 256 == 0
        tables[data[:4]] = data
        return data

    rsdt = table(number(low, rsdp + 16, 4))
    for place in range(36, len(rsdt), 4):
        table(number(rsdt, place, 4))
    assert set(tables) == {b"RSDT", b"APIC"}
    madt = tables[b"APIC"]
    assert number(madt, 36, 4) == 0xFEE0_0000 and number(madt, 40, 4) == 1
    entries, at = [], 44
    while at < len(madt):
        entries.append(madt[at:at + madt[at + 1]])
        at += madt[at + 1]
    assert at == len(madt)
    assert entries == [
        bytes.fromhex("00 08 00 00 01000000"), bytes.fromhex("01 0C 01 00 0000C0FE 00000000"),
        bytes.fromhex("02 0A 00 00 02000000 0000"), bytes.fromhex("04 06 FF 0000 01")]


def test_they_lie_in_reserved_memory() -> None:
    size = len(firmware_tables())
    assert REGION["ROM_HOLE"].base <= TABLES_BASE and TABLES_BASE + size <= END
    assert any(kind == 2 and start <= TABLES_BASE and TABLES_BASE + size <= start + length
               for start, length, kind in memory_map(2 << 20))


def test_every_pointer_follows_the_base() -> None:
    one, other = firmware_tables(0xF_0000), firmware_tables(0xE_0000)
    assert len(one) == len(other) and one != other
    assert number(one, 4, 4) - number(other, 4, 4) == 0x1_0000
