"""Access to the operands of a decoded instruction, the same for every operation.

Rules:

1. The effective address is emitted once, at the first use of the memory operand; use it before any `if_`.
2. `read_for_write` then `write` is a read-modify-write: the read faults as the write would.
3. Immediates come out with the width of the operation, already extended as the form says.
"""

from __future__ import annotations

from rtl.isa.decoder import Insn
from rtl.isa.opcodes import Operand
from rtl.isa.registers import Gpr, Seg
from vmm.semantics.ops import Ops, Value

_RM = {Operand.Eb, Operand.Ew, Operand.Ed, Operand.Ev, Operand.MwRv, Operand.Ex,
       Operand.M, Operand.Ma, Operand.Mp, Operand.Mq, Operand.Ms}
_REG = {Operand.Gb, Operand.Gw, Operand.Gv}
_LOW3 = {Operand.Zb, Operand.Zv}
_IMMEDIATE = {Operand.Ib, Operand.Iw, Operand.Iv, Operand.Ibs}
_OFFSET = {Operand.Ob, Operand.Ov}
_FIXED = {Operand.AL: Gpr.EAX, Operand.eAX: Gpr.EAX, Operand.CL: Gpr.ECX, Operand.DX: Gpr.EDX}
_SEGMENTS = {Operand[seg.name]: seg for seg in list(Seg)[:6]}
_BYTE = {Operand.Eb, Operand.Gb, Operand.Ib, Operand.Ob, Operand.Zb, Operand.AL, Operand.CL, Operand.Xb, Operand.Yb}
_WORD = {Operand.Ew, Operand.Gw, Operand.Iw, Operand.DX, Operand.Sw} | set(_SEGMENTS)
_DOUBLE = {Operand.Ed, Operand.Rd, Operand.Cd, Operand.Dd}


class Operands:
    """The operands of `insn`, numbered as in its form.

    Members
    -------
    size : operand size of the instruction in bits, 16 or 32.
    """

    def __init__(self, o: Ops, insn: Insn):
        self._o = o
        self.insn = insn
        self.size = 8 * insn.opsize
        self._address: Value | None = None

    @property
    def kinds(self) -> tuple[Operand, ...]:
        return self.insn.form.operands

    def bits(self, k: int) -> int:
        kind = self.kinds[k]
        if kind in _BYTE:
            return 8
        if kind in _WORD or kind is Operand.MwRv and self.is_memory(k):
            return 16
        return 32 if kind in _DOUBLE else self.size

    def is_memory(self, k: int) -> bool:
        return self.kinds[k] in _OFFSET or self.kinds[k] in _RM and self.insn.mod != 3

    def register(self, k: int) -> int:
        """Number of the register operand `k`, segment registers included."""
        kind, insn = self.kinds[k], self.insn
        if kind in _REG or kind in (Operand.Sw, Operand.Cd, Operand.Dd):
            return insn.reg
        if kind in _LOW3:
            return insn.form.opcode & 7
        if kind in _SEGMENTS:
            return int(_SEGMENTS[kind])
        return int(_FIXED[kind]) if kind in _FIXED else insn.rm

    @property
    def segment(self) -> int:
        """The segment of the memory operand."""
        return int(self.insn.default_seg if self.insn.seg is None else self.insn.seg)

    def wrap(self, address: Value) -> Value:
        """Cut a 32-bit address to the address size."""
        o = self._o
        return address if self.insn.adsize == 4 else o.zext(o.trunc(address, 16), 32)

    def address(self) -> Value:
        """The effective address of the memory operand, 32 bits."""
        if self._address is None:
            self._address = self.effective_address()
        return self._address

    def effective_address(self, esp: Value | None = None) -> Value:
        """The same, computed anew; `esp` stands for ESP as a base."""
        o, insn = self._o, self.insn
        total: Value | None = None
        if insn.base is not None:
            total = esp if esp is not None and insn.base is Gpr.ESP else o.reg(insn.base, 32)
        if insn.index is not None:
            index = o.reg(insn.index, 32)
            if insn.scale:
                index = o.shl(index, insn.scale)
            total = index if total is None else o.add(total, index)
        if total is None:
            return o.const(insn.disp if insn.adsize == 4 else insn.disp & 0xFFFF, 32)
        if insn.disp:
            total = o.add(total, o.const(insn.disp, 32))
        return self.wrap(total)

    def displaced(self, offset: int) -> Value:
        """The address `offset` bytes into the memory operand."""
        return self.wrap(self._o.add(self.address(), self._o.const(offset, 32)))

    def immediate(self, k: int) -> Value:
        value = self.insn.imm2 if k and self.kinds[:2] == (Operand.Iw, Operand.Ib) and k == 1 else self.insn.imm
        assert value is not None
        return self._o.const(value, self.bits(k))

    def known(self, k: int) -> int | None:
        """The value of operand `k` when the instruction itself fixes it."""
        if self.kinds[k] is Operand.One:
            return 1
        return self.insn.imm if self.kinds[k] in _IMMEDIATE else None

    def read(self, k: int) -> Value:
        kind, bits = self.kinds[k], self.bits(k)
        if kind in _IMMEDIATE:
            return self.immediate(k)
        if kind is Operand.One:
            return self._o.const(1, 8)
        if self.is_memory(k):
            return self._o.load(self.segment, self.address(), bits)
        return self._o.reg(self.register(k), bits)

    def read_for_write(self, k: int) -> Value:
        if self.is_memory(k):
            return self._o.load_for_write(self.segment, self.address(), self.bits(k))
        return self._o.reg(self.register(k), self.bits(k))

    def write(self, k: int, value: Value) -> None:
        assert value.bits == self.bits(k)
        if self.is_memory(k):
            self._o.store(self.segment, self.address(), value)
        else:
            self._o.set_reg(self.register(k), value)
