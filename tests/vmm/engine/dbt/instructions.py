"""Single random instructions on the interpreter and on the translator, each in a block of its own before a JMP $."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.vmm.engine.cases import POOL, WIDE, Case, make_case
from tests.vmm.engine.dbt.lockstep import BLOCKS, memory_differs, states_differ
from tests.vmm.engine.dbt.test_scenes import advance
from tests.vmm.engine.differential import HANDLER, machine
from vmm.engine.dbt.translator import Translator

_STAY = b"\xEB\xFE"
#: Enough for the iterations a case has, and to come to rest behind them.
_STEPS, _REPEATED = 4, 14


class Bench:
    """Both engines with the same memory, to try instructions on.

    """

    def __init__(self, seed: int):
        self.golden = machine(False)
        self.tested = machine(False, lambda memory: Translator(memory, thresholds=BLOCKS))
        rng = random.Random(seed)
        for base, size in ((0x4000, 0xB000), (0x2_0000, 0xF000)):
            data = rng.randbytes(size)
            for cpu in (self.golden, self.tested):
                cpu.memory.load_blob(base, data)
        for cpu in (self.golden, self.tested):
            cpu.memory.load_blob(HANDLER, _STAY)

    def run(self, case: Case) -> str | None:
        """How the engines differ about a case."""
        for cpu in (self.golden, self.tested):
            state = cpu.state
            cpu.memory.load_blob(case.eip, case.code + _STAY)
            state.gpr[:], state.eflags, state.eip = case.gpr, case.eflags, case.eip
            state.shutdown = state.repeating = False
            advance(cpu, cpu.steps + (_REPEATED if case.insn.rep is not None else _STEPS))
        found = states_differ(self.golden, self.tested) + memory_differs(self.golden, self.tested)
        assert isinstance(self.tested, Translator)
        if self.tested.tiers.failures:
            found.append(f"LLVM has refused it: {self.tested.tiers.failure}")
        return f"{case.insn.form} [{case.code.hex()}] {'; '.join(found)}" if found else None


def campaign(count: int, seed: int) -> Iterator[str | None]:
    """Try `count` cases, every form first; yields how each differs."""
    rng, bench = random.Random(seed), Bench(seed)
    for index in range(count):
        form = POOL[index % len(POOL)]
        difference = bench.run(make_case(rng, form, WIDE.code + 32 * (index % 500), WIDE))
        yield difference
        if difference is not None:
            bench = Bench(seed + index)
