"""A virtual machine, shaped like KVM's: memory slots and a virtual CPU; devices are whoever looks at the exits."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from vmm.engine.interpreter import Interpreter
from vmm.engine.vcpu import SoftwareVcpu
from vmm.slots import MemorySlot, SlotMemory


class Engine(StrEnum):
    """Who executes the guest."""

    EMULATE = "emulate"
    DBT = "dbt"


class VmError(ValueError):
    """A virtual machine cannot do what was asked; the message is one sentence."""


class Vm:
    """One guest.

    Parameters
    ----------
    window : host memory for physical addresses from 0, as bytes of it or a buffer of `uint32` to share. Slots without
        memory of their own lie in it.
    slots : to be mapped at once.
    """

    def __init__(self, window: int | np.ndarray = 0, *slots: MemorySlot):
        self.memory = SlotMemory(window)
        self.vcpus: list[SoftwareVcpu] = []
        for slot in slots:
            self.map(slot)

    @property
    def slots(self) -> tuple[MemorySlot, ...]:
        return self.memory.slots

    def map(self, slot: MemorySlot) -> None:
        """Put a slot in place. Raises SlotError if it cannot be there."""
        self.memory.map(slot)

    def unmap(self, slot: MemorySlot) -> None:
        """Take it away: accesses there become exits. Raises SlotError if it is not in place."""
        self.memory.unmap(slot)

    def dirty_pages(self, slot: MemorySlot) -> list[int]:
        """Pages of a slot, from its start, that the guest wrote to since the last call. Raises SlotError."""
        return self.memory.dirty_pages(slot)

    def read(self, address: int, size: int) -> bytes:
        """Guest-physical bytes, as the host sees them. Raises SlotError if they are not in one slot."""
        return bytes(self.memory.host_bytes(address, size))

    def write(self, address: int, data: bytes) -> None:
        """Change them, code included. Raises SlotError if they are not in one slot."""
        place = self.memory.host_bytes(address, len(data))
        if data and self.memory.on_write is not None:
            self.memory.on_write(address, len(data))
        place[:] = data

    def create_vcpu(self, engine: Engine | str = Engine.DBT) -> SoftwareVcpu:
        """The virtual CPU, in flat 32-bit protected mode at address 0.

        Raises
        ------
        VmError
            There is no such engine, or there is a virtual CPU already.
        """
        if engine not in list(Engine):
            raise VmError(f"there is no engine '{engine}'; the engines are {' and '.join(Engine)}")
        if self.vcpus:
            raise VmError("a machine of a software engine has one virtual CPU, and this one has it")
        vcpu = SoftwareVcpu(self.memory, _engine(Engine(engine)))
        self.vcpus.append(vcpu)
        return vcpu

    def close(self) -> None:
        """End what goes on beside the guest; to be called when it is not run any more."""
        for vcpu in self.vcpus:
            vcpu.close()


def _engine(engine: Engine) -> type[Interpreter]:
    if engine is Engine.EMULATE:
        return Interpreter
    from vmm.engine.dbt.translator import Translator

    return Translator
