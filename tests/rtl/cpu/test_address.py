"""Address generation against the manual's rules written over Python's integers."""

import random

from rtl.cpu.address import AddressUnit
from rtl.cpu.events import AccessFault
from rtl.cpu.uop import Aseg, Mem, Size, Step
from rtl.isa.segments import (
    ATTR_DB,
    ATTR_P,
    ATTR_S,
    TYPE_CODE,
    TYPE_EXPAND_DOWN,
    TYPE_READABLE,
    TYPE_WRITABLE,
    Attributes,
)

from .vectors import Vectors

_M32 = 0xFFFF_FFFF
_DATA = ATTR_P | ATTR_S | TYPE_WRITABLE
_FLAT = {"seg_base": 0, "seg_limit": _M32, "seg_attr": _DATA | ATTR_DB, "aseg": Aseg.DS, "mem": Mem.LOAD}


def _allowed(vector, offset):
    """SDM vol. 3A, 5.3 (limits) and 5.5 (types)."""
    attr, limit = vector["seg_attr"], vector["seg_limit"]
    last = offset + (1 << vector["width"]) - 1
    if not attr & ATTR_P or not attr & ATTR_S:
        return False
    if attr & TYPE_CODE:
        if vector["mem"] != Mem.LOAD or not attr & TYPE_READABLE:
            return False
    elif vector["mem"] != Mem.LOAD and not attr & TYPE_WRITABLE:
        return False
    if not attr & TYPE_CODE and attr & TYPE_EXPAND_DOWN:
        return limit < offset and last <= (_M32 if attr & ATTR_DB else 0xFFFF)
    return last <= limit


def _fault(vector, offset):
    if vector["mem"] == Mem.NONE or vector["aseg"] == Aseg.LIN:
        return AccessFault.NONE
    if not _allowed(vector, offset):
        return {Aseg.SS: AccessFault.STACK, Aseg.TMP0: AccessFault.NEW_STACK, Aseg.TMP1: AccessFault.NEW_STACK}.get(
            vector["aseg"], AccessFault.PROTECTION)
    if vector["align"] and vector["seg_base"] + offset & (1 << vector["width"]) - 1:
        return AccessFault.ALIGNMENT
    return AccessFault.NONE


def _random(rng):
    offset_bits = rng.choice((16, 32))
    limit = rng.choice((rng.getrandbits(16), 0xFFFF, _M32, rng.getrandbits(20) << 12 | 0xFFF, rng.getrandbits(32), 0))
    near = limit + rng.randrange(-4, 5) & _M32
    vector = {
        "base": rng.choice((near, rng.getrandbits(offset_bits), rng.getrandbits(8))),
        "index": rng.choice((0, 0, rng.getrandbits(32), rng.getrandbits(4))), "scale": rng.randrange(4),
        "disp": rng.choice((0, 0, rng.getrandbits(32), -rng.getrandbits(8) & _M32)), "wrap16": rng.getrandbits(1),
        "step": rng.choice(tuple(Step)), "delta": rng.choice((1, 2, 4, -2 & _M32, -4 & _M32, rng.getrandbits(16))),
        "df": rng.getrandbits(1), "align": rng.getrandbits(1),
        "mem": rng.choice(tuple(Mem)), "width": rng.choice((Size.B, Size.W, Size.D)),
        "aseg": rng.choice((Aseg.ES, Aseg.CS, Aseg.SS, Aseg.SS, Aseg.DS, Aseg.TMP0, Aseg.TMP1, Aseg.LIN)),
        "seg_base": rng.choice((0, rng.getrandbits(32), rng.getrandbits(28) << 4)), "seg_limit": limit,
        "seg_attr": rng.getrandbits(12) | rng.choice((0, ATTR_P | ATTR_S, _DATA)),
    }
    return vector


def test_against_the_rules():
    rng = random.Random(1)
    seen = set()
    for vector, answer in Vectors(AddressUnit()).run(_random(rng) for _ in range(3000)):
        mask = 0xFFFF if vector["wrap16"] else _M32
        offset = vector["base"] + (vector["index"] << vector["scale"]) + vector["disp"] & mask
        linear = offset if vector["aseg"] == Aseg.LIN else vector["seg_base"] + offset & _M32
        assert answer["linear"] == linear, vector
        fault = _fault(vector, offset)
        assert answer["fault"] == fault, f"{vector} gives {answer}, not {fault}"
        backward = vector["step"] == Step.STRING and vector["df"]
        stepped = vector["base"] + (-vector["delta"] if backward else vector["delta"])
        assert answer["step_value"] == stepped & mask | vector["base"] & ~mask & _M32, vector
        assert answer["step_half"] == vector["wrap16"]
        seen.add(fault)
    assert seen == set(AccessFault) - {AccessFault.PAGE}


def _faults(*vectors):
    return [AccessFault(answer["fault"]) for _, answer in Vectors(AddressUnit()).run(vectors)]


def test_the_last_byte_decides_at_the_limit():
    ok, bad = AccessFault.NONE, AccessFault.PROTECTION
    limited = _FLAT | {"seg_limit": 0xFFF}
    assert _faults(limited | {"base": 0xFFC, "width": Size.D}, limited | {"base": 0xFFD, "width": Size.D},
                   limited | {"base": 0xFFF, "width": Size.B}, limited | {"base": 0x1000, "width": Size.B},
                   limited | {"base": 0xFFE, "width": Size.W}) == [ok, bad, ok, bad, ok]


def test_an_access_does_not_wrap_around_the_end():
    """Neither at 4 GiB nor, with 16-bit addresses, at 64 KiB."""
    ok, bad = AccessFault.NONE, AccessFault.PROTECTION
    short = _FLAT | {"seg_limit": 0xFFFF, "wrap16": 1, "base": 0x1FFFF}
    down = _FLAT | {"seg_attr": _DATA | TYPE_EXPAND_DOWN, "seg_limit": 0xFFF, "wrap16": 0}
    assert _faults(_FLAT | {"base": _M32, "width": Size.W}, _FLAT | {"base": _M32, "width": Size.B},
                   short | {"width": Size.W}, short | {"width": Size.B},
                   down | {"base": 0xFFFF, "width": Size.W}, down | {"base": 0xFFFF, "width": Size.B},
                   down | {"base": 0xFFF}, down | {"base": 0x1000}) == [bad, ok, bad, ok, bad, ok, bad, ok]


def test_alignment_is_of_the_linear_address():
    """An odd offset from an odd base is an even address; the segment is checked first."""
    odd = _FLAT | {"seg_base": 1, "align": 1, "width": Size.W}
    assert _faults(odd | {"base": 1}, odd | {"base": 2}, odd | {"base": 2, "seg_limit": 2},
                   odd | {"base": 2, "mem": Mem.NONE}) == [
        AccessFault.NONE, AccessFault.ALIGNMENT, AccessFault.PROTECTION, AccessFault.NONE]


def test_attributes_are_those_of_the_architecture():
    """The masks used above are the bits that hardware looks at."""
    flat = Attributes.from_bits(_FLAT["seg_attr"])
    assert flat.p and flat.s and flat.db and flat.is_writable()
