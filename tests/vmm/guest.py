"""A guest on a virtual CPU, for every engine: `Guest` maps memory, places code and runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.vmm.engine.dbt.lockstep import BLOCKS, translator
from vmm.engine.interpreter import Interpreter
from vmm.engine.vcpu import SoftwareVcpu
from vmm.exits import Exit
from vmm.slots import MemorySlot
from vmm.vm import Vm

ENGINES: dict[str, Callable[..., Interpreter]] = {"emulate": Interpreter, "dbt": translator(BLOCKS)}
WINDOW, CODE, STACK, DEVICE = 0x8_0000, 0x1000, 0x8000, 0x10_0000
#: What is not in the window for a guest of `Guest`.
HOLE = 0x4_0000
RAM = MemorySlot(0, HOLE)


class Guest:
    """A machine with RAM below HOLE, and code about to run at CODE."""

    def __init__(self, engine: str, code: str = "", *slots: MemorySlot, **registers: int):
        self.vm = Vm(WINDOW, *(slots or (RAM,)))
        self.cpu = SoftwareVcpu(self.vm.memory, ENGINES[engine])
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
