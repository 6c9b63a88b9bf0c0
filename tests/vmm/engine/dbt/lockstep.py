"""The translator beside the interpreter: two computers that must be in the same state wherever their run is cut."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vmm.engine.dbt.compiler import Compiled, Compiler, Effort
from vmm.engine.dbt.translator import Thresholds, Translator
from vmm.engine.emulate import EmulatedMachine, StopInfo, StopReason
from vmm.engine.interpreter import Interpreter

#: Everything compiled at first sight, blocks alone or in regions as soon as they have run twice.
BLOCKS = Thresholds(warm=1, entered=1, hot=1 << 30, background=False)
REGIONS = Thresholds(warm=1, entered=1, hot=2, background=False)
BACKGROUND = Thresholds(warm=1, entered=1, hot=2, background=True)
VARIANTS = {"blocks": BLOCKS, "regions": REGIONS, "background": BACKGROUND}


class CachingCompiler(Compiler):
    """Compiles what every translator has, the same for all, once per process; checks what LLVM is given."""

    careful = True
    _objects: dict[tuple[str, Effort], bytes] = {}

    def compile(self, text: str, effort: Effort, names: list[str]) -> Compiled:
        if not {"enter", "raise_fault"} & set(names):
            return super().compile(text, effort, names)
        found = self._objects.get((text, effort))
        if found is not None:
            return self.load(found, names)
        compiled = super().compile(text, effort, names)
        self._objects[text, effort] = compiled.object_code
        return compiled


def translator(thresholds: Thresholds) -> Callable[..., Translator]:
    """What `EmulatedMachine` takes as its processor."""
    return lambda memory, io=None, tlb_capacity=0: Translator(memory, io, thresholds=thresholds)


@dataclass(frozen=True)
class Difference:
    """Where two engines parted: after `instructions`, in a slice that began at EIP `since`."""

    what: str
    instructions: int
    since: int
    slice: int

    def __str__(self) -> str:
        return f"after {self.instructions} instructions, in a slice of {self.slice} from {self.since:#x}: {self.what}"


def flat(image: Any, name: str = "") -> dict[str, Any]:
    """A nested image as one table, to say what differs in it."""
    if isinstance(image, dict):
        pairs = image.items()
    elif isinstance(image, list | tuple) and len(image) < 64:
        pairs = enumerate(image)
    else:
        return {name: image}
    return {key: value for part, inner in pairs for key, value in flat(inner, f"{name}.{part}").items()}


def states_differ(golden: Interpreter, tested: Interpreter) -> list[str]:
    """How two processors differ, counters included."""
    found = []
    one, two = flat(golden.state.to_dict()), flat(tested.state.to_dict())
    for name in sorted(one.keys() | two.keys()):
        if one.get(name) != two.get(name):
            found.append(f"{name[1:]} {_text(one.get(name))} but {_text(two.get(name))}")
    if golden.steps != tested.steps:
        found.append(f"steps {golden.steps} but {tested.steps}")
    return found


def memory_differs(golden: Interpreter, tested: Interpreter) -> list[str]:
    wrong = np.flatnonzero(golden.memory.ram.view(np.uint32) != tested.memory.ram.view(np.uint32))
    return [f"memory at {4 * n:#x}: {golden.memory.words[n]:#x} but {tested.memory.words[n]:#x}"
            for n in wrong[:6].tolist()]


def _text(value: Any) -> str:
    return hex(value) if isinstance(value, int) else str(value)


class Pair:
    """A computer that interprets and one that translates, loaded alike.

    Parameters
    ----------
    golden, tested : the computers. rng : cuts the run.
    """

    def __init__(self, golden: EmulatedMachine, tested: EmulatedMachine, rng: random.Random):
        self.golden, self.tested, self._rng = golden, tested, rng
        self.slices = 0

    def run(self, limit: int, longest: int = 2000, memory_every: int = 20) -> StopInfo | Difference:
        """Run both in slices of random lengths; `limit` counts instructions."""
        golden, tested = self.golden, self.tested
        while True:
            since = golden.cpu.state.eip
            length = self._rng.choice((1, 2, 3, 5, self._rng.randrange(1, 40), self._rng.randrange(1, longest)))
            length = min(length, limit - golden.cpu.state.instructions)
            one, two = golden.run(length), tested.run(length)
            self.slices += 1
            over = one.reason is not StopReason.LIMIT or golden.cpu.state.instructions >= limit
            found = states_differ(golden.cpu, tested.cpu)
            if one != two:
                found.append(f"stop {one} but {two}")
            if found or over or self.slices % memory_every == 0:
                found += memory_differs(golden.cpu, tested.cpu) + self._devices_differ()
            if found:
                return Difference("; ".join(found), golden.cpu.state.instructions, since, length)
            if over:
                return one

    def _devices_differ(self) -> list[str]:
        one, two = flat(self.golden.platform.save()), flat(self.tested.platform.save())
        return [f"device {name[1:]} {one.get(name)} but {two.get(name)}"
                for name in sorted(one.keys() | two.keys()) if one.get(name) != two.get(name)]
