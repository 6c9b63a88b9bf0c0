"""The log of pages written, on random programs: translator against interpreter, and both against memory itself."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sim.randprog import generate
from sim.randprog.world import COUNTER, RAM
from tests.vmm.engine.dbt.lockstep import BLOCKS, REGIONS, CachingCompiler, translator
from vmm.computer import Computer
from vmm.engine.dbt import translator as module
from vmm.engine.emulate import StopReason
from vmm.engine.interpreter import Interpreter
from vmm.engine.vcpu import SoftwareVcpu
from vmm.slots import MemorySlot
from vmm.vm import Vm

_ENGINES = {"emulate": Interpreter, "blocks": translator(BLOCKS), "regions": translator(REGIONS)}


class Logged:
    """The random program of a seed on an engine, with a log of all of its memory."""

    def __init__(self, engine: str, seed: int):
        self.slot = MemorySlot(0, RAM, log_dirty=True)
        self.vm = Vm(RAM, self.slot)
        self.cpu = SoftwareVcpu(self.vm.memory, _ENGINES[engine])
        self.computer = Computer(self.cpu)
        program = generate(seed, 120)
        for segment in program.image.segments:
            self.vm.write(segment.address, segment.data)
        self.vm.write(COUNTER, (4).to_bytes(4, "little"))
        self.cpu.cpu.state.eip = program.image.entry
        self.cpu.cpu.state_changed()

    def slice(self, instructions: int) -> tuple[bool, list[int]]:
        """Whether the program goes on, and what it has written to; everything that has changed must be in it."""
        before = self.vm.memory.ram.copy()
        stop = self.computer.run(instructions)
        pages = self.vm.dirty_pages(self.slot)
        changed = np.flatnonzero((before != self.vm.memory.ram).reshape(-1, 1024).any(axis=1))
        assert set(changed.tolist()) <= set(pages)
        return stop.reason is StopReason.LIMIT, pages


@pytest.mark.parametrize("engine", ["blocks", "regions"])
@pytest.mark.parametrize("seed", [4, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 12))])
def test_random_programs(engine: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Compiler", CachingCompiler)
    golden, tested, rng = Logged("emulate", seed), Logged(engine, seed), random.Random(seed)
    logs = 0
    for _ in range(150):
        count = rng.choice((1, 7, 60, 400))
        (goes_on, expected), found = golden.slice(count), tested.slice(count)
        assert found == (goes_on, expected)
        assert tested.cpu.save() == golden.cpu.save()
        logs += len(expected)
        if not goes_on:
            break
    assert logs > 20
