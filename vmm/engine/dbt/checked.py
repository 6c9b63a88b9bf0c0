"""Code that the guest rewrites, as native code: it looks at its own bytes whenever it is entered.

Rules:

1. A checked block runs only if its fixed bytes are what they were when it was translated. The bytes of most immediates
   and displacements are not fixed when the guest rewrites them: they are loaded when their instruction runs.
2. It ends behind the first instruction that may have written to memory, so that nothing changes between the check and
   the last instruction. Under paging a load writes as well: its walk marks tables.
3. Its bytes are not in the code map: writes to them stay native and tell nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from rtl.isa.decoder import Insn
from rtl.isa.opcodes import ImmKind, Operand, imm_kind, imm_size
from rtl.isa.registers import Gpr
from vmm.engine.dbt.frontend import Block
from vmm.engine.dbt.rewritten import Rewritten, Version, places
from vmm.engine.recordops import listing
from vmm.semantics.operands import Operands
from vmm.semantics.ops import Ops, Value
from vmm.semantics.table import emit, semantics

_RELATIVE = frozenset((Operand.Jb, Operand.Jv))
#: Operations that take an immediate as an operand like any other, and those that jump by it.
_IMMEDIATE = frozenset("mov add or adc sbb and sub xor cmp test push imul rol ror rcl rcr shl shr sar".split())
_JUMPS = frozenset("jmp jcc call loop loope loopne jcxz".split())
_WRITES = frozenset("store check_write call jump_call".split())
_READS = frozenset("load load_for_write check_read".split())

#: Gives the number in some bytes of the instruction: offset, size.
Fetch = Callable[[int, int], Value]


@dataclass(frozen=True, slots=True)
class Fields:
    """Offset and size of the displacement and the immediate of an instruction; None if it is not for loading."""

    displacement: tuple[int, int] | None
    immediate: tuple[int, int] | None


def fields(insn: Insn) -> Fields:
    form = insn.form
    kind = imm_kind(form)
    last = imm_size(kind, insn.opsize, insn.adsize)
    if kind is ImmKind.MOFFS:
        return Fields((insn.length - last, last), None)
    size = _displacement_size(insn) if insn.is_memory else 0
    loaded = last and (form.operation in _IMMEDIATE or form.operation in _JUMPS)
    return Fields((insn.length - last - size, size) if size else None, (insn.length - last, last) if loaded else None)


def _displacement_size(insn: Insn) -> int:
    if insn.mod == 0:
        if insn.adsize == 2:
            return 2 if insn.rm == 6 else 0
        without = insn.rm == int(Gpr.EBP) or insn.rm == int(Gpr.ESP) and insn.base is None
        return 4 if without else 0
    return 1 if insn.mod == 1 else insn.adsize


def live_bytes(block: Block, rewritten: set[int]) -> frozenset[int]:
    """Offsets in the block of the bytes to load at run time: fields with a rewritten byte that lie in one page."""
    where = places(block)
    found: set[int] = set()
    start = 0
    for guest in block.guests:
        described = fields(guest.insn)
        for field in (described.displacement, described.immediate):
            if field is None:
                continue
            span = range(start + field[0], start + field[0] + field[1])
            if where[span[-1]] - where[span[0]] == len(span) - 1 and any(where[n] in rewritten for n in span):
                found.update(span)
        start += guest.insn.length
    return frozenset(found)


def boundary(block: Block, rewritten: Rewritten, checked: bool, paging: bool) -> tuple[bool, int | None]:
    """Whether a block is a checked one, which it is in any case if `checked`; and the EIP before which it must end."""
    near = rewritten.near(block)
    if not near and not checked:
        return False, None
    where, at = places(block), 0
    for number, guest in enumerate(block.guests):
        touched = any(byte in near for byte in where[at:at + guest.insn.length])
        at += guest.insn.length
        if number == 0:
            checked = checked or touched
        elif touched and not checked:
            return False, guest.eip
        if checked and number + 1 < len(block.guests) and writes(guest.insn, paging):
            return True, guest.next
    return checked, None


def writes(insn: Insn, paging: bool) -> bool:
    """Whether an instruction may write to memory, with what the walks of its loads do if `paging`."""
    telling = _WRITES | _READS if paging else _WRITES
    return any(not telling.isdisjoint(line.split(" = ")[-1].split()[:1]) for line in listing(insn).splitlines())


def emit_checked(o: Any, insn: Insn, start: int, version: Version, fetch: Fetch) -> None:
    """Emit an instruction that is `start` bytes into its block, loading the live ones of its fields."""
    described = fields(insn)
    loaded = [None if field is None or start + field[0] not in version.live else fetch(start + field[0], field[1])
              for field in (described.displacement, described.immediate)]
    if loaded == [None, None]:
        emit(o, insn)
    else:
        semantics(insn.form.operation)(o, LoadedOperands(o, insn, *loaded))


class LoadedOperands(Operands):
    """Operands of which the displacement or the immediate is a value that was loaded.

    A relative jump by such an immediate is a jump to the sum as an operand.
    """

    def __init__(self, o: Ops, insn: Insn, displacement: Value | None, immediate: Value | None):
        super().__init__(o, insn)
        self._displacement = displacement
        self._immediate = immediate
        self._is_relative = immediate is not None and bool(insn.form.operands) and insn.form.operands[0] in _RELATIVE

    @property
    def kinds(self) -> tuple[Operand, ...]:
        return (Operand.Ev,) if self._is_relative else self.insn.form.operands

    def effective_address(self, esp: Value | None = None) -> Value:
        o, insn, value = self._o, self.insn, self._displacement
        if value is None:
            return super().effective_address(esp)
        bare = insn.base is None and insn.index is None
        total = o.zext(value, 32) if bare else o.sext(value, 32)
        if insn.base is not None:
            total = o.add(total, esp if esp is not None and insn.base is Gpr.ESP else o.reg(insn.base, 32))
        if insn.index is not None:
            index = o.reg(insn.index, 32)
            total = o.add(total, o.shl(index, insn.scale) if insn.scale else index)
        return self.wrap(total)

    def immediate(self, k: int) -> Value:
        o, value = self._o, self._immediate
        if value is None:
            return super().immediate(k)
        bits = self.bits(k)
        if self.kinds[k] is Operand.Ibs:
            return o.sext(value, bits)
        return o.zext(value, bits) if bits > value.bits else o.trunc(value, bits)

    def known(self, k: int) -> int | None:
        return super().known(k) if self._immediate is None else None

    def read(self, k: int) -> Value:
        if not self._is_relative:
            return super().read(k)
        o = self._o
        assert self._immediate is not None
        return cast(Value, o.trunc(o.add(o.next_eip(), o.sext(self._immediate, 32)), self.size))
