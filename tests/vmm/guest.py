"""A guest on a virtual CPU, for every technique: `Guest` maps memory, places code and runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from sim.rtlhost import RtlHost
from sim.rtlmachine import RtlMachine
from tests.vmm.engine.dbt.lockstep import BLOCKS, translator
from vmm.engine.interpreter import Interpreter
from vmm.engine.vcpu import SoftwareVcpu
from vmm.exits import Exit
from vmm.monitor.area import Area
from vmm.monitor.vcpu import SvmVcpu
from vmm.slots import MemorySlot
from vmm.vcpu import Vcpu
from vmm.vm import Vm

ENGINES: dict[str, Callable[..., Interpreter]] = {"emulate": Interpreter, "dbt": translator(BLOCKS)}
WINDOW, CODE, STACK, DEVICE = 0x8_0000, 0x1000, 0x8000, 0x10_0000
#: What is not in the window for a guest of `Guest`.
HOLE = 0x4_0000
RAM = MemorySlot(0, HOLE)
SVM = "svm"
TECHNIQUES = (*ENGINES, SVM)


@cache
def hardware() -> RtlMachine:
    """A processor with memory for the window and a monitor."""
    return RtlMachine(ram=np.zeros((WINDOW + Area(WINDOW, False, 1).size) // 4, dtype=np.uint32))


class Guest:
    """A machine with RAM below HOLE, and code about to run at CODE."""

    def __init__(self, technique: str, code: str = "", *slots: MemorySlot, **registers: int):
        slots = slots or (RAM,)
        self.cpu: Vcpu
        if technique == SVM:
            machine = hardware()
            machine.reset()
            self.vm = Vm(machine.ram[:WINDOW // 4], *slots)
            self.cpu = SvmVcpu(RtlHost(machine), WINDOW, False, self.vm.memory, 1)
        else:
            self.vm = Vm(WINDOW, *slots)
            self.cpu = SoftwareVcpu(self.vm.memory, ENGINES[technique])
        self.vm.vcpus.append(self.cpu)
        self.set(**{"eip": CODE, "esp": STACK} | registers)
        if code:
            self.vm.write(CODE, bytes.fromhex(code))

    def set(self, **registers: int) -> None:
        self.cpu.registers = replace(self.cpu.registers, **registers)

    @property
    def eip(self) -> int:
        """From the start of the code."""
        return self.cpu.registers.eip - CODE

    def run(self, max_instructions: int = 100_000, until: int | None = None) -> Exit:
        return self.cpu.run(max_instructions, until)

    def exits(self, count: int, answer: int | None = None) -> list[Exit]:
        """That many exits, with the same answer to each question."""
        found = []
        for _ in range(count):
            found.append(self.run())
            if answer is not None and not getattr(found[-1], "is_answered", True):
                found[-1].answer(answer)  # type: ignore[union-attr]
        return found
