"""Translator against interpreter, at length: `python -m tests.vmm.engine.dbt.campaign --count 1000000 --seed 1`.

Random programs first, then single random instructions.
"""

from __future__ import annotations

import argparse
import random
import sys

from sim.randprog import generate
from sim.randprog.world import COUNTER, RAM
from tests.vmm.engine.dbt import instructions
from tests.vmm.engine.dbt.lockstep import VARIANTS, CachingCompiler, Difference, Pair, translator
from vmm.engine.dbt import translator as module
from vmm.engine.dbt.translator import Translator
from vmm.engine.emulate import EmulatedMachine, StopInfo


def random_pair(seed: int, variant: str, rounds: int = 8, slots: int = 120) -> Pair:
    """Both engines about to run the random program of a seed."""
    program = generate(seed, slots)
    machines = EmulatedMachine(RAM), EmulatedMachine(RAM, processor=translator(VARIANTS[variant]))
    for machine in machines:
        for segment in program.image.segments:
            machine.memory.load_blob(segment.address, segment.data)
        machine.memory.write32(COUNTER, rounds)
        machine.cpu.state.eip = program.image.entry
        machine.cpu.state_changed()
    return Pair(*machines, random.Random(seed))


def random_program(seed: int, variant: str, limit: int = 60_000) -> tuple[int, StopInfo | Difference]:
    """Run the program of a seed on both; how many instructions that were, and how it ended."""
    pair = random_pair(seed, variant)
    tested = pair.tested.cpu
    assert isinstance(tested, Translator)
    try:
        outcome = pair.run(limit)
        if tested.tiers.failures:
            outcome = Difference(f"LLVM has refused {tested.tiers.failures} units: {tested.tiers.failure}",
                                 tested.state.instructions, tested.state.eip, 0)
    finally:
        tested.close()
    return pair.golden.cpu.state.instructions, outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="instructions of programs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--single", type=int, default=30_000, help="instructions on their own")
    parser.add_argument("--variant", choices=VARIANTS, help="default: each in turn")
    options = parser.parse_args()
    module.Compiler = CachingCompiler  # type: ignore[misc]
    done, seed, wrong = 0, options.seed, 0
    while done < options.count:
        variant = options.variant or list(VARIANTS)[seed % len(VARIANTS)]
        count, outcome = random_program(seed, variant)
        done += count
        if isinstance(outcome, Difference):
            wrong += 1
            print(f"seed {seed}, {variant}: {outcome}", flush=True)
        seed += 1
    print(f"{done} instructions of {seed - options.seed} programs, {wrong} that differ")
    singly = [difference for difference in instructions.campaign(options.single, options.seed) if difference]
    for difference in singly[:20]:
        print(difference)
    print(f"{options.single} instructions on their own, {len(singly)} that differ")
    return 1 if wrong or singly else 0


if __name__ == "__main__":
    sys.exit(main())
