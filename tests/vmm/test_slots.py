"""Memory slots: where they may lie, what they give, what was written to them."""

from __future__ import annotations

import numpy as np
import pytest

from rtl.isa.paging import PTE_P, PTE_RW
from rtl.isa.registers import Cr0
from tests.vmm.guest import CODE, HOLE, STACK, SVM, WINDOW, Guest
from vmm.exits import HltExit, LimitExit, MmioExit
from vmm.slots import MemorySlot, SlotError, SlotMemory
from vmm.vm import Vm, VmError

LOGGED = MemorySlot(0, HOLE, log_dirty=True)
FAR = 0x20_0000


@pytest.mark.parametrize(("slot", "sentence"), [
    (MemorySlot(0x10, 0x1000), "slot 0x10-0x100f is not made of whole pages of 0x1000 bytes"),
    (MemorySlot(0, 0), "slot 0x0--0x1 is not made of whole pages of 0x1000 bytes"),
    (MemorySlot(0xFFFF_F000, 0x2000), "slot 0xfffff000-0x100000fff is not inside of the 32-bit address space"),
    (MemorySlot(0x1000, 0x1000), "slot 0x1000-0x1fff overlaps slot 0x0-0x1fff"),
    (MemorySlot(0x3000, 0x2000),
     "slot 0x3000-0x4fff has no host memory and does not fit in the window of 0x4000 bytes"),
    (MemorySlot(0x3000, 0x1000, bytearray(0x800)),
     "slot 0x3000-0x3fff needs 0x1000 bytes of writable host memory, not 0x800"),
    (MemorySlot(0x3000, 0x1000, memoryview(bytes(0x1000))),
     "slot 0x3000-0x3fff needs 0x1000 bytes of writable host memory, not 0x1000 that are read-only"),
])
def test_what_is_no_slot(slot: MemorySlot, sentence: str) -> None:
    vm = Vm(0x4000, MemorySlot(0, 0x2000))
    with pytest.raises(SlotError) as error:
        vm.map(slot)
    assert str(error.value) == sentence and len(vm.slots) == 1


def test_what_is_not_there() -> None:
    slot = MemorySlot(0, 0x2000)
    vm = Vm(0x4000)
    with pytest.raises(SlotError, match="^slot 0x0-0x1fff is not mapped$"):
        vm.unmap(slot)
    vm.map(slot)
    with pytest.raises(SlotError, match="^slot 0x0-0x1fff does not log; map it with log_dirty$"):
        vm.dirty_pages(slot)
    with pytest.raises(SlotError, match="^0x10 bytes at 0x1ff8 are not in one slot$"):
        vm.read(0x1FF8, 16)


def test_one_cpu_of_a_known_engine() -> None:
    vm = Vm(0x1000, MemorySlot(0, 0x1000))
    with pytest.raises(VmError, match="^there is no engine 'jit'; the engines are emulate, dbt, svm$"):
        vm.create_vcpu("jit")
    vm.create_vcpu("emulate")
    with pytest.raises(VmError, match="^a machine has one virtual CPU, and this one has it$"):
        vm.create_vcpu("emulate")


