"""What the retire port says of each way in which something completes."""

import itertools

from rtl.cpu.retire import RetireUnit
from rtl.cpu.stages import CARRIED, Latch
from rtl.cpu.uop import Alu
from rtl.isa.retire import RetireCause

from .latch_bench import answers

_ERROR, _EXIT_CODE, _VECTOR = 0x1234_5678, 0x400, 14


def _expected(vector):
    if vector["iteration"]:
        return RetireCause.ITERATION
    if vector["x.event"] and vector["exiting"]:
        return RetireCause.VMEXIT
    if vector["x.event"] and not vector["e_requested"]:
        return RetireCause.INTERRUPT if vector["e_interrupt"] else RetireCause.EXCEPTION
    return RetireCause.HALT if vector["x.alu"] is Alu.HALT else RetireCause.INSTRUCTION


def _run(vectors):
    x = Latch("x", CARRIED)
    unit = RetireUnit(x)
    for name in ("valid", "cause", "vector", "error", "eip"):
        setattr(unit, f"r_{name}", getattr(unit.retire, name))
    return answers(unit, {"x": x}, vectors, ["r_valid", "r_cause", "r_vector", "r_error", "r_eip", "partial",
                                             "completes"], clocked=True)


def test_causes():
    names = ("x.event", "exiting", "e_requested", "e_interrupt", "iteration")
    vectors = [dict(zip(names, bits, strict=True)) | {
        "done": not bits[-1], "x.alu": alu, "x.eip": 16 * number, "e_vector": _VECTOR, "e_error": _ERROR,
        "exit_code": _EXIT_CODE}
        for alu in (Alu.ADD, Alu.HALT) for number, bits in enumerate(itertools.product((0, 1), repeat=len(names)))]
    for vector, answer in _run(vectors):
        cause = _expected(vector)
        assert answer["r_valid"] and answer["r_cause"] == cause.value, vector
        assert answer["r_eip"] == vector["x.eip"] and answer["partial"] == vector["iteration"]
        if cause is RetireCause.VMEXIT:
            assert (answer["r_vector"], answer["r_error"]) == (0, _EXIT_CODE)
        elif cause is not RetireCause.ITERATION:
            assert (answer["r_vector"], answer["r_error"]) == (_VECTOR, _ERROR)
        assert answer["completes"] == (cause in (RetireCause.INSTRUCTION, RetireCause.HALT)), vector


def test_nothing_completes():
    for _vector, answer in _run([{"x.event": event, "e_requested": 1} for event in (0, 1)]):
        assert not answer["r_valid"] and not answer["completes"]
