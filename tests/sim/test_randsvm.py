"""Random virtual machines: the same for a seed, disjoint in memory, outlived by their hosts, and isolated."""

from __future__ import annotations

import pytest

from rtl.isa.retire import RetireCause
from rtl.isa.svm import VINTR_GIF_ENABLE
from sim.disassembly import disassemble
from sim.lockstep import Lockstep
from sim.randsvm import Isolation, generate, layout
from sim.rtlmachine import RtlMachine
from sim.stop import Reason
from vmm.cli.emulated import Emulated
from vmm.cli.reference import GoldenReference

CYCLES = 200_000
_GUEST_FRAME, _HOST_FRAME = layout.NESTED_BASE >> 12, layout.HOST >> 12


def test_a_seed_is_a_virtual_machine() -> None:
    assert generate(7).image.segments == generate(7).image.segments
    assert generate(7).image.segments != generate(8).image.segments


@pytest.mark.parametrize("seed", range(12))
def test_parts_are_disjoint_and_fit(seed: int) -> None:
    segments = generate(seed).image.segments
    assert all(before.end <= after.address for before, after in zip(segments, segments[1:], strict=False))
    assert segments[-1].end <= layout.END <= layout.RAM


@pytest.mark.parametrize("seed", range(12))
def test_no_guest_may_write_what_is_the_hosts(seed: int) -> None:
    guests = generate(seed)
    reached = frozenset().union(*(frames.write for frames in guests.frames if frames))
    assert reached and all(_GUEST_FRAME <= frame < _HOST_FRAME or frame >= layout.RAM >> 12 for frame in reached)


@pytest.mark.parametrize("seed", range(3))
def test_guests_of_every_third_seed_have_a_gif_of_their_own(seed: int) -> None:
    guests = generate(seed)
    machine = Emulated(ram_bytes=guests.ram_bytes)
    machine.load(guests.image)
    svm = machine.machine.cpu.state.svm
    seen = set[int]()
    while machine.run(50).reason is Reason.CYCLE_LIMIT:
        if svm.guest:
            seen.add(svm.vintr & VINTR_GIF_ENABLE)
    assert seen == {VINTR_GIF_ENABLE if seed % 3 == 2 else 0}


def test_the_hosts_code_is_code() -> None:
    guests = generate(0)
    code = next(segment.data for segment in guests.image.segments if segment.address == layout.CODE)
    at = guests.next - layout.CODE
    seen = []
    while at < guests.vmrun - layout.CODE + 3:
        text, size = disassemble(code[at:at + 15], layout.CODE + at)
        assert size, hex(at)
        seen.append(text.split()[0])
        at += size
    assert seen[-2:] == ["vmload", "vmrun"]


def test_hosts_outlive_their_guests() -> None:
    ends = []
    for seed in range(4):
        guests = generate(seed)
        machine = Emulated(ram_bytes=guests.ram_bytes)
        machine.load(guests.image)
        ends.append(machine.run(60_000).reason)
    assert ends.count(Reason.GUEST_EXIT) >= 3 and set(ends) <= {Reason.GUEST_EXIT, Reason.CYCLE_LIMIT}, ends


@pytest.fixture(scope="module")
def machine() -> RtlMachine:
    return RtlMachine(ram_bytes=layout.RAM)


#: 10081 is left undecided: a guest loads CR3 with what has none of its global pages. 20218: #DB intercepted with
#: DR7.GD set. 20230: a breakpoint on code of a page not yet accessed. 20248: the delivery of a timer's interrupt ends
#: in a #NPF. 30000: odd starts and events.
@pytest.mark.parametrize("seed", (1, 10081, 20218, 20230, 20248, 30000))
def test_lockstep(machine: RtlMachine, seed: int) -> None:
    guests = generate(seed)
    machine.reset()
    machine.load(guests.image)
    watch = Isolation(guests)
    outcome = Lockstep(machine, GoldenReference, watch=watch).run(CYCLES)
    assert outcome.divergence is None, outcome.divergence.describe()
    assert watch.entries >= 20 and sum(watch.exits.values()) >= watch.entries - 1
    assert watch.stores and watch.translations


def _record(cause: RetireCause, eip: int) -> tuple[int, ...]:
    return (0, cause.value, eip, 0, 0, 0, 0x60)


def _entered() -> Isolation:
    """In the first round under nested paging."""
    guests = generate(0)
    watch = Isolation(guests)
    for frames in guests.frames:
        assert watch(_record(RetireCause.INSTRUCTION, guests.next), [], set()) == []
        if frames:
            break
    assert watch(_record(RetireCause.INSTRUCTION, guests.vmrun), [], set()) == []
    return watch


def test_a_guests_store_elsewhere_is_told() -> None:
    watch = _entered()
    inside = (0, layout.NESTED_BASE + 0x11_0000, 0, 2, 0)
    assert any(not _entered()(_record(RetireCause.INSTRUCTION, 0x11_0000), [
        (0, frame << 12, 0, 2, 0)], set()) for frame in (inside[1] >> 12, *range(_GUEST_FRAME, _HOST_FRAME, 64)))
    found = watch(_record(RetireCause.INSTRUCTION, 0x11_0000), [(0, layout.VMCBS[0], 0, 2, 0)], set())
    assert found == ["the guest writes to host frame 900h, which its nested tables do not give it"]


def test_a_guests_translation_elsewhere_is_told() -> None:
    found = _entered()(_record(RetireCause.INSTRUCTION, 0x11_0000), [], {layout.HSAVE >> 12})
    assert found == ["the guest reads host frame 808h, which its nested tables do not give it"]


def test_a_store_across_a_page_has_two_frames() -> None:
    store = (0, layout.HOST + 0xFFE, layout.HOST + 0x1000, 2, 0)
    found = _entered()(_record(RetireCause.EXCEPTION, 0x11_0000), [store], set())
    assert len(found) == 2


def test_what_vmexit_writes_is_the_processors() -> None:
    watch = _entered()
    assert watch(_record(RetireCause.VMEXIT, 0), [(0, layout.VMCBS[0], 0, 2, 0)], set()) == []
    assert watch.entries == 1 and watch.exits == {"INTR": 1}
    assert watch(_record(RetireCause.INSTRUCTION, 0x80_0100), [(0, layout.VMCBS[0], 0, 2, 0)], set()) == []