def test_window_shared_with_the_host(technique: str) -> None:
    guest = Guest(technique, "8b01 40 8901 f4", ecx=0x2000)
    buffer = guest.vm.memory.ram
    buffer[0x2000 // 4] = 41
    assert guest.run() == HltExit()
    guest.cpu.spill()
    assert buffer[0x2000 // 4] == 42


def test_memory_of_its_own_at_any_address(technique: str) -> None:
    """Data, a write across into the next slot, and code that changes itself there."""
    low, high = bytearray(0x1000), np.zeros(0x400, np.uint32)
    guest = Guest(technique, "ff01 c70263000000 ffe7", ecx=FAR + 0xFFE, edx=FAR + 0x1000, edi=FAR)
    guest.vm.map(MemorySlot(FAR, 0x1000, low))
    guest.vm.map(MemorySlot(FAR + 0x1000, 0x1000, high))
    low[0xFFE:] = b"\xff\xff"
    # INC BYTE [itself + 1]; the second time DEC EAX has become DEC ECX
    low[0:9] = bytes.fromhex("48 fe05 00002000 4b 75 ")
    low[9:11] = bytes.fromhex("f6 f4")
    guest.set(ebx=2)
    assert guest.run() == HltExit()
    assert low[0xFFE:] == b"\0\0" and high[0] == 0x63
    assert guest.cpu.registers.eax == 0xFFFF_FFFF and guest.cpu.registers.ecx == FAR + 0xFFD
    assert guest.cpu.statistics().slow_accesses > 10 or technique == SVM


def test_unmapped_at_run_time(technique: str) -> None:
    """Pages whose data and code are in every table and cache are gone at once, and come back."""
    part = MemorySlot(HOLE, 0x1000)
    guest = Guest(technique, "8b0d 00000400 90 ebf7")
    guest.vm.map(part)
    guest.vm.write(HOLE, b"\1\2\3\4")
    guest.run(max_instructions=100)
    assert guest.cpu.registers.ecx == 0x0403_0201
    guest.vm.unmap(part)
    question = guest.run(max_instructions=100)
    assert question == MmioExit(address=HOLE, size=4, is_write=False, value=None)
    question.answer(7)  # type: ignore[union-attr]
    guest.run(max_instructions=1)
    assert guest.cpu.registers.ecx == 7
    guest.vm.map(part)
    guest.run(max_instructions=100)
    assert guest.cpu.registers.ecx == 0x0403_0201


def test_unmapped_under_running_code(technique: str) -> None:
    part = MemorySlot(HOLE, 0x1000)
    guest = Guest(technique)
    guest.vm.map(part)
    guest.vm.write(HOLE, b"\x90\xeb\xfd")
    guest.set(eip=HOLE)
    guest.run(max_instructions=100)
    guest.vm.unmap(part)
    assert isinstance(guest.run(max_instructions=100), MmioExit)


def test_read_only(technique: str) -> None:
    """Reads and code are as of RAM; a write is an exit and changes nothing."""
    rom = MemorySlot(HOLE, 0x1000, is_read_only=True)
    guest = Guest(technique, "8b01 8901 40 ebf9", ecx=HOLE + 4)
    guest.vm.map(rom)
    guest.vm.write(HOLE, b"abcdefgh")
    for _ in range(20):
        assert guest.run() == MmioExit(address=HOLE + 4, size=4, is_write=True, value=0x6867_6665)
    assert guest.vm.read(HOLE, 8) == b"abcdefgh"
    guest.vm.write(HOLE, b"\x42\xf4")
    guest.set(eip=HOLE, edx=1)
    assert guest.run() == HltExit() and guest.cpu.registers.edx == 2


def test_the_host_changes_code(technique: str) -> None:
    guest = Guest(technique, "40 ebfd")
    guest.run(max_instructions=1000)
    guest.vm.write(CODE, b"\x4b")
    before = guest.cpu.registers
    guest.run(max_instructions=2)
    assert guest.cpu.registers.eax - before.eax + 1 in (1, 2) and guest.cpu.registers.ebx == 0xFFFF_FFFF


def test_dirty_pages(technique: str) -> None:
    """Each way to write: loads that come before, a page crossing, a string, the stack; host writes do not count."""
    code = ("b9 00000100 8b01 8801 40"  # read and write a byte of page 10h
            "c707 01020304"             # across pages 20h and 21h
            "57 bf 00000300 b9 00080000 f3aa 5f"  # page 30h; the stack is page 7
            "ebe0")
    guest = Guest(technique, code, LOGGED, edi=0x2_0FFE)
    guest.vm.write(0x1_1000, b"host")
    assert guest.vm.dirty_pages(LOGGED) == []
    for _ in range(3):
        assert guest.run(max_instructions=60) == LimitExit()
        assert guest.vm.dirty_pages(LOGGED) == [STACK - 1 >> 12, 0x10, 0x20, 0x21, 0x30]
    assert guest.vm.dirty_pages(LOGGED) == []


def test_a_write_after_the_log_was_read_is_in_the_next(technique: str) -> None:
    """A loop of native stores to one page: nothing the host does makes it miss one."""
    guest = Guest(technique, "8901 41 ebfb", LOGGED, ecx=0x1_0000)
    for _ in range(50):
        first = guest.cpu.registers.ecx
        guest.run(max_instructions=300)
        assert guest.vm.dirty_pages(LOGGED) == sorted({first >> 12, guest.cpu.registers.ecx + 2 >> 12})
        guest.set(ecx=0x1_0000 + (guest.cpu.registers.ecx & 0xFFF))


def test_log_of_memory_of_its_own(technique: str) -> None:
    slot = MemorySlot(FAR, 0x4000, bytearray(0x4000), log_dirty=True)
    guest = Guest(technique, "8901 f4", ecx=FAR + 0x2010)
    guest.vm.map(slot)
    assert guest.run() == HltExit() and guest.vm.dirty_pages(slot) == [2] and guest.vm.dirty_pages(slot) == []


def test_accessed_and_dirty_bits_are_writes(technique: str) -> None:
    """The guest reads a page, and the processor writes to the page tables."""
    guest = Guest(technique, "8b01 90 8901 ebfb", LOGGED, ecx=0x1_0000)
    tables = [(page << 12 | PTE_P | PTE_RW).to_bytes(4, "little") for page in range(HOLE >> 12)]
    guest.vm.write(0x3_0000, (0x3_1000 | PTE_P | PTE_RW).to_bytes(4, "little"))
    guest.vm.write(0x3_1000, b"".join(tables))
    system = guest.cpu.system_registers
    system.cr0, system.cr3 = system.cr0 | int(Cr0.PG), 0x3_0000
    guest.cpu.system_registers = system
    guest.run(max_instructions=2)
    assert guest.vm.dirty_pages(LOGGED) == [0x30, 0x31]
    guest.run(max_instructions=1)
    assert guest.vm.dirty_pages(LOGGED) == [0x10, 0x31]
    guest.run(max_instructions=20)
    # a walk of nested paging counts as a write to the tables, and there is one after the log was read
    assert guest.vm.dirty_pages(LOGGED) == ([0x10, 0x30, 0x31] if technique == SVM else [0x10])
    walks = guest.cpu.statistics()
    assert technique == SVM or walks.walks >= 3 and walks.lookups >= 3 and walks.misses >= walks.walks


def test_pages_are_as_plain_as_they_are_guarded() -> None:
    memory = SlotMemory(WINDOW)
    assert not memory.is_plain(0)
    memory.map(MemorySlot(0, 0x2000, is_read_only=True))
    assert [memory.is_plain(page) for page in (0, 1, 2)] == [True, True, False]
    assert memory.read(0x1FFE, 4) == 0xFFFF_0000
