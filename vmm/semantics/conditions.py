"""The sixteen conditions of Jcc, SETcc and CMOVcc (SDM vol. 1, appendix B)."""

from __future__ import annotations

from vmm.semantics.ops import Ops, Value

_BASIC = {
    0: lambda o: o.flag("of"),
    1: lambda o: o.carry(),
    2: lambda o: o.flag("zf"),
    3: lambda o: o.or_(o.carry(), o.flag("zf")),
    4: lambda o: o.flag("sf"),
    5: lambda o: o.flag("pf"),
    6: lambda o: o.xor(o.flag("sf"), o.flag("of")),
    7: lambda o: o.or_(o.flag("zf"), o.xor(o.flag("sf"), o.flag("of"))),
}


def holds(o: Ops, condition: int) -> Value:
    """One bit: condition number `condition` is true. Odd numbers are the negations of the even ones."""
    value: Value = _BASIC[condition >> 1](o)
    return o.not_(value) if condition & 1 else value
