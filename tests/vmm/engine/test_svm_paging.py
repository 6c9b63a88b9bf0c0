"""Nested paging, address-space identifiers and isolation of a running guest."""

from __future__ import annotations

import random

import pytest

from rtl.isa import paging as isa
from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode
from rtl.isa.registers import Cr0, Cr4
from rtl.isa.retire import RetireCause
from rtl.isa.svm import (
    NPF_FETCH,
    NPF_FINAL,
    NPF_P,
    NPF_RSVD,
    NPF_TABLE,
    NPF_U,
    NPF_W,
    Event,
    SegmentField,
    TlbControl,
    Vmcb,
)
from tests.vmm.engine.machine import CODE
from tests.vmm.engine.svmguest import AFTER, GUEST, HSAVE, VMCB, enter, leave, outcome, read, world, write
from vmm.engine.interpreter import Interpreter
from vmm.faults import Fault, VmExit
from vmm.memory import PhysicalMemory
from vmm.paging.guest import GuestMmu
from vmm.state import CpuState

N_DIRECTORY, N_TABLE, DIRECTORY, TABLE = 0x1_8000, 0x1_9000, 0x1_A000, 0x1_B000
HOST_DIRECTORY = 0x1_C000
ALL = isa.PTE_P | isa.PTE_RW | isa.PTE_US
VMMCALL = "0f01d9"
LOAD = "a1 00700000"
STORE = "a3 00700000"
PAGING = int(Cr0.PG | Cr0.PE | Cr0.ET)


def nested(code: str, *codes: int, paging: bool = False, cr0: int = 0, **registers: int) -> Interpreter:
    """A guest whose physical addresses are the machine's as the nested table has it, and a host with paging.

    With `paging` the guest has a table of its own, linear = guest-physical.
    """
    cpu = world(code, codes, **registers)
    memory = cpu.memory
    memory.write32(HOST_DIRECTORY, ALL | isa.PTE_PS)
    memory.write32(N_DIRECTORY, N_TABLE | ALL)
    memory.write32(DIRECTORY, TABLE | ALL)
    for page in range(32):
        memory.write32(N_TABLE + 4 * page, page << 12 | ALL)
        memory.write32(TABLE + 4 * page, page << 12 | ALL)
    cpu.state.cr0, cpu.state.cr3, cpu.state.cr4 = PAGING, HOST_DIRECTORY, int(Cr4.PSE)
    write(cpu, Vmcb.NP_ENABLE, 1)
    write(cpu, Vmcb.N_CR3, N_DIRECTORY)
    if paging:
        write(cpu, Vmcb.CR0, PAGING | cr0)
        write(cpu, Vmcb.CR3, DIRECTORY)
    cpu.state_changed()
    return cpu


def map_nested(cpu: Interpreter, page: int, entry: int) -> None:
    cpu.memory.write32(N_TABLE + 4 * page, entry)


def again(cpu: Interpreter) -> int:
    """The host executes VMRUN once more; the next exit code."""
    cpu.state.eip = CODE
    return outcome(cpu)


def test_the_example_of_the_course() -> None:
    """GVA 1000h -> GPA 23000h -> HPA 17000h; then the guest maps 4000h to GPA 14000h without any exit."""
    remap = "c705 10b00100 07400100 0f01 3d 00400000"  # mov [table + 16], 14007h; invlpg [4000h]
    cpu = nested("a1 00100000" + remap + "8b1d 00400000" + VMMCALL, paging=True)
    cpu.memory.write32(TABLE + 4, 0x2_3000 | ALL)
    map_nested(cpu, 0x23, 0x1_7000 | ALL)
    map_nested(cpu, 0x14, 0x1_D000 | ALL)
    cpu.memory.write32(0x1_7000, 0x1111)
    cpu.memory.write32(0x1_D000, 0x2222)
    assert outcome(cpu) == ExitCode.VMMCALL
    assert read(cpu, Vmcb.RAX) == 0x1111 and cpu.state.gpr[3] == 0x2222


