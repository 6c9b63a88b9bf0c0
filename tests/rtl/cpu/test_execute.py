"""The execution unit against the manual's operations written over Python's integers."""

import random

import pytest

from rtl.cpu.execute import Execute
from rtl.cpu.flags import Flags
from rtl.cpu.uop import Alu, FlagSet, Size
from rtl.isa.opcodes import CONDITIONS
from tests.rtl.simulation import simulate

from .shift_model import double, single
from .vectors import Vectors

_BITS = {Size.B: 8, Size.W: 16, Size.D: 32}
_NAMES = ("cf", "pf", "af", "zf", "sf", "of")
_SIZES = pytest.mark.parametrize("size", _BITS, ids=lambda size: size.name)


def _unpack(flags):
    return {name: flags >> bit & 1 for bit, name in enumerate(_NAMES)}


def _signed(value, bits):
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)


def _of_result(value, bits):
    value &= (1 << bits) - 1
    return {"zf": int(value == 0), "sf": value >> bits - 1, "pf": 1 - (value & 0xFF).bit_count() % 2}


def _add(bits, a, b, carry):
    total = a + b + carry
    signed = _signed(a, bits) + _signed(b, bits) + carry
    return total, {"cf": total >> bits, "af": int((a & 15) + (b & 15) + carry > 15),
                   "of": int(signed != _signed(signed, bits))}


def _sub(bits, a, b, borrow):
    signed = _signed(a, bits) - _signed(b, bits) - borrow
    return a - b - borrow, {"cf": int(a < b + borrow), "af": int((a & 15) < (b & 15) + borrow),
                            "of": int(signed != _signed(signed, bits))}


_CLEARED = {"cf": 0, "of": 0, "af": 0}
_ARITHMETIC = {
    Alu.ADD: lambda bits, a, b, carry: _add(bits, a, b, 0),
    Alu.ADC: _add,
    Alu.SUB: lambda bits, a, b, carry: _sub(bits, a, b, 0),
    Alu.SBB: _sub,
    Alu.AND: lambda bits, a, b, carry: (a & b, _CLEARED),
    Alu.OR: lambda bits, a, b, carry: (a | b, _CLEARED),
    Alu.XOR: lambda bits, a, b, carry: (a ^ b, _CLEARED),
}


def _vectors(rng, op, size, pairs, **fixed):
    """One vector a pair, with noise above the size and in everything else."""
    bits = _BITS[size]
    for a, b in pairs:
        yield {"op": op, "size": size, "a": a | rng.getrandbits(32) << bits, "b": b | rng.getrandbits(32) << bits,
               "imm": rng.getrandbits(32), "ecx": rng.getrandbits(32), "edx": rng.getrandbits(32),
               "flags_in": rng.getrandbits(6), "flag_set": FlagSet.ALL, "condition": rng.getrandbits(4)} | fixed


def _pairs(rng, size, count=120):
    """Corner values against each other, and random ones."""
    bits = _BITS[size]
    top = 1 << bits - 1
    corners = [0, 1, 0xF, 0x10, top - 1, top, top + 1, 2 * top - 1]
    yield from ((a, b) for a in corners for b in corners)
    yield from ((rng.getrandbits(bits), rng.getrandbits(bits)) for _ in range(count))


def _cut(vector, *names):
    return (vector[name] & (1 << _BITS[vector["size"]]) - 1 for name in names)


@_SIZES
@pytest.mark.parametrize("op", _ARITHMETIC, ids=lambda op: op.name)
def test_arithmetic(op, size):
    rng, bits = random.Random(op * 4 + size), _BITS[size]
    for vector, answer in Vectors(Execute()).run(_vectors(rng, op, size, _pairs(rng, size))):
        a, b = _cut(vector, "a", "b")
        result, flags = _ARITHMETIC[op](bits, a, b, vector["flags_in"] & 1)
        assert answer["result"] & (1 << bits) - 1 == result & (1 << bits) - 1, vector
        assert _unpack(answer["flags_out"]) == flags | _of_result(result, bits), vector
        assert answer["flags_mask"] == 0b111111 and answer["ready"]


