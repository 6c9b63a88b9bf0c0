"""Decimal adjustment against the Operation sections of the manual, for every AL and flags."""

import random

import pytest

from rtl.cpu.bcd import DecimalAdjust
from rtl.cpu.flags import Flags
from rtl.cpu.uop import Alu

from .vectors import Vectors


def _daa(al, ah, cf, af):
    old_al, old_cf = al, cf
    if al & 0xF > 9 or af:
        al, af = al + 6, 1
    if old_al > 0x99 or old_cf:
        return al + 0x60 & 0xFF, ah, 1, af
    return al & 0xFF, ah, 0, af


def _das(al, ah, cf, af):
    old_al, old_cf, cf = al, cf, 0
    if al & 0xF > 9 or af:
        cf = old_cf | (al < 6)
        al, af = al - 6, 1
    if old_al > 0x99 or old_cf:
        al, cf = al - 0x60, 1
    return al & 0xFF, ah, cf, af


def _aaa(al, ah, cf, af):
    adjust = al & 0xF > 9 or af
    ax = (ah << 8 | al) + (0x106 if adjust else 0)
    return ax & 0xF, ax >> 8 & 0xFF, int(adjust), int(adjust)


def _aas(al, ah, cf, af):
    adjust = al & 0xF > 9 or af
    if adjust:
        ax = (ah << 8 | al) - 6
        al, ah = ax & 0xFF, (ax >> 8) - 1
    return al & 0xF, ah & 0xFF, int(adjust), int(adjust)


@pytest.mark.parametrize(("op", "model"), [(Alu.DAA, _daa), (Alu.DAS, _das), (Alu.AAA, _aaa), (Alu.AAS, _aas)],
                         ids=["daa", "das", "aaa", "aas"])
def test_every_value(op, model):
    rng = random.Random(op)
    vectors = [
        {"op": op, "ax": al | rng.choice((0, 0xFF, rng.getrandbits(8))) << 8,
         "flags": Flags.const({"cf": cf, "af": af, "zf": rng.getrandbits(1)}).as_value().value}
        for al in range(256) for cf in (0, 1) for af in (0, 1)]
    for vector, answer in Vectors(DecimalAdjust()).run(vectors):
        cf, af = vector["flags"] & 1, vector["flags"] >> 2 & 1
        al, ah, cf, af = model(vector["ax"] & 0xFF, vector["ax"] >> 8, cf, af)
        assert answer == {"result": ah << 8 | al, "cf": cf, "af": af}, vector
