"""The monitor's memory: what nested paging maps, and which MSRs the guest reaches."""

import struct

import pytest

from rtl.isa.msrs import Msr, PerfEvent
from rtl.isa.paging import PTE_P, PTE_PS
from rtl.isa.svm import msrpm_bit
from vmm.monitor.area import AREA_BYTES, Area
from vmm.monitor.stub import CODE, FRAME_WISH

PAGE, LARGE = 0x1000, 0x40_0000


def mapped(area: Area) -> dict[int, int]:
    """Guest-physical page to page of the host, by the tables."""
    contents = area.contents()
    pages = {}
    for number, entry in enumerate(struct.unpack("<1024I", contents[area.nested_directory])):
        if entry & PTE_PS:
            for page in range(LARGE // PAGE):
                pages[number * LARGE // PAGE + page] = (entry & ~(LARGE - 1)) // PAGE + page
        elif entry & PTE_P:
            assert entry & ~(PAGE - 1) == area.nested_table
            for page, leaf in enumerate(struct.unpack("<1024I", contents[area.nested_table])):
                if leaf & PTE_P:
                    pages[number * LARGE // PAGE + page] = leaf // PAGE
    return pages


@pytest.mark.parametrize("size", (2 << 20, 4 << 20, (5 << 20) + PAGE, 16 << 20))
def test_exactly_the_guests_memory_is_mapped(size: int) -> None:
    assert mapped(Area(size)) == {page: page for page in range(size // PAGE)}


def test_nothing_overlaps() -> None:
    area = Area(4 << 20)
    parts = [(area.stub, len(CODE)), (area.frame, FRAME_WISH + 4), (area.vmcb, PAGE), (area.host_save, PAGE),
             *((address, len(content)) for address, content in area.contents().items())]
    parts.sort()
    assert parts[0][0] == area.base and parts[-1][0] + parts[-1][1] <= area.base + AREA_BYTES
    assert all(first + size <= second for (first, size), (second, _) in zip(parts, parts[1:], strict=False))


def test_the_guest_reaches_its_own_msrs_alone() -> None:
    area = Area(4 << 20)
    bits = area.contents()[area.msrpm]
    open_ = {(number, write) for number in (*Msr, *(Msr.PERF_BASE + event for event in PerfEvent))
             for write in (False, True) if not bits[msrpm_bit(number, write) // 8] >> msrpm_bit(number, write) % 8 & 1}
    own = {Msr.SYSENTER_CS, Msr.SYSENTER_ESP, Msr.SYSENTER_EIP}
    assert {number for number, write in open_ if write} == own
    assert {number for number, write in open_ if not write} == own | {Msr.TSC} | {
        Msr.PERF_BASE + event for event in PerfEvent}
    assert sum(8 - byte.bit_count() for byte in bits) == len(open_)
