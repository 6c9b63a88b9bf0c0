"""The fault unit against the order of the manual: SDM vol. 3A, table 6-2."""

import itertools
import random

import pytest

from rtl.cpu.decode_rom import Check
from rtl.cpu.events import AccessFault, Kind
from rtl.cpu.faults import FaultUnit
from rtl.cpu.uop import Alu
from rtl.isa.exceptions import VECTORS_WITH_ERROR_CODE, Vector, selector_error

from .vectors import Vectors

_BITS = ("breakpoint", "ext", "iopl_ok", "escape_nm", "wait_nm", "refused", "divide_error", "beyond_limit")
#: Operations with faults of their own; any other can only branch beyond the limit.
_FAULTING = (Alu.CHECK, Alu.FAULT, Alu.SOFTINT, Alu.DIV, Alu.IDIV)
#: CPL0 and SVM never come: decode has made GP or UD of them, or NONE.
_CHECKS = tuple(check for check in Check if check not in (Check.CPL0, Check.SVM))


def _of_check(vector):
    """(vector, error code) or None."""
    return {
        Check.UD: (Vector.UD, 0), Check.GP: (Vector.GP, 0), Check.FETCH: (Vector.PF, vector["fetch_code"]),
        Check.IOPL: None if vector["iopl_ok"] else (Vector.GP, 0),
        Check.ESCAPE: (Vector.NM if vector["escape_nm"] else Vector.UD, 0),
        Check.WAIT: (Vector.NM, 0) if vector["wait_nm"] else None,
    }[vector["check"]]


def _of_access(vector):
    return {
        AccessFault.PROTECTION: (Vector.GP, vector["ext"]), AccessFault.STACK: (Vector.SS, vector["ext"]),
        AccessFault.NEW_STACK: (Vector.SS, selector_error(vector["selector"], vector["ext"])),
        AccessFault.ALIGNMENT: (Vector.AC, 0), AccessFault.PAGE: (Vector.PF, vector["page_code"]),
    }[vector["access"]]


def _of_operation(vector):
    match vector["alu"]:
        case Alu.CHECK:
            return (vector["refused_vector"], vector["refused_code"]) if vector["refused"] else None
        case Alu.FAULT:
            return vector["number"], vector["a"]
        case Alu.SOFTINT:
            return vector["a"] & 0xFF, None
        case Alu.DIV | Alu.IDIV:
            return (Vector.DE, 0) if vector["divide_error"] else None
    return (Vector.GP, 0) if vector["beyond_limit"] else None


def _raised(vector):
    if vector["breakpoint"]:
        return Vector.DB, 0
    if vector["check"] is not Check.NONE:
        return _of_check(vector)
    if vector["access"] is not AccessFault.NONE:
        return _of_access(vector)
    return _of_operation(vector)


def _noise(rng):
    return {name: rng.getrandbits(1) for name in _BITS} | {
        "number": rng.getrandbits(7), "a": rng.getrandbits(32), "b": rng.getrandbits(32),
        "fetch_code": rng.getrandbits(5), "page_code": rng.getrandbits(5), "selector": rng.getrandbits(16),
        "refused_vector": rng.getrandbits(8), "refused_code": rng.getrandbits(32)}


def _check(vectors):
    for vector, answer in Vectors(FaultUnit()).run(vectors):
        raised = _raised(vector)
        assert answer["fault"] == (raised is not None), vector
        if raised is None:
            continue
        number, error = raised
        assert answer["vector"] == number, vector
        if error is not None and (number in VECTORS_WITH_ERROR_CODE or vector["alu"] in (Alu.CHECK, Alu.FAULT)):
            assert answer["error"] == error, vector
        software = (not vector["breakpoint"] and vector["check"] is Check.NONE
                    and vector["access"] is AccessFault.NONE and vector["alu"] is Alu.SOFTINT)
        kind = (Kind.TRAP if vector["b"] & 1 else Kind.SOFTWARE) if software else Kind.FAULT
        assert answer["kind"] == kind, vector


def test_the_first_of_all_causes():
    """Every check with every access fault and every kind of operation, under a breakpoint and not."""
    rng = random.Random(1)
    _check(_noise(rng) | {"check": check, "access": access, "alu": alu, "breakpoint": breakpoint}
           for check, access, alu, breakpoint, _ in itertools.product(
               _CHECKS, AccessFault, (*_FAULTING, Alu.JMP, Alu.ADD), (0, 1), range(12)))


def test_every_operation():
    """With nothing found before it: only the operation and its bits decide."""
    rng = random.Random(2)
    bits = ("refused", "divide_error", "beyond_limit")
    _check(_noise(rng) | {"check": Check.NONE, "access": AccessFault.NONE, "breakpoint": 0, "alu": alu}
           | dict(zip(bits, values, strict=True))
           for alu in Alu for values in itertools.product((0, 1), repeat=len(bits)) for _ in range(3))


@pytest.mark.parametrize(("access", "vector"), [
    (AccessFault.PROTECTION, Vector.GP), (AccessFault.STACK, Vector.SS), (AccessFault.NEW_STACK, Vector.SS)],
    ids=lambda value: value.name)
def test_errors_of_a_delivery_say_that_it_is_external(access, vector):
    """SDM vol. 3A, 6.13: bit 0 of the error code; bits 1 and 2 are IDT and TI, and no RPL is left."""
    vectors = [{"access": access, "selector": selector, "ext": ext}
               for selector in (0, 3, 4, 7, 0x10, 0x13, 0xFFFF) for ext in (0, 1)]
    for given, answer in Vectors(FaultUnit()).run(vectors):
        named = given["selector"] & 0xFFFC if access is AccessFault.NEW_STACK else 0
        assert (answer["fault"], answer["vector"], answer["error"]) == (1, vector, named | given["ext"]), given


def test_nothing_is_raised_at_rest():
    (_, answer), = Vectors(FaultUnit()).run([{}])
    assert not answer["fault"]
