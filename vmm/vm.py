"""A virtual machine, shaped like KVM's: memory slots and a virtual CPU; devices are whoever looks at the exits.

Its virtual CPU is of the technique that is asked for, so that this is one of the places where everything is put
together.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from vmm.engine.interpreter import Interpreter
from vmm.engine.vcpu import SoftwareVcpu
from vmm.monitor.area import Area
from vmm.slots import MemorySlot, SlotMemory
from vmm.vcpu import Vcpu

#: What one nested page table maps.
_PER_TABLE = 4 << 20


class Engine(StrEnum):
    """Who executes the guest: the interpreter, the translator, the simulated processor in guest mode."""

    EMULATE = "emulate"
    DBT = "dbt"
    SVM = "svm"


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
        self._host_ram: np.ndarray | None = None
        if isinstance(window, int):
            # behind it is room for what a monitor needs
            area = Area(window, False, -(-window // _PER_TABLE))
            self._host_ram = np.zeros((window + area.size) // 4, dtype=np.uint32)
            window = self._host_ram[:window // 4]
        self.memory = SlotMemory(window)
        self.vcpus: list[Vcpu] = []
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
        for vcpu in self.vcpus:
            vcpu.spill()
        return bytes(self.memory.host_bytes(address, size))

    def write(self, address: int, data: bytes) -> None:
        """Change them, code included. Raises SlotError if they are not in one slot."""
        place = self.memory.host_bytes(address, len(data))
        if data and self.memory.on_write is not None:
            self.memory.on_write(address, len(data))
        for vcpu in self.vcpus:
            vcpu.spill()
        place[:] = data
        for vcpu in self.vcpus:
            vcpu.refill()

    def create_vcpu(self, engine: Engine | str = Engine.DBT) -> Vcpu:
        """The virtual CPU, in flat 32-bit protected mode at address 0.

        Raises
        ------
        VmError
            There is no such engine, or there is a virtual CPU already.
        """
        if engine not in list(Engine):
            raise VmError(f"there is no engine '{engine}'; the engines are {', '.join(Engine)}")
        if self.vcpus:
            raise VmError("a machine has one virtual CPU, and this one has it")
        vcpu = self._make(Engine(engine))
        self.vcpus.append(vcpu)
        return vcpu

    def _make(self, engine: Engine) -> Vcpu:
        """What only one of them needs is imported for that one."""
        if engine is Engine.EMULATE:
            return SoftwareVcpu(self.memory, Interpreter)
        if engine is Engine.DBT:
            from vmm.engine.dbt.translator import Translator

            return SoftwareVcpu(self.memory, Translator)
        from sim.rtlhost import RtlHost
        from sim.rtlmachine import RtlMachine
        from vmm.monitor.vcpu import SvmVcpu

        if self._host_ram is None:
            raise VmError("the processor needs memory behind the window; give the window by its size for 'svm'")
        return SvmVcpu(RtlHost(RtlMachine(ram=self._host_ram)), self.memory.size, False, self.memory,
                       -(-self.memory.size // _PER_TABLE))

    def close(self) -> None:
        """End what goes on beside the guest; to be called when it is not run any more."""
        for vcpu in self.vcpus:
            vcpu.close()

