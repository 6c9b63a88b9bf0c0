"""The checks of a descriptor's type, privilege and presence behind the operation CHECK.

Every rule "the descriptor must be ... else #XX(selector)" of the Operation sections of the Intel SDM (vol. 2) for
segment loads, far transfers, interrupts and task switches (vol. 3A, 7.3) is one `Check`. What a `Check` does not cover
(null selectors, table limits, the limits of the segment itself) is the microprogram's.
"""
from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from rtl.isa.exceptions import Vector
from rtl.isa.segments import SystemType

__all__ = ["Check", "DescriptorCheck"]


class Check(enum.IntEnum, shape=5):
    """What a descriptor is checked for. RPL is the selector's; NCPL the level written to Sys.NCPL.

    Where a kind names two vectors, the second is for a descriptor that is right but not present.
    """
    DATA = 0            #: load of ES, DS, FS, GS: #GP, #NP
    STACK = 1           #: load of SS at CPL: #GP, #SS
    CODE = 2            #: far JMP or CALL straight to a code segment: #GP, #NP
    SYSTEM = 3          #: far JMP or CALL to a call gate, task gate or available TSS: #GP, #NP
    TARGET = 4          #: code segment of a call gate (CALL), interrupt or trap gate: #GP, #NP
    TARGET_JMP = 5      #: code segment of a call gate (JMP): #GP, #NP
    IDT_GATE = 6        #: IDT entry, the selector is vector * 8: #GP, #NP, error code with the IDT bit
    RETURN_CODE = 7     #: CS of RETF and IRET: #GP, #NP
    RETURN_STACK = 8    #: SS of a return to NCPL: #GP, #SS
    INNER_STACK = 9     #: SS of level NCPL from a TSS: #TS, #SS
    LDT = 10            #: LLDT: #GP, #NP
    TSS_AVAILABLE = 11  #: LTR, task gates: #GP, #NP
    TSS_BUSY = 12       #: IRET to the previous task: #TS, #NP
    TASK_LDT = 13       #: LDT of a new task: #TS, #TS
    TASK_CODE = 14      #: CS of a new task, its RPL the new CPL: #TS, #NP
    TASK_DATA = 15      #: data segment of a new task at NCPL: #TS, #NP


def _types(*types: SystemType) -> int:
    return sum(1 << kind.value for kind in types)


_TSS = _types(SystemType.TSS16_AVAILABLE, SystemType.TSS32_AVAILABLE)
_CALL = _types(SystemType.CALL_GATE16, SystemType.CALL_GATE32)
_IDT = _types(SystemType.TASK_GATE, SystemType.INTERRUPT_GATE16, SystemType.TRAP_GATE16, SystemType.INTERRUPT_GATE32,
              SystemType.TRAP_GATE32)

#: The system types a check accepts, as a mask over `SystemType`.
_SYSTEM_TYPES = {
    Check.SYSTEM: _TSS | _CALL | _types(SystemType.TASK_GATE),
    Check.IDT_GATE: _IDT,
    Check.LDT: _types(SystemType.LDT),
    Check.TSS_AVAILABLE: _TSS,
    Check.TSS_BUSY: _types(SystemType.TSS16_BUSY, SystemType.TSS32_BUSY),
    Check.TASK_LDT: _types(SystemType.LDT),
}