def test_guest_without_paging_under_nested_paging() -> None:
    cpu = nested(LOAD + VMMCALL)
    map_nested(cpu, 7, 0x8000 | ALL)
    cpu.memory.write32(0x8000, 0x1234)
    assert outcome(cpu) == ExitCode.VMMCALL and read(cpu, Vmcb.RAX) == 0x1234


@pytest.mark.parametrize(("code", "entry", "info"), [
    (LOAD, 0, 0), (STORE, 0, NPF_W), (STORE, isa.PTE_P | isa.PTE_US, NPF_W | NPF_P),
    (LOAD, isa.PTE_P | isa.PTE_RW, NPF_P), ("830500700000 01", 0x7000 | isa.PTE_P | isa.PTE_US, NPF_W | NPF_P)])
def test_nested_faults_of_data(code: str, entry: int, info: int) -> None:
    """Nothing has happened at the exit; with the page in place the instruction is done."""
    cpu = nested(code + VMMCALL, eax=5)
    map_nested(cpu, 7, entry)
    memory = cpu.memory.blob(0x7000, 16)
    cpu.memory.write32(0x7100, 1)
    assert outcome(cpu) == ExitCode.NPF
    assert read(cpu, Vmcb.EXITINFO1) == info | NPF_U | NPF_FINAL and read(cpu, Vmcb.EXITINFO2) == 0x7000
    assert read(cpu, Vmcb.RIP) == GUEST and read(cpu, Vmcb.NRIP) == 0 and cpu.memory.blob(0x7000, 16) == memory
    fetched = read(cpu, Vmcb.FETCHED_BYTES, 15)
    assert read(cpu, Vmcb.FETCHED_COUNT) == 15 and fetched == int.from_bytes(cpu.memory.blob(GUEST, 15), "little")
    assert cpu.state.eip == AFTER
    map_nested(cpu, 7, 0x7000 | ALL)
    assert again(cpu) == ExitCode.VMMCALL


def test_nested_fault_of_a_table() -> None:
    """The address is that of the entry; table walks are user writes."""
    cpu = nested(LOAD, paging=True)
    map_nested(cpu, TABLE >> 12, TABLE | isa.PTE_P | isa.PTE_US)
    assert outcome(cpu) == ExitCode.NPF
    assert read(cpu, Vmcb.EXITINFO1) == NPF_TABLE | NPF_P | NPF_W | NPF_U
    assert read(cpu, Vmcb.EXITINFO2) == TABLE + 4 * (GUEST >> 12) and read(cpu, Vmcb.FETCHED_COUNT) == 0


def test_reserved_bits_of_a_large_nested_page() -> None:
    cpu = nested(LOAD)
    cpu.memory.write32(N_DIRECTORY, 0x1000 | ALL | isa.PTE_PS)
    assert outcome(cpu) == ExitCode.NPF
    assert read(cpu, Vmcb.EXITINFO1) == NPF_FINAL | NPF_FETCH | NPF_RSVD | NPF_P | NPF_U
    assert read(cpu, Vmcb.EXITINFO2) == GUEST


def test_large_nested_pages_need_pse_of_the_host() -> None:
    cpu = nested(LOAD + VMMCALL)
    cpu.memory.write32(N_DIRECTORY, ALL | isa.PTE_PS)
    assert outcome(cpu) == ExitCode.VMMCALL
    cpu = nested(LOAD + VMMCALL)
    cpu.state.cr4 = 0
    cpu.memory.write32(HOST_DIRECTORY, TABLE | ALL)
    cpu.state_changed()
    cpu.memory.write32(N_DIRECTORY, N_TABLE | ALL | isa.PTE_PS)
    assert outcome(cpu) == ExitCode.VMMCALL


def test_a_fetch_that_faults_has_no_bytes() -> None:
    cpu = nested(VMMCALL)
    map_nested(cpu, GUEST >> 12, 0)
    assert outcome(cpu) == ExitCode.NPF
    assert read(cpu, Vmcb.EXITINFO2) == GUEST and read(cpu, Vmcb.FETCHED_COUNT) == 0


