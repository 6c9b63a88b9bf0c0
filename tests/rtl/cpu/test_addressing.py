"""The A stage takes base and index where the program's order has them last: M, X, the register file."""

import random

from rtl.cpu.addressing import AddressStage
from rtl.cpu.stages import ADDRESS, CARRIED, MEMORY, Latch
from rtl.cpu.uop import Aseg, Reg, Size, Step

from .latch_bench import answers

_M32 = 0xFFFF_FFFF


def _stages():
    return {"a": Latch("a", CARRIED, ADDRESS), "m": Latch("m", CARRIED, MEMORY), "x": Latch("x", CARRIED, MEMORY)}


def _answers(vectors):
    stages = _stages()
    return answers(AddressStage(*stages.values()), stages, vectors, ["wait", "linear"])


def _newest(vector, register, in_file):
    """The value of a register for A, and whether it must wait for it."""
    if vector["m.valid"] and vector["m.dst"] == register:
        return None, True
    if vector["m.valid"] and vector["m.step_en"] and vector["m.step_reg"] == register:
        return vector["m.step_value"], vector["m.step_half"]
    if vector["x.valid"] and vector["x.dst"] == register:
        return vector["result"], vector["x.dst_size"] != Size.D or not vector["commit"]
    if vector["x.valid"] and vector["x.step_en"] and vector["x.step_reg"] == register:
        return vector["x.step_value"], vector["x.step_half"]
    return in_file, False


def _random(rng):
    few = (Reg.EAX, Reg.ECX, Reg.EDX)
    vector = {"a.has_base": rng.getrandbits(1), "a.has_index": rng.getrandbits(1), "a.base": rng.choice(few),
              "a.index": rng.choice(few), "a.aseg": Aseg.LIN, "base": rng.getrandbits(32),
              "index": rng.getrandbits(32), "result": rng.getrandbits(32), "commit": rng.getrandbits(1)}
    for stage in "mx":
        vector |= {f"{stage}.valid": rng.getrandbits(1), f"{stage}.dst": rng.choice((*few, Reg.NONE)),
                   f"{stage}.dst_size": rng.choice((Size.B, Size.D, Size.D)), f"{stage}.step_en": rng.getrandbits(1),
                   f"{stage}.step_reg": rng.choice(few), f"{stage}.step_half": rng.random() < 0.2,
                   f"{stage}.step_value": rng.getrandbits(32)}
    return vector


def test_forwarding():
    rng = random.Random(1)
    waits = 0
    for vector, answer in _answers([_random(rng) for _ in range(600)]):
        base, index = ((0, False) if not vector[f"a.has_{name}"] else
                       _newest(vector, vector[f"a.{name}"], vector[name]) for name in ("base", "index"))
        assert answer["wait"] == (base[1] or index[1]), vector
        if not answer["wait"]:
            assert answer["linear"] == base[0] + index[0] & _M32, vector
        waits += answer["wait"]
    assert 100 < waits < 500


def test_waits_for_segments_and_for_df():
    """An older write of a segment is waited for by accesses through segments, one of DF by string steps only."""
    vectors = [{"a.aseg": aseg, "a.step": step, f"{stage}.valid": valid, f"{stage}.{what}": 1}
               for aseg in (Aseg.DS, Aseg.LIN, Aseg.PHYS) for step in (Step.NONE, Step.STRING, Step.PUSH)
               for stage in "mx" for valid in (0, 1) for what in ("system_write", "df_write")]
    for vector, answer in _answers(vectors):
        older = vector.get("m.valid", 0) or vector.get("x.valid", 0)
        segment = "m.system_write" in vector or "x.system_write" in vector
        expected = vector["a.aseg"] is Aseg.DS if segment else vector["a.step"] is Step.STRING
        assert answer["wait"] == bool(older and expected), vector
