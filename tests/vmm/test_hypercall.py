"""Hypercalls: results, and what a guest may not do."""

import pytest

from rtl.isa.cpuid import HYPERVISOR_LEAF
from vmm.exits import HypercallExit
from vmm.hypercall import EFAULT, EINVAL, ENOSYS, EPERM, LEAVES, MAX_TEXT, VERSION, Call, Hypercalls
from vmm.slots import MemorySlot, SlotMemory

SIZE = 0x4000


@pytest.fixture
def said() -> bytearray:
    return bytearray()


@pytest.fixture
def calls(said: bytearray) -> Hypercalls:
    memory = SlotMemory(SIZE)
    memory.map(MemorySlot(0, SIZE))
    memory.host_bytes(0x1000, 5)[:] = b"hello"
    return Hypercalls(lambda address, size: bytes(memory.host_bytes(address, size)), said.extend)


def ask(calls: Hypercalls, number: int, *arguments: int, cpl: int = 0) -> int:
    given = (*arguments, 0, 0, 0, 0, 0)
    return calls.answer(HypercallExit(number, (given[0], given[1], given[2], given[3], given[4]), cpl))


def test_version_and_yield(calls: Hypercalls) -> None:
    assert (ask(calls, Call.VERSION), ask(calls, Call.YIELD)) == (VERSION, 0)


def test_console(calls: Hypercalls, said: bytearray) -> None:
    assert (ask(calls, Call.CONSOLE, 0x1000, 5), said) == (5, b"hello")
    assert ask(calls, Call.CONSOLE, 0, MAX_TEXT) == MAX_TEXT


@pytest.mark.parametrize(("address", "size", "error"), [
    (SIZE - 4, 5, EFAULT), (SIZE, 1, EFAULT), (0xFFFF_FFFF, 2, EFAULT), (0xFEE0_0000, 4, EFAULT),
    (0x1000, MAX_TEXT + 1, EINVAL), (0, 0xFFFF_FFFF, EINVAL)])
def test_text_that_is_not_there(calls: Hypercalls, said: bytearray, address: int, size: int, error: int) -> None:
    assert (ask(calls, Call.CONSOLE, address, size), said) == (-error, b"")


@pytest.mark.parametrize("number", (3, 4, 0x7FFF_FFFF, 0xFFFF_FFFF))
def test_unknown_number(calls: Hypercalls, number: int) -> None:
    assert ask(calls, number) == -ENOSYS


@pytest.mark.parametrize("number", (*Call, 99))
def test_programs_may_not_call(calls: Hypercalls, said: bytearray, number: int) -> None:
    assert (ask(calls, number, 0x1000, 5, cpl=3), said) == (-EPERM, b"")


def test_announced() -> None:
    leaf = LEAVES[HYPERVISOR_LEAF]
    name = b"".join(word.to_bytes(4, "little") for word in (leaf.ebx, leaf.ecx, leaf.edx))
    assert (leaf.eax, name) == (HYPERVISOR_LEAF + 1, b"GigogneVMM  ")
    assert (LEAVES[leaf.eax].eax, LEAVES[leaf.eax].ebx) == (VERSION, 0b111)