@pytest.mark.parametrize(("more", "count"), [(0, 6), (1, 7), (8, 14), (9, 15), (10, 15)])
def test_code_behind_the_limit_of_cs_is_not_fetched_for_the_assist(more: int, count: int) -> None:
    cpu = nested(LOAD)
    write(cpu, Vmcb.CS + SegmentField.LIMIT, GUEST + 5 + more, 4)
    map_nested(cpu, 7, 0)
    assert outcome(cpu) == ExitCode.NPF and read(cpu, Vmcb.FETCHED_COUNT) == count


def test_code_behind_a_page_end_is_not_fetched_for_the_assist() -> None:
    cpu = nested("")
    cpu.memory.load_blob(0xCFF9, bytes.fromhex(LOAD))
    write(cpu, Vmcb.RIP, 0xCFF9)
    map_nested(cpu, 7, 0)
    assert outcome(cpu) == ExitCode.NPF and read(cpu, Vmcb.FETCHED_COUNT) == 7


def test_nested_fault_in_a_delivery() -> None:
    cpu = nested("cd21")
    map_nested(cpu, 2, 0)
    assert outcome(cpu) == ExitCode.NPF and read(cpu, Vmcb.EXITINFO2) == 0x2000 + 0x21 * 8
    assert read(cpu, Vmcb.EXITINTINFO) == Event.build(vector=0x21, type=4, v=1) and read(cpu, Vmcb.RIP) == GUEST
    assert read(cpu, Vmcb.FETCHED_COUNT) == 0


def test_a_page_fault_of_the_guest_is_its_own() -> None:
    cpu = nested(LOAD, paging=True)
    cpu.memory.write32(TABLE + 4 * 7, 0)
    enter(cpu)
    retired = cpu.step()
    assert (retired.vector, retired.error, cpu.state.cr2) == (Vector.PF, 0, 0x7000) and cpu.state.svm.guest


def test_an_intercepted_page_fault_leaves_cr2() -> None:
    cpu = nested(STORE, ExitCode.EXCEPTION_PF, paging=True)
    cpu.memory.write32(TABLE + 4 * 7, isa.PTE_P | isa.PTE_US)
    write(cpu, Vmcb.CR2, 0x55)
    write(cpu, Vmcb.CR0, PAGING | int(Cr0.WP))
    assert outcome(cpu) == ExitCode.EXCEPTION_PF
    assert (read(cpu, Vmcb.EXITINFO1), read(cpu, Vmcb.EXITINFO2)) == (isa.PF_P | isa.PF_W, 0x7000)
    assert read(cpu, Vmcb.CR2) == 0x55 and read(cpu, Vmcb.FETCHED_COUNT) == 15


def test_nested_rights_hold_for_a_supervisor_without_write_protection() -> None:
    """With everything dirty beforehand a read fills the TLB; the write must still fault."""
    cpu = nested(LOAD + STORE, paging=True)
    cpu.memory.write32(TABLE + 4 * 7, 0x7000 | ALL | isa.PTE_A | isa.PTE_D)
    map_nested(cpu, 7, 0x7000 | isa.PTE_P | isa.PTE_US | isa.PTE_A | isa.PTE_D)
    assert outcome(cpu) == ExitCode.NPF and read(cpu, Vmcb.EXITINFO1) == NPF_FINAL | NPF_P | NPF_W | NPF_U


# isolation

def test_the_guest_reaches_neither_n_cr3_nor_the_hosts_cr3() -> None:
    """The last paragraph of the course: MOV CR3 in guest mode is about the guest's CR3, and that alone."""
    cpu = nested("0f20db 0f22d9 0f20d8" + VMMCALL, paging=True, ecx=DIRECTORY | 0x18)
    assert outcome(cpu) == ExitCode.VMMCALL
    assert cpu.state.gpr[3] == DIRECTORY and read(cpu, Vmcb.RAX) == DIRECTORY | 0x18 == read(cpu, Vmcb.CR3)
    assert cpu.state.cr3 == HOST_DIRECTORY and read(cpu, Vmcb.N_CR3) == N_DIRECTORY


