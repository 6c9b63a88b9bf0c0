"""What the firmware of a PC tells of its interrupt controllers: Intel MP tables and ACPI tables, as bytes.

MultiProcessor Specification 1.4, chapter 4; ACPI specification 6.4, 5.2.5 (RSDP), 5.2.7 (RSDT), 5.2.12 (MADT).

There is no FADT, and so no DSDT: a FADT names power-management registers, their timer and their interrupt, none of
which this computer has. Linux for x86 looks for one, goes on without it, and takes processors and the routing of
interrupts from the MADT alone; small kernels, as xv6, read the MP tables.
"""

from __future__ import annotations

import struct

from rtl.isa.apic import (
    APIC_ID,
    APIC_VERSION,
    EXTINT_INPUT,
    IO_APIC_ID,
    IO_APIC_VERSION,
    io_apic_input,
)
from rtl.isa.cpuid import FEATURE_BITS, SIGNATURE
from rtl.isa.platform import ISA_LINES, REGION, Irq

#: Where kernels look for both.
TABLES_BASE = 0xF_0000
_LOCAL, _IO = REGION["LOCAL_APIC"].base, REGION["IO_APIC"].base
_OEM, _PRODUCT = b"GIGOGN", b"COMPUTER"
_ALIGNMENT = 16
#: Interrupt types of the MP tables.
_INT, _NMI, _EXTINT = 0, 1, 3
_ALL_PROCESSORS = 0xFF


def firmware_tables(base: int = TABLES_BASE) -> bytes:
    """The tables with their pointers, for an address that is a multiple of 16."""
    blob = bytearray()

    def place(data: bytes) -> int:
        blob.extend(bytes(-len(blob) % _ALIGNMENT))
        address = base + len(blob)
        blob.extend(data)
        return address

    # Pointers come first, and are filled in when it is known where the rest lies.
    floating, root = place(bytes(16)) - base, place(bytes(20)) - base
    blob[floating:floating + 16] = _floating_pointer(place(_mp_configuration()))
    blob[root:root + 20] = _root_pointer(place(_acpi_table(b"RSDT", 1, struct.pack("<I", place(_madt())))))
    return bytes(blob)


def _with_checksum(data: bytes, at: int) -> bytes:
    """The bytes, of which the one at an offset makes the sum 0."""
    return data[:at] + bytes([-(sum(data) - data[at]) & 0xFF]) + data[at + 1:]


def _floating_pointer(table: int) -> bytes:
    return _with_checksum(struct.pack("<4sIBBB5x", b"_MP_", table, 1, 4, 0), 10)


def _mp_configuration() -> bytes:
    entries = [
        struct.pack("<BBBBII8x", 0, APIC_ID, APIC_VERSION & 0xFF, 3, SIGNATURE, FEATURE_BITS),
        struct.pack("<BB6s", 1, 0, b"ISA   "),
        struct.pack("<BBBBI", 2, IO_APIC_ID, IO_APIC_VERSION & 0xFF, 1, _IO),
        _mp_interrupt(3, _EXTINT, 0, IO_APIC_ID, EXTINT_INPUT),
        *(_mp_interrupt(3, _INT, irq, IO_APIC_ID, io_apic_input(irq)) for irq in _isa_lines()),
        _mp_interrupt(4, _EXTINT, 0, _ALL_PROCESSORS, 0),
        _mp_interrupt(4, _NMI, 0, _ALL_PROCESSORS, 1),
    ]
    body = b"".join(entries)
    header = struct.pack("<4sHBB8s12sIHHIHBx", b"PCMP", 44 + len(body), 4, 0, _OEM.ljust(8), _PRODUCT.ljust(12), 0, 0,
                         len(entries), _LOCAL, 0, 0)
    return _with_checksum(header + body, 7)


def _mp_interrupt(entry: int, kind: int, irq: int, controller: int, pin: int) -> bytes:
    """Polarity and trigger as the bus has them."""
    return struct.pack("<BBHBBBB", entry, kind, 0, 0, irq, controller, pin)


def _isa_lines() -> list[int]:
    return [irq for irq in range(ISA_LINES) if irq != Irq.CASCADE]


def _root_pointer(rsdt: int) -> bytes:
    return _with_checksum(struct.pack("<8sB6sBI", b"RSD PTR ", 0, _OEM, 0, rsdt), 8)


def _acpi_table(signature: bytes, revision: int, body: bytes) -> bytes:
    header = struct.pack("<4sIBB6s8sI4sI", signature, 36 + len(body), revision, 0, _OEM, _PRODUCT.ljust(8), 1, b"GIGO",
                         1)
    return _with_checksum(header + body, 9)


def _madt() -> bytes:
    moved = [irq for irq in _isa_lines() if io_apic_input(irq) != irq]
    return _acpi_table(b"APIC", 1, b"".join([
        struct.pack("<II", _LOCAL, 1),  # there is an 8259A pair
        struct.pack("<BBBBI", 0, 8, 0, APIC_ID, 1),
        struct.pack("<BBBxII", 1, 12, IO_APIC_ID, _IO, 0),
        *(struct.pack("<BBBBIH", 2, 10, 0, irq, io_apic_input(irq), 0) for irq in moved),
        struct.pack("<BBBHB", 4, 6, _ALL_PROCESSORS, 0, 1),
    ]))
