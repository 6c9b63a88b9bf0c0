"""The software engines that the tests of the processor run on, by name.

`interpreter` is the golden model. `single` translates every instruction as a block of its own, `regions` whatever has
run twice together with what is reachable from it; both compile at first sight and in place, so that hardly anything is
left to the interpreter inside. Their `step` is the interpreter's, and checks that native code does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.vmm.engine.dbt.lockstep import BLOCKS, REGIONS, memory_differs, states_differ
from vmm.engine.dbt.translator import Thresholds, Translator
from vmm.engine.interpreter import Interpreter, Retired
from vmm.memory import PhysicalMemory

ENGINES = ("interpreter", "single", "regions")


class _Recorder:
    """Ports of the golden model; what they did is kept for the translator, which must do the same."""

    def __init__(self, io: Any):
        self._io = io
        self.done: list[tuple[str, int, int, int]] = []

    def read(self, port: int, size: int) -> int:
        value: int = self._io.read(port, size)
        self.done.append(("read", port, size, value))
        return value

    def write(self, port: int, size: int, value: int) -> None:
        self._io.write(port, size, value)
        self.done.append(("write", port, size, value))


class _Player:
    def __init__(self, done: list[tuple[str, int, int, int]]):
        self._left = list(done)

    def read(self, port: int, size: int) -> int:
        what, *access, value = self._left.pop(0)
        assert (what, *access) == ("read", port, size)
        return value

    def write(self, port: int, size: int, value: int) -> None:
        assert self._left.pop(0) == ("write", port, size, value)

    def proceed(self) -> int:
        return 0


class Checked(Translator):
    """A translator whose steps are done by an interpreter, and then by native code from the same state."""

    _in_burst = False

    def burst(self, limit: int) -> None:
        self._in_burst = True
        try:
            super().burst(limit)
        finally:
            self._in_burst = False

    def step(self) -> Retired:
        if self._in_burst or self.record:
            return super().step()
        golden = Interpreter(PhysicalMemory(self.memory.ram.copy()), recorder := _Recorder(self.io))
        golden.state.load_dict(self.state.to_dict())
        golden.state_changed()
        golden.steps = self.steps
        golden.clock, golden.counter = self.clock, self.counter
        retired = golden.step()
        io = self.io
        # native code has ports of its own
        self.io = self._ports._io = _Player(recorder.done)
        try:
            self.burst(1)
        finally:
            self.io = self._ports._io = io
        found = states_differ(golden, self) + memory_differs(golden, self)
        assert not found, "; ".join(found)
        return retired


def processor(engine: str) -> Callable[..., Interpreter]:
    """What makes the processors of an engine; it takes what `Interpreter` takes."""
    if engine == "interpreter":
        return Interpreter
    thresholds: Thresholds = {"single": BLOCKS, "regions": REGIONS}[engine]

    def make(memory: PhysicalMemory, io: Any = None, tlb_capacity: int = 0) -> Interpreter:
        return Checked(memory, io, thresholds=thresholds)

    return make