@_SIZES
def test_loop_counts_down_to_zero(size):
    """Only ZF means something: LOOP writes no flags."""
    rng, bits = random.Random(size), _BITS[size]
    for vector, answer in Vectors(Execute()).run(_vectors(rng, Alu.LOOP, size, _pairs(rng, size, 20))):
        a, = _cut(vector, "a")
        assert answer["result"] & (1 << bits) - 1 == (a - 1) & (1 << bits) - 1, vector
        assert _unpack(answer["flags_out"])["zf"] == (a == 1), vector


@pytest.mark.slow
@pytest.mark.parametrize("op", (Alu.ADC, Alu.SBB), ids=lambda op: op.name)
def test_arithmetic_of_every_byte(op):
    rng = random.Random(op)
    pairs = ((a, b) for a in range(256) for b in range(256))
    for vector, answer in Vectors(Execute()).run(_vectors(rng, op, Size.B, pairs)):
        a, b = _cut(vector, "a", "b")
        result, flags = _ARITHMETIC[op](8, a, b, vector["flags_in"] & 1)
        assert answer["result"] & 0xFF == result & 0xFF, vector
        assert _unpack(answer["flags_out"]) == flags | _of_result(result, 8), vector


_EXTENSIONS = {
    Alu.MOV: lambda bits, a, b: b,
    Alu.CBW: lambda bits, a, b: _signed(b, bits // 2),
    Alu.BSWAP: lambda bits, a, b: 0 if bits == 16 else int.from_bytes(a.to_bytes(4, "little"), "big"),
    Alu.ZX8: lambda bits, a, b: b & 0xFF,
    Alu.ZX16: lambda bits, a, b: b & 0xFFFF,
    Alu.SX8: lambda bits, a, b: _signed(b, 8),
    Alu.SX16: lambda bits, a, b: _signed(b, 16),
    Alu.SIGN: lambda bits, a, b: -(_signed(a, bits) < 0),
    Alu.JCXZ: lambda bits, a, b: a,
    Alu.JMP: lambda bits, a, b: b,
    Alu.JMPI: lambda bits, a, b: b,
    Alu.LIMIT: lambda bits, a, b: (
        (a >> 16 & 0xF) << 16 | b & 0xFFFF if not a >> 23 & 1 else (a >> 16 & 0xF) << 28 | (b & 0xFFFF) << 12 | 0xFFF),
}


@pytest.mark.parametrize("op", _EXTENSIONS, ids=lambda op: op.name)
def test_moves_and_extensions(op):
    """Sources narrower than the size are named by the operation, so the noise above `size` is data here."""
    rng = random.Random(op)
    for size, bits in _BITS.items():
        if op in (Alu.CBW, Alu.BSWAP) and size == Size.B:
            continue
        for vector, answer in Vectors(Execute()).run(_vectors(rng, op, size, _pairs(rng, size, 40))):
            expected = _EXTENSIONS[op](bits, vector["a"] & 0xFFFFFFFF, vector["b"] & 0xFFFFFFFF)
            assert answer["result"] & (1 << bits) - 1 == expected & (1 << bits) - 1, vector
            assert _unpack(answer["flags_out"])["zf"] == (expected & (1 << bits) - 1 == 0), vector


@pytest.mark.parametrize("size", (Size.W, Size.D), ids=lambda size: size.name)
@pytest.mark.parametrize("op", (Alu.BT, Alu.BTS, Alu.BTR, Alu.BTC), ids=lambda op: op.name)
def test_bits(op, size):
    rng, bits = random.Random(op * 4 + size), _BITS[size]
    for vector, answer in Vectors(Execute()).run(_vectors(rng, op, size, _pairs(rng, size, 100), flag_set=FlagSet.CF)):
        a, b = _cut(vector, "a", "b")
        bit = 1 << b % bits
        expected = {Alu.BT: a, Alu.BTS: a | bit, Alu.BTR: a & ~bit, Alu.BTC: a ^ bit}[op]
        assert answer["result"] & (1 << bits) - 1 == expected, vector
        assert _unpack(answer["flags_out"])["cf"] == bool(a & bit), vector
        assert answer["flags_mask"] == 0b000001


@pytest.mark.parametrize("size", (Size.W, Size.D), ids=lambda size: size.name)
@pytest.mark.parametrize("op", (Alu.BSF, Alu.BSR), ids=lambda op: op.name)
def test_scans(op, size):
    rng, bits = random.Random(op * 4 + size), _BITS[size]
    pairs = [*((rng.getrandbits(bits), 1 << n) for n in range(bits)), *_pairs(rng, size, 60)]
    for vector, answer in Vectors(Execute()).run(_vectors(rng, op, size, pairs, flag_set=FlagSet.ZF)):
        a, b = _cut(vector, "a", "b")
        expected = a if b == 0 else b.bit_length() - 1 if op == Alu.BSR else (b & -b).bit_length() - 1
        assert answer["result"] & (1 << bits) - 1 == expected, vector
        assert _unpack(answer["flags_out"])["zf"] == (b == 0), vector
        assert answer["flags_mask"] == 0b001000


_HOLDS = {
    "o": lambda f: f["of"], "b": lambda f: f["cf"], "e": lambda f: f["zf"], "be": lambda f: f["cf"] or f["zf"],
    "s": lambda f: f["sf"], "p": lambda f: f["pf"], "l": lambda f: f["sf"] != f["of"],
    "le": lambda f: f["zf"] or f["sf"] != f["of"],
    "no": lambda f: not f["of"], "ae": lambda f: not f["cf"], "ne": lambda f: not f["zf"],
    "a": lambda f: not (f["cf"] or f["zf"]), "ns": lambda f: not f["sf"], "np": lambda f: not f["pf"],
    "ge": lambda f: f["sf"] == f["of"], "g": lambda f: not f["zf"] and f["sf"] == f["of"],
}


def test_every_condition_and_flags():
    rng = random.Random(1)
    vectors = [
        {"op": rng.choice((Alu.SETCC, Alu.CMOV, Alu.JCC)), "size": Size.D, "condition": condition, "flags_in": flags,
         "a": rng.getrandbits(32), "b": rng.getrandbits(32)}
        for condition in range(16) for flags in range(64)]
    for vector, answer in Vectors(Execute()).run(vectors):
        holds = bool(_HOLDS[CONDITIONS[vector["condition"]]](_unpack(vector["flags_in"])))
        assert answer["cond"] == holds, vector
        if vector["op"] == Alu.SETCC:
            assert answer["result"] == holds
        elif vector["op"] == Alu.CMOV:
            assert answer["result"] == vector["b" if holds else "a"]


def test_lahf_and_sahf():
    rng = random.Random(2)
    vectors = [{"op": op, "size": Size.D, "a": rng.getrandbits(32), "flags_in": flags, "flag_set": FlagSet.ALL}
               for op in (Alu.LAHF, Alu.SAHF) for flags in range(64) for _ in range(3)]
    places = {"cf": 8, "pf": 10, "af": 12, "zf": 14, "sf": 15}
    for vector, answer in Vectors(Execute()).run(vectors):
        flags, a = _unpack(vector["flags_in"]), vector["a"]
        if vector["op"] == Alu.LAHF:
            image = 0x0200 | sum(flags[name] << place for name, place in places.items())
            assert answer["result"] & 0xFFFF == a & 0xFF | image, vector
        else:
            expected = {name: a >> place & 1 for name, place in places.items()} | {"of": flags["of"]}
            assert _unpack(answer["flags_out"]) == expected, vector


def test_flag_sets_select_the_flags_written():
    masks = {FlagSet.NONE: (), FlagSet.ALL: _NAMES, FlagSet.NO_CF: _NAMES[1:], FlagSet.CF: ("cf",),
             FlagSet.ZF: ("zf",), FlagSet.SHIFT: _NAMES, FlagSet.ROTATE: ("cf", "of"), FlagSet.CF_OF: ("cf", "of")}
    vectors = [{"op": Alu.SHL, "size": Size.D, "a": 1, "b": 1, "flag_set": flag_set} for flag_set in FlagSet]
    for vector, answer in Vectors(Execute()).run(vectors):
        assert answer["flags_mask"] == Flags.const(dict.fromkeys(masks[vector["flag_set"]], 1)).as_value().value


@_SIZES
@pytest.mark.parametrize("op", (Alu.ROL, Alu.ROR, Alu.RCL, Alu.RCR, Alu.SHL, Alu.SHR, Alu.SAR), ids=lambda op: op.name)
def test_shifts_count_by_b(op, size):
    rng, bits = random.Random(op * 4 + size), _BITS[size]
    shifts = op in (Alu.SHL, Alu.SHR, Alu.SAR)
    flag_set = FlagSet.SHIFT if shifts else FlagSet.ROTATE
    vectors = _vectors(rng, op, size, ((rng.getrandbits(bits), count) for count in range(32) for _ in range(3)),
                       flag_set=flag_set)
    written = {"cf", "of"} | (set(_NAMES) if shifts else set())
    for vector, answer in Vectors(Execute()).run(vectors):
        a, = _cut(vector, "a")
        expected = single(op.name.lower(), a, bits, vector["b"], vector["flags_in"] & 1)
        assert answer["result"] & (1 << bits) - 1 == expected.value, vector
        assert answer["flags_mask"] == Flags.const(
            dict.fromkeys(written if expected.changed else (), 1)).as_value().value, vector
        if expected.changed:
            flags = _of_result(expected.value, bits) | {"cf": expected.cf, "of": expected.of, "af": 0}
            given = _unpack(answer["flags_out"])
            assert {name: given[name] for name in written} == {name: flags[name] for name in written}, vector


@pytest.mark.parametrize("size", (Size.W, Size.D), ids=lambda size: size.name)
@pytest.mark.parametrize(("op", "count"), [(Alu.SHLD, "imm"), (Alu.SHRD, "imm"), (Alu.SHLD_CL, "ecx"),
                                           (Alu.SHRD_CL, "ecx")], ids=lambda x: getattr(x, "name", x))
def test_double_shifts_count_by_imm_or_cl(op, count, size):
    rng, bits = random.Random(op * 4 + size), _BITS[size]
    for vector, answer in Vectors(Execute()).run(
            _vectors(rng, op, size, _pairs(rng, size, 60), flag_set=FlagSet.SHIFT)):
        a, b = _cut(vector, "a", "b")
        expected = double(op.name.startswith("SHL"), a, b, bits, vector[count])
        assert answer["result"] & (1 << bits) - 1 == expected.value, vector
        assert answer["flags_mask"] == (0b111111 if expected.changed else 0), vector
        if expected.changed:
            assert _unpack(answer["flags_out"]) == _of_result(expected.value, bits) | {
                "cf": expected.cf, "of": expected.of, "af": 0}, vector


def test_decimal_flags_follow_al():
    rng = random.Random(3)
    vectors = [{"op": op, "size": Size.W, "a": rng.getrandbits(32), "flags_in": rng.getrandbits(6),
                "flag_set": FlagSet.ALL} for op in (Alu.DAA, Alu.DAS, Alu.AAA, Alu.AAS) for _ in range(60)]
    for vector, answer in Vectors(Execute()).run(vectors):
        given = _unpack(answer["flags_out"])
        assert {name: given[name] for name in ("zf", "sf", "pf")} == _of_result(answer["result"], 8), vector
        assert given["of"] == 0


@_SIZES
def test_products_and_quotients_pass_through(size):
    """Start, ready and flags; the arithmetic has its own test."""
    bits = _BITS[size]
    mask, rng, dut = (1 << bits) - 1, random.Random(size), Execute()

    async def run(ctx, op, a, b, edx=0):
        for name, value in dict(op=op, size=size, a=a, b=b, edx=edx, flag_set=FlagSet.ALL).items():
            ctx.set(getattr(dut, name), value)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        while not ctx.get(dut.ready):
            await ctx.tick()

    async def bench(ctx):
        for _ in range(10):
            a, b = rng.getrandbits(bits), rng.getrandbits(rng.randrange(1, bits))
            for op, product in ((Alu.MUL, a * b), (Alu.IMUL, _signed(a, bits) * _signed(b, bits))):
                await run(ctx, op, a, b)
                low = product & mask
                wide = int(product != (_signed(low, bits) if op == Alu.IMUL else low))
                flags = _of_result(low, bits) | {"cf": wide, "of": wide, "af": 0}
                assert {name: ctx.get(dut.flags_out[name]) for name in _NAMES} == flags
                assert ctx.get(dut.mul_hi) == product >> bits & mask
            b |= 1
            high = rng.randrange(b)
            dividend = high << bits | a
            await run(ctx, Alu.DIV, dividend if bits == 8 else a, b, high)
            assert not ctx.get(dut.divide_error)
            assert ctx.get(dut.result) & mask == dividend // b
            assert ctx.get(dut.div_rem) & mask == dividend % b
        await run(ctx, Alu.DIV, 5, 0)
        assert ctx.get(dut.divide_error)

    simulate(dut, bench)
