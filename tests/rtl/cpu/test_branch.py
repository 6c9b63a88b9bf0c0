"""The branch unit against the manual's JCC, LOOP, JCXZ and JMP written over Python's integers."""

import itertools
import random

from rtl.cpu.branch import BranchUnit
from rtl.cpu.uop import Alu, Size

from .vectors import Vectors

_BRANCHES = (Alu.JCC, Alu.LOOP, Alu.JCXZ, Alu.JMP, Alu.JMPI)
_LOOPNE, _LOOPE, _LOOP = 0, 1, 2
_EDGES = (0, 1, 0x7F, 0xFFFF, 0x1_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FF80, 0xFFFF_FFFF)


def _taken(vector):
    """SDM vol. 2, Jcc, LOOP/LOOPcc, JMP: whether control goes to the target."""
    match vector["alu"]:
        case Alu.JCC:
            return vector["holds"]
        case Alu.LOOP:
            agrees = {_LOOPNE: not vector["zf"], _LOOPE: vector["zf"], _LOOP: True}[vector["opcode"]]
            return int(not vector["zero"] and agrees)
        case Alu.JCXZ:
            return vector["zero"]
        case Alu.JMP | Alu.JMPI:
            return 1
    return 0


def _target(vector):
    if vector["alu"] is Alu.JMPI:
        return vector["a"] % (1 << 16 if vector["size"] is Size.W else 1 << 32)
    return (vector["next_eip"] + vector["imm"]) % (1 << 16 if vector["opsize16"] else 1 << 32)


def _missed(vector):
    """The fetch went to `imm` of JMPI or to the target of the others if `guess`, else straight on."""
    if vector["alu"] not in _BRANCHES:
        return 0
    if vector["alu"] is Alu.JMPI:
        return int(not (vector["guess"] and vector["imm"] == _target(vector)))
    return int(vector["guess"] != _taken(vector))


def _vectors(rng, alus, draws):
    """Every value of the bits that decide, `draws` times with other numbers."""
    bits = ("opsize16", "holds", "zero", "zf", "guess")
    for alu, opcode, *values in itertools.product(alus, (_LOOPNE, _LOOPE, _LOOP), *[(0, 1)] * len(bits)):
        for _ in range(draws):
            yield {"alu": alu, "opcode": opcode, "size": rng.choice((Size.W, Size.D)),
                   "next_eip": rng.choice((rng.getrandbits(32), rng.choice(_EDGES))),
                   "imm": rng.choice((rng.getrandbits(32), rng.choice(_EDGES))),
                   "a": rng.getrandbits(32)} | dict(zip(bits, values, strict=True))


def _check(vectors):
    for vector, answer in Vectors(BranchUnit()).run(vectors):
        expected = {"conditional": int(vector["alu"] in (Alu.JCC, Alu.LOOP, Alu.JCXZ)), "taken": _taken(vector),
                    "missed": _missed(vector)}
        if vector["alu"] in _BRANCHES:
            expected["target"] = _target(vector)
        assert {name: answer[name] for name in expected} == expected, vector


def test_branches_in_every_state():
    _check(_vectors(random.Random(1), _BRANCHES, 6))


def test_what_is_no_branch_goes_straight_on():
    _check(_vectors(random.Random(2), [alu for alu in Alu if alu not in _BRANCHES], 1))


def test_conditions_are_those_of_the_unit_not_of_the_opcode():
    """JCC asks `holds` whatever its opcode; only LOOP looks at `opcode`, and only at its low two bits."""
    rng = random.Random(3)
    answers = list(Vectors(BranchUnit()).run(
        {"alu": alu, "opcode": opcode, "holds": rng.getrandbits(1), "zero": rng.getrandbits(1)}
        for alu in (Alu.JCC, Alu.JCXZ, Alu.JMP, Alu.JMPI) for opcode in range(16) for _ in range(4)))
    for vector, answer in answers:
        assert answer["taken"] == _taken(vector), vector


def test_a_guessed_indirect_target_must_be_right_in_every_bit():
    right = 0x1234_5678
    guesses = [right, *(right ^ 1 << bit for bit in range(32))]
    for size, cut in ((Size.D, 0xFFFF_FFFF), (Size.W, 0xFFFF)):
        for vector, answer in Vectors(BranchUnit()).run(
                {"alu": Alu.JMPI, "size": size, "a": right, "imm": imm, "guess": guess}
                for imm in (*guesses, right & 0xFFFF) for guess in (0, 1)):
            assert answer["target"] == right & cut
            assert answer["missed"] == (not vector["guess"] or vector["imm"] != right & cut), vector
