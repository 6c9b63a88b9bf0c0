"""String instructions. What is emitted is one iteration; a REP prefix makes the instruction stay until it is done.

Order of one iteration: source read, destination read or written, port access, then registers. A fault or an interrupt
between iterations therefore finds counts and pointers that resume the instruction.
"""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.opcodes import Operand, Rep
from rtl.isa.registers import Gpr, Seg
from vmm.semantics import intercepts
from vmm.semantics.alu import sub_flags
from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops, Value

ESI, EDI, ECX, EDX = int(Gpr.ESI), int(Gpr.EDI), int(Gpr.ECX), int(Gpr.EDX)
ES, DS = int(Seg.ES), int(Seg.DS)
_BYTE_FORMS = {Operand.Xb, Operand.Yb}
Body = Callable[[Ops, Operands, int], None]


def _pointer(o: Ops, x: Operands, number: int) -> Value:
    return x.wrap(o.reg(number, 32))


def _advance(o: Ops, x: Operands, number: int, bits: int) -> None:
    width = 8 * x.insn.adsize
    step = bits // 8
    change = o.select(o.flag("df"), o.const(-step, width), o.const(step, width))
    o.set_reg(number, o.add(o.reg(number, width), change))


def _source_segment(x: Operands) -> int:
    return DS if x.insn.seg is None else int(x.insn.seg)


def _string(body: Body) -> Callable[[Ops, Operands], None]:
    def operation(o: Ops, x: Operands) -> None:
        bits = 8 if _BYTE_FORMS.intersection(x.kinds) else x.size
        if x.insn.rep is None:
            body(o, x, bits)
            return
        width = 8 * x.insn.adsize
        count = o.reg(ECX, width)
        with o.if_(o.eq(count, o.const(0, width))):
            o.jump(o.next_eip())
        body(o, x, bits)
        left = o.sub(count, o.const(1, width))
        o.set_reg(ECX, left)
        more = o.not_(o.eq(left, o.const(0, width)))
        if x.insn.form.rep is Rep.REPE:
            equal = o.flag("zf")
            more = o.and_(more, equal if x.insn.rep == "rep" else o.not_(equal))
        o.repeat_if(more)

    return operation


def _movs(o: Ops, x: Operands, bits: int) -> None:
    value = o.load(_source_segment(x), _pointer(o, x, ESI), bits)
    o.store(ES, _pointer(o, x, EDI), value)
    _advance(o, x, ESI, bits)
    _advance(o, x, EDI, bits)


def _cmps(o: Ops, x: Operands, bits: int) -> None:
    a = o.load(_source_segment(x), _pointer(o, x, ESI), bits)
    b = o.load(ES, _pointer(o, x, EDI), bits)
    _advance(o, x, ESI, bits)
    _advance(o, x, EDI, bits)
    sub_flags(o, a, b, o.sub(a, b), o.ult(a, b))


def _scas(o: Ops, x: Operands, bits: int) -> None:
    a, b = o.reg(0, bits), o.load(ES, _pointer(o, x, EDI), bits)
    _advance(o, x, EDI, bits)
    sub_flags(o, a, b, o.sub(a, b), o.ult(a, b))


def _lods(o: Ops, x: Operands, bits: int) -> None:
    value = o.load(_source_segment(x), _pointer(o, x, ESI), bits)
    _advance(o, x, ESI, bits)
    o.set_reg(0, value)


def _stos(o: Ops, x: Operands, bits: int) -> None:
    o.store(ES, _pointer(o, x, EDI), o.reg(0, bits))
    _advance(o, x, EDI, bits)


def _ins(o: Ops, x: Operands, bits: int) -> None:
    port = o.reg(EDX, 16)
    o.call("check_port", port, bits // 8)
    intercepts.port(o, x, port, bits // 8, segment=ES, string=True)
    pointer = _pointer(o, x, EDI)
    # the destination is checked before the port is read: reading a device twice is not the same
    o.check_write(ES, pointer, bits // 8)
    o.store(ES, pointer, o.call("port_in", port, bits // 8, returns=bits))
    _advance(o, x, EDI, bits)


def _outs(o: Ops, x: Operands, bits: int) -> None:
    port = o.reg(EDX, 16)
    o.call("check_port", port, bits // 8)
    intercepts.port(o, x, port, bits // 8, segment=_source_segment(x), string=True)
    value = o.load(_source_segment(x), _pointer(o, x, ESI), bits)
    o.call("port_out", port, bits // 8, value)
    _advance(o, x, ESI, bits)


movs, cmps, scas, lods, stos, ins, outs = (
    _string(body) for body in (_movs, _cmps, _scas, _lods, _stos, _ins, _outs))
