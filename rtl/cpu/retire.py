"""The retire port: everything that completes in the processor leaves a record here."""

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from rtl.isa.layout import shape
from rtl.isa.registers import EflagsLayout
from rtl.isa.retire import RetireCause

__all__ = ["RetireSignature"]


class RetireSignature(wiring.Signature):
    """One record per completed instruction, REP iteration or delivery.

    1. ``valid`` is 1 for one cycle, the one after the commit; the registers then show the state after it.
    2. ``eip`` is the address of the instruction (of a delivery: where it broke in), ``next_eip`` EIP after it.
    3. ``vector`` and ``error`` belong to EXCEPTION and INTERRUPT.

    Members
    -------
    valid : Out(1)
    cause : Out(RetireCause)
    eip, next_eip : Out(32)
    length : Out(4)
        Bytes of the instruction.
    vector : Out(8)
    error : Out(32)
    cpl : Out(2)
    eflags : Out(EflagsLayout)
    gpr : Out(32) x 8
    """

    def __init__(self):
        super().__init__({
            "valid": Out(1), "cause": Out(RetireCause), "eip": Out(32), "next_eip": Out(32), "length": Out(4),
            "vector": Out(8), "error": Out(32), "cpl": Out(2), "eflags": Out(shape(EflagsLayout)),
            "gpr": Out(32).array(8),
        })
