"""Micro-branches against the sentences of `Cond` and `Next`."""

import itertools
import random

from rtl.cpu.flags import Flags
from rtl.cpu.microbranch import MicroBranch
from rtl.cpu.stages import CARRIED, Latch
from rtl.cpu.uop import Cond, Next

from .latch_bench import answers


def _holds(cond, zero, carry, sign, zf, repe, go_on):
    more = not zero
    agrees = more and zf == repe
    return {Cond.Z: zero, Cond.NZ: not zero, Cond.C: carry, Cond.NC: not carry, Cond.S: sign, Cond.NS: not sign,
            Cond.BE: carry or zero, Cond.A: not carry and not zero, Cond.REP: more, Cond.REPZ: agrees,
            Cond.REP_GO: more and go_on, Cond.REPZ_GO: agrees and go_on}[cond]


def _flags(zero, carry, sign):

    return Flags.const({"zf": zero, "cf": carry, "sf": sign}).as_value().value


def _vectors():
    for cond, *bits in itertools.product(Cond, *[(0, 1)] * 6):
        zero, carry, sign, zf, repe, go_on = bits
        yield {"x.cond": cond, "raw": _flags(zero, carry, sign), "zf": zf, "x.repeat": 2 | repe, "go_on": go_on}, bits


def test_conditions():
    vectors = list(_vectors())
    dut_x = Latch("x", CARRIED)
    given = [vector for vector, _bits in vectors]
    for (vector, answer), (_, bits) in zip(answers(MicroBranch(dut_x), {"x": dut_x}, given, ["holds"]), vectors,
                                           strict=True):
        assert answer["holds"] == _holds(vector["x.cond"], *bits), vector


def test_where_it_goes():
    rng = random.Random(1)
    x = Latch("x", CARRIED)
    vectors = [{"x.next": following, "x.cond": rng.choice((Cond.Z, Cond.NC, Cond.REP)), "x.iteration": iteration,
                "raw": _flags(rng.getrandbits(1), rng.getrandbits(1), 0)}
               for following in Next for iteration in (0, 1) for _ in range(8)]
    for vector, answer in answers(MicroBranch(x), {"x": x}, vectors,
                                  ["holds", "missed", "last", "restart", "iterates"]):
        following, holds = vector["x.next"], answer["holds"]
        missed = holds if following is Next.BR else not holds if following is Next.BRT else False
        restart = following is Next.ENDREP and holds
        assert answer["missed"] == missed and answer["restart"] == restart, vector
        assert answer["last"] == (following in (Next.END, Next.ENDREP)), vector
        assert answer["iterates"] == (restart or vector["x.iteration"] and holds), vector
