"""The predictor of the model against a naive one."""

from __future__ import annotations

import random

from tests.vmm.timing.code import COSTS
from vmm.memory import PhysicalMemory
from vmm.timing.model import TimingModel

TAKEN, MISSED = COSTS.cycles["taken"], COSTS.cycles["mispredicted"]


def model() -> TimingModel:
    return TimingModel(COSTS, PhysicalMemory(1 << 16), 1 << 16)


def spent(timing: TimingModel) -> int:
    """Cycles since the last call."""
    cycles = timing.cycles
    timing.state.cycles = 0
    return cycles


def test_untrained_branches_follow_the_static_rule() -> None:
    for backward, taken, cost in ((1, 1, TAKEN), (1, 0, MISSED), (0, 0, 0), (0, 1, MISSED)):
        timing = model()
        timing.conditional(0x1000, backward, taken, TAKEN)
        assert spent(timing) == cost


def test_conditional_branches_as_two_bit_counters() -> None:
    timing, rng = model(), random.Random(3)
    counters: dict[int, int] = {}
    for _ in range(5000):
        eip, backward = 0x1000 + 2 * rng.randrange(600), rng.randrange(2)
        taken = int(rng.random() < (0.9 if eip % 3 else 0.2))
        index = eip // 2 % 512
        counter = counters.get(index, 1)
        guess = (counter >= 2) != bool(backward)
        timing.conditional(eip, backward, taken, TAKEN)
        assert spent(timing) == (MISSED if guess != bool(taken) else TAKEN if taken else 0)
        counters[index] = min(counter + 1, 3) if taken != backward else max(counter - 1, 0)


def test_returns_come_back_to_the_last_eight_calls() -> None:
    timing = model()
    for depth in range(10):
        timing.call(0x1000 + depth)
    for depth in reversed(range(10)):
        timing.jump_back(0x1000 + depth, TAKEN)
        assert spent(timing) == (TAKEN if depth >= 2 else MISSED)


def test_indirect_jumps_go_where_they_went() -> None:
    timing = model()
    for target, cost in ((0x2000, MISSED), (0x2000, TAKEN), (0x3000, MISSED), (0x3000, TAKEN), (0x2000, MISSED)):
        timing.indirect(0x1010, target, TAKEN)
        assert spent(timing) == cost
    # Untagged: a jump 32 bytes on shares the entry.
    timing.indirect(0x1030, 0x2000, TAKEN)
    assert spent(timing) == TAKEN
