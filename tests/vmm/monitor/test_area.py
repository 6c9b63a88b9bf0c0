"""The monitor's memory: that nothing overlaps, and which MSRs the guest reaches."""

from rtl.isa.msrs import Msr, PerfEvent
from rtl.isa.svm import msrpm_bit
from vmm.monitor.area import Area
from vmm.monitor.stub import CODE, FRAME_WISH

PAGE = 0x1000


def test_nothing_overlaps() -> None:
    area = Area(4 << 20)
    parts = [(area.stub, len(CODE)), (area.frame, FRAME_WISH + 4), (area.vmcb, PAGE), (area.host_save, PAGE),
             (area.nested_directory, PAGE), (area.nested_table, area.tables * PAGE),
             *((address, len(content)) for address, content in area.contents().items())]
    parts.sort()
    assert parts[0][0] == area.base and parts[-1][0] + parts[-1][1] <= area.base + area.size
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
