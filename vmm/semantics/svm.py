"""The instructions of SVM. What they do is in the machine's routines (AMD64 APM vol. 2, 15.5 and 15.30; vol. 3)."""

from __future__ import annotations

from rtl.isa.exceptions import Vector
from rtl.isa.registers import Gpr
from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops, Value


def _address(o: Ops, x: Operands) -> Value:
    """EAX, or AX with a 16-bit address size."""
    return x.wrap(o.reg(Gpr.EAX, 32))


def vmrun(o: Ops, x: Operands) -> None:
    o.jump_call("vmrun", _address(o, x), o.next_eip())


def vmload(o: Ops, x: Operands) -> None:
    o.call("vmload", _address(o, x))


def vmsave(o: Ops, x: Operands) -> None:
    o.call("vmsave", _address(o, x))


def vmmcall(o: Ops, x: Operands) -> None:
    o.call("hypercall")


def stgi(o: Ops, x: Operands) -> None:
    o.call("set_global_interrupt_flag", 1)


def clgi(o: Ops, x: Operands) -> None:
    o.call("set_global_interrupt_flag", 0)


def skinit(o: Ops, x: Operands) -> None:
    o.fault(Vector.UD)


def invlpga(o: Ops, x: Operands) -> None:
    o.call("invalidate_page_of", o.reg(Gpr.ECX, 32), _address(o, x))
