"""From the operation named by the opcode table to its semantics, and the one entry point of executors."""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.decoder import Insn
from rtl.isa.exceptions import Vector
from vmm.semantics import (
    alu,
    bcd,
    bits,
    control,
    flagops,
    intercepts,
    move,
    muldiv,
    shift,
    stack,
    strings,
    svm,
    system,
)
from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops

Semantics = Callable[[Ops, Operands], None]

#: Operations whose Python name differs from the mnemonic.
_RENAMED = {
    "and": alu.and_, "or": alu.or_, "not": alu.not_, "int": control.int_, "str": system.str_, "in": system.in_,
    "invd": system.cache_control, "wbinvd": system.cache_control,
}
_MODULES = (alu, bcd, bits, control, flagops, move, muldiv, shift, stack, strings, svm, system)
#: Features that the machine does not have: their rows are #UD.
ABSENT_FEATURES = frozenset({"smm"})


def semantics(operation: str) -> Semantics:
    """The semantics of an operation of the opcode table.

    Raises
    ------
    KeyError
        There is none.
    """
    if operation in _RENAMED:
        return _RENAMED[operation]
    for module in _MODULES:
        function = getattr(module, operation, None)
        if function is not None:
            return function  # type: ignore[no-any-return]
    raise KeyError(f"operation {operation!r} has no semantics")


def emit(o: Ops, insn: Insn) -> None:
    """Emit all of one instruction. #UD comes before the privilege check, and that before any operand."""
    form = insn.form
    if form.feature in ABSENT_FEATURES:
        o.fault(Vector.UD)
        return
    if o.mode.guest:
        intercepts.before(o, insn)
    if form.feature == "svm" and form.operation != "vmmcall":
        o.call("require_svm")
    if form.cpl0:
        o.call("require_cpl0")
    if o.mode.guest:
        intercepts.behind_checks(o, insn)
    semantics(form.operation)(o, Operands(o, insn))
