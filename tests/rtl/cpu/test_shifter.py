"""The funnel shifter against shifts of one bit at a time."""

import random

import pytest

from rtl.cpu.shifter import Shifter
from rtl.cpu.uop import Alu, Size

from .shift_model import double, single
from .vectors import Vectors

_BITS = {Size.B: 8, Size.W: 16, Size.D: 32}
_SINGLE = (Alu.ROL, Alu.ROR, Alu.RCL, Alu.RCR, Alu.SHL, Alu.SHR, Alu.SAR)
_DOUBLE = (Alu.SHLD, Alu.SHRD, Alu.SHLD_CL, Alu.SHRD_CL)


def _values(rng, bits):
    """Values whose ends differ in every way, and random ones; the bits above are noise."""
    top = 1 << bits - 1
    special = [0, 1, 2, top, top >> 1, top | 1, 2 * top - 1, top - 1, 0x55555555, 0xAAAAAAAA]
    return [value & 2 * top - 1 for value in special] + [rng.getrandbits(bits) for _ in range(14)]


def _check(vector, answer, expected, bits):
    case = f"{vector} gives {answer}, not {expected}"
    assert answer["result"] & (1 << bits) - 1 == expected.value, case
    assert answer["zero"] == (not expected.changed), case
    if expected.changed:
        assert (answer["cf"], answer["of"]) == (expected.cf, expected.of), case


@pytest.mark.parametrize("size", _BITS, ids=lambda size: size.name)
@pytest.mark.parametrize("op", _SINGLE, ids=lambda op: op.name)
def test_every_count(op, size):
    rng, bits = random.Random(op * 4 + size), _BITS[size]
    vectors = [
        {"op": op, "size": size, "a": value | rng.getrandbits(32) << bits, "amount": amount, "carry": carry,
         "b": rng.getrandbits(32)}
        for value in _values(rng, bits) for amount in range(32)
        for carry in ((0, 1) if op in (Alu.RCL, Alu.RCR) else (rng.getrandbits(1),))]
    for vector, answer in Vectors(Shifter()).run(vectors):
        value = vector["a"] & (1 << bits) - 1
        _check(vector, answer, single(op.name.lower(), value, bits, vector["amount"], vector["carry"]), bits)


@pytest.mark.parametrize("size", (Size.W, Size.D), ids=lambda size: size.name)
@pytest.mark.parametrize("op", _DOUBLE, ids=lambda op: op.name)
def test_double_shifts(op, size):
    rng, bits = random.Random(op * 4 + size), _BITS[size]
    vectors = [
        {"op": op, "size": size, "a": value | rng.getrandbits(32) << bits, "amount": amount,
         "b": rng.getrandbits(32), "carry": rng.getrandbits(1)}
        for value in _values(rng, bits) for amount in range(32)]
    for vector, answer in Vectors(Shifter()).run(vectors):
        a, b = (vector[name] & (1 << bits) - 1 for name in "ab")
        _check(vector, answer, double(op.name.startswith("SHL"), a, b, bits, vector["amount"]), bits)
