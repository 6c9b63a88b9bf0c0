"""What a guest may ask of the virtual machine monitor with VMMCALL.

EAX is the number, EBX, ECX, EDX, ESI, EDI are arguments, and the result comes in EAX: 0 or more, or a negative errno.
CPUID leaf 40000000h says who answers and which leaves follow; 40000001h gives the version in EAX and in EBX a bit for
each call. Rules:

1. Only a kernel may call (CPL 0): EPERM otherwise.
2. Addresses are guest-physical. Every byte has to be in the guest's RAM, or nothing is done: EFAULT.
3. An unknown number is ENOSYS, an argument that makes no sense EINVAL.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from rtl.isa.cpuid import HYPERVISOR_LEAF, HYPERVISOR_VENDOR, Leaf, words
from vmm.exits import HypercallExit
from vmm.slots import SlotError

VERSION = 1
EPERM, EFAULT, EINVAL, ENOSYS = 1, 14, 22, 38
#: The longest text of one call.
MAX_TEXT = 4096


class Call(IntEnum):
    """Numbers."""

    VERSION = 0   #: the version of this interface
    CONSOLE = 1   #: write ECX bytes at EBX to the console; the result is ECX
    YIELD = 2     #: there is nothing to do at the moment


LEAVES: dict[int, Leaf] = {
    HYPERVISOR_LEAF: Leaf(HYPERVISOR_LEAF + 1, *words(HYPERVISOR_VENDOR, 3)),
    HYPERVISOR_LEAF + 1: Leaf(VERSION, sum(1 << call for call in Call), 0, 0),
}


class Hypercalls:
    """Answers calls.

    Parameters
    ----------
    read : the guest's physical memory, by address and size; raises SlotError where none is.
    console : takes what the guest writes.
    """

    def __init__(self, read: Callable[[int, int], bytes], console: Callable[[bytes], object]) -> None:
        self._read = read
        self._console = console

    def answer(self, call: HypercallExit) -> int:
        """The result; negative for an error."""
        if call.cpl:
            return -EPERM
        match call.number:
            case Call.VERSION:
                return VERSION
            case Call.CONSOLE:
                return self._write(*call.arguments[:2])
            case Call.YIELD:
                return 0
        return -ENOSYS

    def _write(self, address: int, size: int) -> int:
        if size > MAX_TEXT:
            return -EINVAL
        try:
            text = self._read(address, size)
        except SlotError:
            return -EFAULT
        self._console(text)
        return size
