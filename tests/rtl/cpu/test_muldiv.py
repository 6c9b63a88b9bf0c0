"""Multiplier and divider against Python's integers."""

import random

import pytest

from rtl.cpu.muldiv import MulDiv
from rtl.cpu.uop import Alu, Size
from tests.rtl.simulation import simulate

_BITS = {Size.B: 8, Size.W: 16, Size.D: 32}


def _signed(value, bits):
    return value - (value >> bits - 1 << bits)


def _run(operations, check):
    """Feed (op, size, a, b, d) one after the other; `check(operation, dut outputs, cycles)` sees each result."""
    dut = MulDiv()

    async def bench(ctx):
        for operation in operations:
            for name, value in zip(("op", "size", "a", "b", "d"), operation, strict=True):
                ctx.set(getattr(dut, name), value)
            ctx.set(dut.start, 1)
            assert not ctx.get(dut.ready)
            await ctx.tick()
            ctx.set(dut.start, 0)
            cycles = 2
            while not ctx.get(dut.ready):
                await ctx.tick()
                cycles += 1
                assert cycles < 50, f"{operation} never ends"
            outputs = {name: ctx.get(getattr(dut, name)) for name in
                       ("error", "result", "mul_hi", "div_rem", "significant")}
            check(operation, outputs, cycles)

    simulate(dut, bench)


def _corners(rng, bits):
    top = 1 << bits - 1
    return [0, 1, 2, top - 1, top, top + 1, 2 * top - 2, 2 * top - 1, *(rng.getrandbits(bits) for _ in range(5))]


@pytest.mark.parametrize("size", _BITS, ids=lambda size: size.name)
@pytest.mark.parametrize("op", (Alu.MUL, Alu.IMUL), ids=lambda op: op.name)
def test_products(op, size):
    rng, bits = random.Random(op * 4 + size), _BITS[size]
    mask = (1 << bits) - 1

    def check(operation, outputs, cycles):
        _, _, a, b, _ = operation
        a, b = a & mask, b & mask
        product = _signed(a, bits) * _signed(b, bits) if op == Alu.IMUL else a * b
        low = product & mask
        assert outputs["result"] & (0xFFFF if size == Size.B else mask) == product & (0xFFFF if bits == 8 else mask)
        assert outputs["mul_hi"] == product >> bits & mask, operation
        fits = product == (_signed(low, bits) if op == Alu.IMUL else low)
        assert outputs["significant"] == (not fits), operation
        assert cycles == 3

    noise = 0xFFFF_FFFF ^ mask
    _run([(op, size, a | rng.getrandbits(32) & noise, b | rng.getrandbits(32) & noise, rng.getrandbits(32))
          for a in _corners(rng, bits) for b in _corners(rng, bits)], check)


def _divide(op, bits, dividend, divisor):
    """Quotient and remainder of the size, or None for #DE. SDM vol. 2A, DIV and IDIV."""
    if op == Alu.IDIV:
        dividend, divisor = _signed(dividend, 2 * bits), _signed(divisor, bits)
    if divisor == 0:
        return None
    quotient = abs(dividend) // abs(divisor)
    if (dividend < 0) != (divisor < 0):
        quotient = -quotient
    low, high = (-1 << bits - 1, (1 << bits - 1) - 1) if op == Alu.IDIV else (0, (1 << bits) - 1)
    if not low <= quotient <= high:
        return None
    return quotient & (1 << bits) - 1, dividend - quotient * divisor & (1 << bits) - 1


def _dividends(rng, bits):
    """Pairs with quotients on both sides of the limits."""
    for divisor in _corners(rng, bits):
        signed = _signed(divisor, bits)
        for quotient in (0, 1, -1, (1 << bits) - 1, 1 << bits, (1 << bits - 1) - 1, 1 << bits - 1, -1 << bits - 1,
                         (-1 << bits - 1) - 1):
            for by in (divisor, signed):
                rest = rng.choice((0, abs(by) - 1 if by else 0, rng.getrandbits(bits)))
                yield quotient * by + rng.choice((-1, 1)) * rest & (1 << 2 * bits) - 1, divisor
        yield rng.getrandbits(2 * bits), divisor


@pytest.mark.parametrize("size", _BITS, ids=lambda size: size.name)
@pytest.mark.parametrize("op", (Alu.DIV, Alu.IDIV), ids=lambda op: op.name)
def test_quotients(op, size):
    rng, bits = random.Random(op * 4 + size), _BITS[size]
    mask = (1 << bits) - 1
    outcomes = set()

    def operands(dividend, divisor):
        noise = rng.getrandbits(32)
        if bits == 8:
            return op, size, dividend | noise & ~0xFFFF, divisor | noise & ~mask, rng.getrandbits(32)
        return op, size, dividend & mask | noise & ~mask, divisor | noise & ~mask, dividend >> bits | noise & ~mask

    pairs = list(_dividends(rng, bits))
    pending = iter(pairs)

    def check(operation, outputs, cycles):
        expected = _divide(op, bits, *next(pending))
        outcomes.add(expected is None)
        assert outputs["error"] == (expected is None), operation
        if expected is not None:
            quotient, remainder = expected
            assert outputs["div_rem"] & mask == remainder, operation
            assert outputs["result"] & (0xFFFF if bits == 8 else mask) == (
                remainder << 8 | quotient if bits == 8 else quotient), operation
            assert cycles == bits + 3

    _run([operands(*pair) for pair in pairs], check)
    assert outcomes == {True, False}


def test_new_start_abandons_the_operation_under_way():
    dut = MulDiv()
    given = []

    async def bench(ctx):
        for wait in (1, 2, 5, 20):
            for op, a, b in ((Alu.DIV, 1000, 7), (Alu.MUL, 6, 7), (Alu.DIV, 1001, 10)):
                for name, value in dict(op=op, size=Size.D, a=a, b=b, d=0).items():
                    ctx.set(getattr(dut, name), value)
                ctx.set(dut.start, 1)
                await ctx.tick()
                ctx.set(dut.start, 0)
                if (op, a) == (Alu.DIV, 1000):
                    await ctx.tick().repeat(wait)
                    continue
                while not ctx.get(dut.ready):
                    await ctx.tick()
                given.append(ctx.get(dut.result))

    simulate(dut, bench)
    assert given == [42, 100] * 4