@pytest.mark.parametrize("seed", range(20))
def test_no_translation_leaves_the_frames_of_the_nested_table(seed: int) -> None:
    """Random guest tables, CR3 and bits of CR0: whatever is reached is a frame that N_CR3 maps."""
    rng = random.Random(seed)
    memory = PhysicalMemory(0x4_0000)
    state = CpuState(cr0=PAGING, cr4=int(Cr4.PSE))
    svm = state.svm
    svm.guest = svm.nested = svm.host_pse = True
    svm.n_cr3 = N_DIRECTORY
    frames = rng.sample(range(0x20, 0x40), 12)
    memory.write32(N_DIRECTORY, N_TABLE | ALL)
    for page, frame in zip(rng.sample(range(24), 12), frames, strict=True):
        memory.write32(N_TABLE + 4 * page, frame << 12 | (ALL if rng.random() < 0.8 else isa.PTE_P | isa.PTE_US))
        for word in range(16):
            memory.write32((frame << 12) + 4 * word, rng.randrange(24) << 12 | rng.choice((ALL, ALL, 0, 0xE7)))
    outside = memory.blob(0, 0x2_0000)
    mmu = GuestMmu(state, memory)
    mmu.enter()
    reached = 0
    for _ in range(400):
        state.cr3 = rng.randrange(24) << 12
        state.cr0 = PAGING ^ rng.choice((0, 0, int(Cr0.PG), int(Cr0.WP)))
        if rng.random() < 0.5:
            mmu.flush_all()
        linear = rng.randrange(16) << 22 | rng.randrange(16) << 12
        try:
            address = mmu.translate(linear, rng.random() < 0.5, rng.random() < 0.5)
        except (Fault, VmExit):
            continue
        assert address >> 12 in frames
        reached += 1
    assert reached
    unchanged = memory.blob(0, 0x2_0000)
    ignored = slice(N_DIRECTORY, N_TABLE + 0x1000)
    assert outside[:ignored.start] == unchanged[:ignored.start] and outside[ignored.stop:] == unchanged[ignored.stop:]


# address spaces

def stale(cpu: Interpreter) -> bool:
    """Whether the guest still sees frame 7 at page 7, which the nested table has moved to frame 8."""
    cpu.memory.write32(0x7000, 7)
    cpu.memory.write32(0x8000, 8)
    map_nested(cpu, 7, 0x8000 | ALL)
    assert again(cpu) == ExitCode.VMMCALL
    return read(cpu, Vmcb.RAX) == 7


def used(code: str = LOAD + VMMCALL) -> Interpreter:
    """A guest that has run once, and whose VMCB begins again."""
    cpu = nested(code)
    assert outcome(cpu) == ExitCode.VMMCALL
    write(cpu, Vmcb.RIP, GUEST)
    return cpu


def test_a_world_switch_flushes_nothing() -> None:
    assert stale(used())


@pytest.mark.parametrize("control", [TlbControl.ALL, TlbControl.ASID, TlbControl.ASID_LOCAL])
def test_tlb_control_flushes(control: TlbControl) -> None:
    cpu = used()
    write(cpu, Vmcb.TLB_CONTROL, control)
    assert not stale(cpu)


def test_another_asid_has_translations_of_its_own() -> None:
    cpu = used()
    write(cpu, Vmcb.ASID, 2)
    assert not stale(cpu)
    write(cpu, Vmcb.RIP, GUEST)
    write(cpu, Vmcb.ASID, 1)
    assert stale(cpu)


@pytest.mark.parametrize(("asid", "page", "flushed"), [(1, 0x7000, True), (2, 0x7000, False), (1, 0x6000, False)])
def test_invlpga(asid: int, page: int, flushed: bool) -> None:
    cpu = used()
    cpu.memory.load_blob(AFTER, bytes.fromhex("0f01df"))
    cpu.state.gpr[0], cpu.state.gpr[1] = page, asid
    cpu.step()
    cpu.state.gpr[0] = VMCB
    assert stale(cpu) is not flushed


def test_global_pages_survive_a_flush_of_local_ones() -> None:
    cpu = nested(LOAD + VMMCALL, paging=True)
    cpu.memory.write32(TABLE + 4 * 7, 0x7000 | ALL | isa.PTE_G)
    outcome(cpu)
    write(cpu, Vmcb.RIP, GUEST)
    write(cpu, Vmcb.TLB_CONTROL, TlbControl.ASID_LOCAL)
    assert stale(cpu)


