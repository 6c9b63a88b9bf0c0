"""Exceptions, MSRs, CPUID and the platform map."""

from itertools import pairwise

import pytest

from rtl.isa import cpuid, exceptions, platform
from rtl.isa.exceptions import Combination, Vector, combine
from rtl.isa.msrs import MSRS, PERF_TEXT, Msr, PerfEvent


@pytest.mark.parametrize(("first", "second", "result"), [
    (None, Vector.PF, Combination.SERIAL),
    (Vector.BR, Vector.GP, Combination.SERIAL),
    (Vector.GP, Vector.BR, Combination.SERIAL),
    (Vector.GP, Vector.GP, Combination.DOUBLE_FAULT),
    (Vector.DE, Vector.NP, Combination.DOUBLE_FAULT),
    (Vector.GP, Vector.PF, Combination.SERIAL),
    (Vector.PF, Vector.GP, Combination.DOUBLE_FAULT),
    (Vector.PF, Vector.PF, Combination.DOUBLE_FAULT),
    (Vector.DF, Vector.GP, Combination.SHUTDOWN),
    (Vector.DF, Vector.PF, Combination.SHUTDOWN),
    (Vector.DF, Vector.DB, Combination.SERIAL),
    (0x80, Vector.GP, Combination.SERIAL),
])
def test_double_fault_matrix(first: int | None, second: int, result: Combination) -> None:
    assert combine(first, second) is result


def test_error_codes() -> None:
    assert exceptions.ERROR_CODE_MASK == 0x0002_7D00
    assert exceptions.CONTRIBUTORY_MASK == 0x3C01
    assert exceptions.selector_error(0x2B, ext=1) == 0x29
    assert exceptions.idt_error(0x80) == 0x402
    assert set(exceptions.EXCEPTIONS) == set(Vector)


def test_every_msr_and_event_is_described() -> None:
    assert set(MSRS) == set(Msr)
    assert set(PERF_TEXT) == set(PerfEvent)
    assert [event.value for event in PerfEvent] == list(range(len(PerfEvent)))
    for info in MSRS.values():
        assert info.reset & ~info.writable == 0 or info.feature or info.msr is Msr.APIC_BASE, info


def test_cpuid_vendor_and_brand_read_back() -> None:
    leaf = cpuid.cpuid(0)
    assert b"".join(word.to_bytes(4, "little") for word in (leaf.ebx, leaf.edx, leaf.ecx)).decode() == cpuid.VENDOR
    text = b"".join(
        word.to_bytes(4, "little") for number in (0x8000_0002, 0x8000_0003, 0x8000_0004)
        for leaf in (cpuid.cpuid(number),) for word in (leaf.eax, leaf.ebx, leaf.ecx, leaf.edx))
    assert text.rstrip(b"\0").decode() == cpuid.BRAND
    assert cpuid.cpuid(0x8000_0000).eax == max(number for number in cpuid.LEAVES)


def test_cpuid_is_honest() -> None:
    edx = cpuid.cpuid(1).edx
    for bit in (3, 4, 5, 8, 9, 11, 13, 15):
        assert edx >> bit & 1
    for bit in (0, 1, 6, 23, 24, 25, 26):
        assert not edx >> bit & 1
    assert cpuid.cpuid(1).eax >> 8 & 15 == 5
    assert cpuid.cpuid(0x7777) == cpuid.Leaf() and cpuid.cpuid(1).ecx == 0
    assert len(cpuid.HYPERVISOR_VENDOR) == len(cpuid.VENDOR) == 12


def test_ports_are_sorted_and_apart() -> None:
    assert all(first.end <= second.base for first, second in pairwise(platform.PORTS))
    assert all(first.end <= second.base for first, second in pairwise(platform.MEMORY))
    assert len(platform.PORT) == len(platform.PORTS) and len(platform.REGION) == len(platform.MEMORY)


def test_clocks() -> None:
    assert platform.CPU_HZ == 33_409_096
    assert platform.PORT["UART"].base == 0x3F8 and platform.PORT["UART"].irq is platform.Irq.UART
