"""`Ops` that emits Python source: one function per decoded instruction.

The function takes EIP and returns the next one. It finds what it needs as globals:

    S       the CpuState                     R       its list of general registers
    M8 M16 M32  views of RAM                 RG, WG  `get` of the read and write fast-path tables for this CPL
    ldu(linear, size, segment)               stu(linear, size, value, segment)       every other access
    ldw(linear, size, segment)               a load with write permission
    seg(segment, offset, size, write)        checked linear address of a segment that is not flat
    H       the helper routines              Fault   the exception class

A one-bit value may be a Python bool.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rtl.isa.exceptions import Vector
from rtl.isa.registers import Eflags, Seg
from vmm.semantics.ops import Mode

CS = int(Seg.CS)
_VIEWS = {8: "M8", 16: "M16", 32: "M32"}
_FLAG_EXPRESSIONS = {
    "cf": "S.fc",
    "pf": "(PARITY[S.fp & 255] >> 2)",
    "af": "(S.fa >> 4 & 1)",
    "zf": "(not S.fz)",
    "sf": "(S.fs >> 31 & 1)",
    "of": "(S.fo >> 31 & 1)",
    "df": f"(S.system_flags >> {int(Eflags.DF).bit_length() - 1} & 1)",
}


@dataclass(frozen=True, slots=True)
class PyValue:
    text: str
    bits: int
    known: int | None = None


def _mask(bits: int) -> str:
    return hex((1 << bits) - 1)


class PyOps:
    """Emits the body of one instruction function.

    Parameters
    ----------
    mode : what the code may assume.
    length : bytes of the instruction.

    Members
    -------
    is_system : a routine of the machine was called, or the instruction may repeat: what such an instruction did must be
        looked at before the next one runs.
    """

    def __init__(self, mode: Mode, length: int):
        self.mode = mode
        self._length = length
        self._lines: list[str] = []
        self._indent = "    "
        self._temps = 0
        self._ended = False
        self.is_system = False

    def source(self, name: str = "f") -> str:
        lines = list(self._lines)
        if not self._ended:
            lines.append(f"    return {self._next}")
        return "\n".join([f"def {name}(eip):", *lines, ""])

    @property
    def _next(self) -> str:
        return f"eip + {self._length} & 0xffffffff"

    def _emit(self, line: str) -> None:
        self._lines.append(self._indent + line)

    def _temp(self, expression: str, bits: int) -> PyValue:
        self._temps += 1
        name = f"t{self._temps}"
        self._emit(f"{name} = {expression}")
        return PyValue(name, bits)

    def const(self, value: int, bits: int) -> PyValue:
        value &= (1 << bits) - 1
        return PyValue(str(value), bits, value)

    def _binary(self, a: PyValue, b: PyValue, expression: str) -> PyValue:
        assert a.bits == b.bits, (a, b)
        if a.known is not None and b.known is not None:
            return self.const(eval(expression, {}), a.bits)
        return self._temp(expression, a.bits)

    def add(self, a: PyValue, b: PyValue) -> PyValue:
        return self._binary(a, b, f"{a.text} + {b.text} & {_mask(a.bits)}")

    def sub(self, a: PyValue, b: PyValue) -> PyValue:
        return self._binary(a, b, f"{a.text} - {b.text} & {_mask(a.bits)}")

    def mul(self, a: PyValue, b: PyValue) -> PyValue:
        return self._binary(a, b, f"{a.text} * {b.text} & {_mask(a.bits)}")

    def and_(self, a: PyValue, b: PyValue) -> PyValue:
        return self._binary(a, b, f"{a.text} & {b.text}")

    def or_(self, a: PyValue, b: PyValue) -> PyValue:
        return self._binary(a, b, f"{a.text} | {b.text}")

    def xor(self, a: PyValue, b: PyValue) -> PyValue:
        return self._binary(a, b, f"{a.text} ^ {b.text}")

    def not_(self, a: PyValue) -> PyValue:
        return self._temp(f"{a.text} ^ {_mask(a.bits)}", a.bits)

    @staticmethod
    def _count(count: int | PyValue) -> str:
        return count.text if isinstance(count, PyValue) else str(count)

    def shl(self, a: PyValue, count: int | PyValue) -> PyValue:
        return self._shift(a, count, f"{a.text} << {self._count(count)} & {_mask(a.bits)}")

    def shr(self, a: PyValue, count: int | PyValue) -> PyValue:
        return self._shift(a, count, f"{a.text} >> {self._count(count)}")

    def _shift(self, a: PyValue, count: int | PyValue, expression: str) -> PyValue:
        if a.known is not None and (isinstance(count, int) or count.known is not None):
            return self.const(eval(expression, {}), a.bits)
        return self._temp(expression, a.bits)

    def sar(self, a: PyValue, count: int | PyValue) -> PyValue:
        return self._temp(f"{self._signed(a)} >> {self._count(count)} & {_mask(a.bits)}", a.bits)

    def rotate_left(self, a: PyValue, count: int | PyValue) -> PyValue:
        amount = f"({self._count(count)} & {a.bits - 1})"
        return self._temp(f"{a.text} << {amount} & {_mask(a.bits)} | {a.text} >> {a.bits} - {amount}", a.bits)

    @staticmethod
    def _signed(a: PyValue) -> str:
        sign = hex(1 << a.bits - 1)
        return f"(({a.text} ^ {sign}) - {sign})"

    def udiv(self, a: PyValue, b: PyValue) -> PyValue:
        return self._binary(a, b, f"{a.text} // {b.text}")

    def urem(self, a: PyValue, b: PyValue) -> PyValue:
        return self._binary(a, b, f"{a.text} % {b.text}")

    def sdiv(self, a: PyValue, b: PyValue) -> PyValue:
        return self._binary(a, b, f"quotient({self._signed(a)}, {self._signed(b)}) & {_mask(a.bits)}")

    def srem(self, a: PyValue, b: PyValue) -> PyValue:
        return self._binary(a, b, f"remainder({self._signed(a)}, {self._signed(b)}) & {_mask(a.bits)}")

    def count_trailing_zeros(self, a: PyValue) -> PyValue:
        return self._temp(f"({a.text} & -{a.text}).bit_length() - 1", a.bits)

    def count_leading_zeros(self, a: PyValue) -> PyValue:
        return self._temp(f"{a.bits} - ({a.text}).bit_length()", a.bits)

    def zext(self, a: PyValue, bits: int) -> PyValue:
        assert bits >= a.bits
        return PyValue(a.text, bits, a.known)

    def sext(self, a: PyValue, bits: int) -> PyValue:
        if a.known is not None:
            sign = 1 << a.bits - 1
            return self.const((a.known ^ sign) - sign, bits)
        return self._temp(f"{self._signed(a)} & {_mask(bits)}", bits)

    def trunc(self, a: PyValue, bits: int) -> PyValue:
        if a.known is not None:
            return self.const(a.known, bits)
        return a if bits == a.bits else self._temp(f"{a.text} & {_mask(bits)}", bits)

    def eq(self, a: PyValue, b: PyValue) -> PyValue:
        assert a.bits == b.bits, (a, b)
        return self._temp(f"{a.text} == {b.text}", 1)

    def ult(self, a: PyValue, b: PyValue) -> PyValue:
        return self._temp(f"{a.text} < {b.text}", 1)

    def slt(self, a: PyValue, b: PyValue) -> PyValue:
        sign = hex(1 << a.bits - 1)
        return self._temp(f"({a.text} ^ {sign}) < ({b.text} ^ {sign})", 1)

    def select(self, condition: PyValue, a: PyValue, b: PyValue) -> PyValue:
        assert a.bits == b.bits, (a, b)
        return self._temp(f"{a.text} if {condition.text} else {b.text}", a.bits)

    @contextmanager
    def if_(self, condition: PyValue) -> Iterator[None]:
        self._emit(f"if {condition.text}:")
        yield from self._block()

    @contextmanager
    def else_(self) -> Iterator[None]:
        self._emit("else:")
        yield from self._block()

    def _block(self) -> Iterator[None]:
        outer, start = self._indent, len(self._lines)
        self._indent += "    "
        yield
        if len(self._lines) == start:
            self._emit("pass")
        self._indent = outer
        self._ended = False

    def variable(self, initial: PyValue) -> PyValue:
        return self._temp(initial.text, initial.bits)

    def get(self, variable: PyValue) -> PyValue:
        return self._temp(variable.text, variable.bits)

    def set(self, variable: PyValue, value: PyValue) -> None:
        assert variable.bits == value.bits
        self._emit(f"{variable.text} = {value.text}")

    def reg(self, number: int, bits: int) -> PyValue:
        if bits == 32:
            return self._temp(f"R[{number}]", 32)
        if bits == 16:
            return self._temp(f"R[{number}] & 0xffff", 16)
        return self._temp(f"R[{number}] & 0xff" if number < 4 else f"R[{number - 4}] >> 8 & 0xff", 8)

    def set_reg(self, number: int, value: PyValue) -> None:
        if value.bits == 32:
            self._emit(f"R[{number}] = {value.text}")
        elif value.bits == 16:
            self._emit(f"R[{number}] = R[{number}] & 0xffff0000 | {value.text}")
        elif number < 4:
            self._emit(f"R[{number}] = R[{number}] & 0xffffff00 | {value.text}")
        else:
            self._emit(f"R[{number - 4}] = R[{number - 4}] & 0xffff00ff | {value.text} << 8")

    def selector(self, segment: int) -> PyValue:
        return self._temp(f"S.segments[{segment}].selector", 16)

    def _linear(self, segment: int, offset: PyValue, size: int, write: bool) -> str:
        if self.mode.flat >> segment & 1 and not (write and segment == CS):
            return offset.text
        return self._temp(f"seg({segment}, {offset.text}, {size}, {write})", 32).text

    def _fast_path(self, table: str, linear: str, bits: int) -> tuple[str, str]:
        """Condition under which an access must take the slow path, and the element of a RAM view otherwise."""
        delta = self._temp(f"{table}({linear} >> 12)", 32).text
        shift = bits.bit_length() - 4
        if not shift:
            return f"{delta} is None", f"{_VIEWS[bits]}[{linear} + {delta}]"
        return f"{delta} is None or {linear} & {(1 << shift) - 1}", f"{_VIEWS[bits]}[{linear} + {delta} >> {shift}]"

    def load(self, segment: int, offset: PyValue, bits: int) -> PyValue:
        linear = self._linear(segment, offset, bits // 8, False)
        slow, element = self._fast_path("RG", linear, bits)
        return self._temp(f"ldu({linear}, {bits // 8}, {segment}) if {slow} else {element}", bits)

    def load_for_write(self, segment: int, offset: PyValue, bits: int) -> PyValue:
        linear = self._linear(segment, offset, bits // 8, True)
        slow, element = self._fast_path("WG", linear, bits)
        return self._temp(f"ldw({linear}, {bits // 8}, {segment}) if {slow} else {element}", bits)

    def store(self, segment: int, offset: PyValue, value: PyValue) -> None:
        linear = self._linear(segment, offset, value.bits // 8, True)
        slow, element = self._fast_path("WG", linear, value.bits)
        self._emit(f"if {slow}: stu({linear}, {value.bits // 8}, {value.text}, {segment})")
        self._emit(f"else: {element} = {value.text}")

    def check_write(self, segment: int, offset: PyValue, size: int) -> None:
        self._emit(f"probe({segment}, {offset.text}, {size}, True)")

    def check_read(self, segment: int, offset: PyValue, size: int) -> None:
        self._emit(f"probe({segment}, {offset.text}, {size}, False)")

    def carry(self) -> PyValue:
        return self._temp("S.fc", 1)

    def flag(self, name: str) -> PyValue:
        return self._temp(_FLAG_EXPRESSIONS[name], 1)

    def set_carry(self, bit: PyValue) -> None:
        self._emit(f"S.fc = {bit.text}")

    def set_result(self, result: PyValue) -> None:
        if result.bits == 32:
            self._emit(f"S.fz = S.fs = S.fp = {result.text}")
        else:
            self._emit(f"S.fz = S.fp = {result.text}")
            self._emit(f"S.fs = {result.text} << {32 - result.bits}")

    def set_zero(self, bit: PyValue) -> None:
        self._emit(f"S.fz = not {bit.text}")

    def set_overflow(self, value: PyValue) -> None:
        shift = 32 - value.bits
        self._emit(f"S.fo = {value.text} << {shift}" if shift else f"S.fo = {value.text}")

    def set_adjust(self, value: PyValue) -> None:
        self._emit(f"S.fa = {value.text}")

    def flags_image(self) -> PyValue:
        return self._temp("S.eflags", 32)

    def set_arithmetic_flags(self, image: PyValue) -> None:
        self._emit(f"S.set_arithmetic_flags({image.text})")

    def set_direction(self, bit: PyValue) -> None:
        df = int(Eflags.DF)
        self._emit(f"S.system_flags = S.system_flags & ~{df} | ({df} if {bit.text} else 0)")

    def next_eip(self) -> PyValue:
        return self._temp(self._next, 32)

    def check_target(self, target: PyValue) -> None:
        if not self.mode.flat >> CS & 1:
            self._emit(f"if {target.text} > S.segments[{CS}].limit: raise Fault({int(Vector.GP)}, 0)")

    def jump(self, target: PyValue) -> None:
        self._emit(f"return {target.text}")
        self._ended = len(self._indent) == 4

    def jump_if(self, condition: PyValue, target: PyValue) -> None:
        with self.if_(condition):
            self.check_target(target)
            self.jump(target)

    def repeat_if(self, condition: PyValue) -> None:
        self.is_system = True
        self._emit(f"if {condition.text}: return eip")

    def fault(self, vector: int, error: int | None = None) -> None:
        self._emit(f"raise Fault({int(vector)}, {error})")
        self._ended = len(self._indent) == 4

    def call(self, name: str, *args: PyValue | int, returns: int | None = None) -> PyValue | None:
        self.is_system = True
        text = f"H.{name}({', '.join(a.text if isinstance(a, PyValue) else str(int(a)) for a in args)})"
        if returns is None:
            self._emit(text)
            return None
        return self._temp(text, returns)

    def jump_call(self, name: str, *args: PyValue | int) -> None:
        target = self.call(name, *args, returns=32)
        assert target is not None
        self.jump(target)