def test_flushing_everything_flushes_the_host() -> None:
    cpu = used()
    cpu.host_mmu.translate(0x7000, False, False)
    write(cpu, Vmcb.TLB_CONTROL, TlbControl.ASID)
    again(cpu)
    assert 7 in cpu.host_mmu.entries
    write(cpu, Vmcb.RIP, GUEST)
    write(cpu, Vmcb.TLB_CONTROL, TlbControl.ALL)
    again(cpu)
    assert 7 not in cpu.host_mmu.entries


def test_invlpg_of_a_large_page_over_small_ones_drops_all_of_it() -> None:
    """The guest's page is 4 MiB; its pieces are entries of their own, one for each nested page."""
    cpu = nested(LOAD + "8b1d 00600000 0f013d 00600000" + VMMCALL + LOAD + VMMCALL, paging=True)
    cpu.memory.write32(DIRECTORY, ALL | isa.PTE_PS)
    write(cpu, Vmcb.CR4, int(Cr4.PSE))
    assert outcome(cpu) == ExitCode.VMMCALL
    write(cpu, Vmcb.RIP, read(cpu, Vmcb.NRIP))
    assert not stale(cpu)


def test_code_that_the_host_rewrites_is_new_to_the_guest() -> None:
    cpu = used("b801000000" + VMMCALL)
    cpu.memory.write32(GUEST + 1, 2)
    again(cpu)
    assert read(cpu, Vmcb.RAX) == 2


def test_each_asid_has_its_own_code() -> None:
    """The same linear address leads to different code in two guests that take turns."""
    cpu = nested("")
    for frame, value in ((0x1_E000, 1), (0x1_F000, 2)):
        cpu.memory.load_blob(frame, bytes.fromhex(f"b80{value}000000" + VMMCALL))
    for asid, frame in ((1, 0x1_E000), (2, 0x1_F000), (1, 0x1_E000)):
        map_nested(cpu, GUEST >> 12, frame | ALL)
        write(cpu, Vmcb.ASID, asid)
        write(cpu, Vmcb.RIP, GUEST)
        assert again(cpu) == ExitCode.VMMCALL
        assert read(cpu, Vmcb.RAX) == frame - 0x1_D000 >> 12


def test_code_of_the_guest_that_the_host_writes_at_full_speed() -> None:
    """The host has written to the page before there was code of the guest in it, and writes again afterwards."""
    host = "c605 01c00000 05 0f01d8 0f01dc c605 01c00000 06 0f01d8 f4"
    cpu = world("b801000000" + VMMCALL, host=host)
    write(cpu, Vmcb.RAX, 0)
    cpu.run(5)
    assert read(cpu, Vmcb.RAX) == 5
    write(cpu, Vmcb.RIP, GUEST)
    cpu.run(100)
    assert read(cpu, Vmcb.RAX) == 6


def test_a_host_save_area_that_has_been_changed_is_what_the_host_gets() -> None:
    cpu = nested(VMMCALL)
    cpu.memory.write32(HOST_DIRECTORY + 4, ALL | isa.PTE_PS)
    cpu.record = False
    assert cpu.read(0x40_0000, 4, False) == cpu.memory.read32(0)
    enter(cpu)
    cpu.memory.write32(HSAVE + Vmcb.CR0, int(Cr0.PE | Cr0.ET))
    leave(cpu)
    assert cpu.read(0x40_0000, 4, False) == 0xFFFF_FFFF


@pytest.mark.parametrize("way", ["step", "run"])
def test_nested_faults_at_full_speed(way: str) -> None:
    """A loop that stores through a page that is taken away: the exit has the instruction's own address."""
    cpu = nested("a3 00700000 49 75f8" + VMMCALL, ecx=20)
    map_nested(cpu, 7, 0)
    enter(cpu)
    if way == "run":
        cpu.memory.load_blob(AFTER, b"\xf4")
        cpu.run(1000)
    else:
        assert leave(cpu).cause is RetireCause.VMEXIT
    assert read(cpu, Vmcb.EXITCODE) == ExitCode.NPF and read(cpu, Vmcb.RIP) == GUEST
    assert read(cpu, Vmcb.FETCHED_COUNT) == 15
