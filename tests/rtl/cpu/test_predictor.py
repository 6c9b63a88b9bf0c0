"""The branch predictor against a dictionary-and-list model."""

import random

import pytest

from rtl.cpu.predictor import Predictor, PredictorConfig
from tests.rtl.simulation import simulate


def test_config_rejects_a_size_that_is_not_a_power_of_two():
    with pytest.raises(ValueError, match="^PredictorConfig.returns must be a power of two of at least 2, not 6$"):
        PredictorConfig(returns=6)


def test_untrained_predicts_backward_taken_forward_not():
    dut = Predictor()

    async def bench(ctx):
        for eip in range(0, 0x400, 0x35):
            ctx.set(dut.d_eip, eip)
            for backward in (0, 1):
                ctx.set(dut.d_backward, backward)
                assert ctx.get(dut.d_taken) == backward

    simulate(dut, bench)


def test_direction_follows_a_two_bit_counter_model():
    dut = Predictor(PredictorConfig(counters=32))
    rng = random.Random(1)
    branches = [(rng.getrandbits(32), rng.getrandbits(1), rng.random()) for _ in range(24)]
    model = [1] * 32
    hits = 0

    async def bench(ctx):
        nonlocal hits
        for _ in range(1500):
            eip, backward, bias = rng.choice(branches)
            taken = int(rng.random() < bias)
            index = (eip >> 1) % 32
            ctx.set(dut.d_eip, eip)
            ctx.set(dut.d_backward, backward)
            assert ctx.get(dut.d_taken) == (model[index] >= 2) ^ backward
            hits += ctx.get(dut.d_taken) == taken
            counter = ctx.get(dut.d_counter)
            assert counter == model[index]
            model[index] = min(3, counter + 1) if taken != backward else max(0, counter - 1)
            ctx.set(dut.x_update, 1)
            ctx.set(dut.x_eip, eip)
            ctx.set(dut.x_backward, backward)
            ctx.set(dut.x_counter, counter)
            ctx.set(dut.x_taken, taken)
            await ctx.tick()
            ctx.set(dut.x_update, 0)

    simulate(dut, bench)
    assert hits > 750


def test_return_stack_with_flushes():
    dut = Predictor()
    rng = random.Random(2)
    stack = [0] * 8
    top = 0
    carried = [0]  # pointers carried by the instructions in flight

    async def bench(ctx):
        nonlocal top
        for _ in range(600):
            action = rng.choice(["push", "push", "pop", "pop", "none", "flush"])
            address = rng.getrandbits(32)
            ctx.set(dut.d_push, action == "push")
            ctx.set(dut.d_push_eip, address)
            ctx.set(dut.d_pop, action == "pop")
            assert ctx.get(dut.d_return_eip) == stack[top]
            if action == "flush":
                # A push in the same cycle belongs to a flushed instruction: it must not happen.
                ctx.set(dut.d_push, rng.getrandbits(1))
                pointer = rng.choice(carried)
                ctx.set(dut.x_restore, 1)
                ctx.set(dut.x_pointer, pointer)
                top = pointer
            elif action == "push":
                top = (top + 1) % 8
                stack[top] = address
            elif action == "pop":
                top = (top - 1) % 8
            if action != "flush":
                assert ctx.get(dut.d_pointer) == top
                carried.append(top)
                del carried[:-6]
            await ctx.tick()
            ctx.set(dut.x_restore, 0)

    simulate(dut, bench)


def test_indirect_target_is_the_last_one():
    dut = Predictor()

    async def bench(ctx):
        for eip, target in ((0x1000, 0x12345678), (0x1002, 0x9ABCDEF0), (0x1000, 0x55AA55AA)):
            ctx.set(dut.x_indirect, 1)
            ctx.set(dut.x_eip, eip)
            ctx.set(dut.x_target, target)
            await ctx.tick()
            ctx.set(dut.x_indirect, 0)
            ctx.set(dut.d_eip, eip)
            assert ctx.get(dut.d_indirect_eip) == target
        ctx.set(dut.d_eip, 0x1002)
        assert ctx.get(dut.d_indirect_eip) == 0x9ABCDEF0

    simulate(dut, bench)