class DescriptorCheck(wiring.Component):
    """Decide whether a descriptor may be used for a purpose; combinational.

    Members
    -------
    kind : the `Check`.
    high : upper doubleword of the descriptor.
    selector : the selector that named it; vector * 8 for IDT_GATE.
    cpl, ncpl : current privilege level, and Sys.NCPL.
    soft : the event in delivery is a software interrupt, so that IDT_GATE checks the gate's DPL.
    ext : bit 0 of the error code.
    ok : the descriptor may be used.
    vector, code : exception and error code when it may not.
    """
    kind: In(Check)
    high: In(32)
    selector: In(16)
    cpl: In(2)
    ncpl: In(2)
    soft: In(1)
    ext: In(1)

    ok: Out(1)
    vector: Out(5)
    code: Out(16)

    def elaborate(self, platform):
        m = Module()
        type_, segment, dpl, present = self.high[8:12], self.high[12], self.high[13:15], self.high[15]
        rpl, is_local = self.selector[0:2], self.selector[2]
        is_code = Signal()
        conforming = Signal()
        readable = Signal()
        writable = Signal()
        m.d.comb += [
            is_code.eq(segment & type_[3]),
            conforming.eq(type_[2]),
            readable.eq(segment & (~type_[3] | type_[1])),
            writable.eq(segment & ~type_[3] & type_[1]),
        ]
        right = Signal()

        def system(kind: Check):
            return ~segment & Const(_SYSTEM_TYPES[kind], 16).bit_select(type_, 1)

        def stack(level):
            return writable & (rpl == level) & (dpl == level)

        def data(level):
            return readable & ((is_code & conforming) | ((dpl >= level) & (dpl >= rpl)))

        with m.Switch(self.kind):
            with m.Case(Check.DATA):
                m.d.comb += right.eq(data(self.cpl))
            with m.Case(Check.STACK):
                m.d.comb += right.eq(stack(self.cpl))
            with m.Case(Check.CODE):
                m.d.comb += right.eq(is_code & Mux(conforming, dpl <= self.cpl, (dpl == self.cpl) & (rpl <= self.cpl)))
            with m.Case(Check.SYSTEM):
                # A call gate may be in the LDT, and so may a task gate; a TSS may not.
                is_tss = ~type_[2]
                m.d.comb += right.eq(system(Check.SYSTEM) & (dpl >= self.cpl) & (dpl >= rpl) & ~(is_tss & is_local))
            with m.Case(Check.TARGET):
                m.d.comb += right.eq(is_code & (dpl <= self.cpl))
            with m.Case(Check.TARGET_JMP):
                m.d.comb += right.eq(is_code & Mux(conforming, dpl <= self.cpl, dpl == self.cpl))
            with m.Case(Check.IDT_GATE):
                m.d.comb += right.eq(system(Check.IDT_GATE) & (~self.soft | (dpl >= self.cpl)))
            with m.Case(Check.RETURN_CODE):
                m.d.comb += right.eq(is_code & (rpl >= self.cpl) & Mux(conforming, dpl <= rpl, dpl == rpl))
            with m.Case(Check.RETURN_STACK, Check.INNER_STACK):
                m.d.comb += right.eq(stack(self.ncpl))
            with m.Case(Check.LDT, Check.TASK_LDT):
                m.d.comb += right.eq(system(Check.LDT) & ~is_local)
            with m.Case(Check.TSS_AVAILABLE):
                m.d.comb += right.eq(system(Check.TSS_AVAILABLE) & ~is_local)
            with m.Case(Check.TSS_BUSY):
                m.d.comb += right.eq(system(Check.TSS_BUSY) & ~is_local)
            with m.Case(Check.TASK_CODE):
                m.d.comb += right.eq(is_code & Mux(conforming, dpl <= rpl, dpl == rpl))
            with m.Case(Check.TASK_DATA):
                m.d.comb += right.eq(data(self.ncpl))

        wrong_vector = Signal(5)
        absent_vector = Signal(5)
        m.d.comb += [wrong_vector.eq(Vector.GP), absent_vector.eq(Vector.NP)]
        with m.Switch(self.kind):
            with m.Case(Check.INNER_STACK, Check.TSS_BUSY, Check.TASK_LDT, Check.TASK_CODE, Check.TASK_DATA):
                m.d.comb += wrong_vector.eq(Vector.TS)
        with m.Switch(self.kind):
            with m.Case(Check.STACK, Check.RETURN_STACK, Check.INNER_STACK):
                m.d.comb += absent_vector.eq(Vector.SS)
            with m.Case(Check.TASK_LDT):
                m.d.comb += absent_vector.eq(Vector.TS)
        m.d.comb += [
            self.ok.eq(right & present),
            self.vector.eq(Mux(right, absent_vector, wrong_vector)),
            self.code.eq(Cat(self.ext, self.kind == Check.IDT_GATE, self.selector[2:16])),
        ]
        return m
