"""The part of `Ops` that only computes: nodes of values, with constants folded."""

from __future__ import annotations

from vmm.engine.dbt.values import Node, Raw, known

_FOLDS = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << b, "lshr": lambda a, b: a >> b,
    "udiv": lambda a, b: a // b, "urem": lambda a, b: a % b,
    "icmp eq": lambda a, b: a == b, "icmp ult": lambda a, b: a < b,
}
_ZERO_IS_IDENTITY = frozenset(("add", "sub", "or", "xor", "shl", "lshr", "ashr"))


class PureOps:
    """Values of `LlvmOps`. Nothing is emitted: a node is emitted where it is first used."""

    def const(self, value: int, bits: int) -> Node:
        return known(value, bits)

    def _binary(self, op: str, a: Node, b: Node, bits: int | None = None) -> Node:
        assert a.bits == b.bits, (op, a.bits, b.bits)
        width = a.bits if bits is None else bits
        if b.known is not None:
            if a.known is not None and op in _FOLDS:
                return known(int(_FOLDS[op](a.known, b.known)), width)
            if b.known == 0 and op in _ZERO_IS_IDENTITY:
                return a
        return Node(op, width, (a, b))

    def add(self, a: Node, b: Node) -> Node:
        return self._binary("add", a, b)

    def sub(self, a: Node, b: Node) -> Node:
        return known(0, a.bits) if a is b else self._binary("sub", a, b)

    def mul(self, a: Node, b: Node) -> Node:
        return self._binary("mul", a, b)

    def and_(self, a: Node, b: Node) -> Node:
        return self._binary("and", a, b)

    def or_(self, a: Node, b: Node) -> Node:
        return self._binary("or", a, b)

    def xor(self, a: Node, b: Node) -> Node:
        if a.bits == 1:
            less = _signed_less(a, b)
            if less is not None:
                return less
        return known(0, a.bits) if a is b else self._binary("xor", a, b)

    def not_(self, a: Node) -> Node:
        return self._binary("xor", a, known(-1, a.bits))

    def _shift(self, op: str, a: Node, count: Node | int) -> Node:
        if isinstance(count, int):
            count = known(count, a.bits)
        elif count.bits < a.bits:
            count = self.zext(count, a.bits)
        elif count.bits > a.bits:
            count = self.trunc(count, a.bits)
        return self._binary(op, a, count)

    def shl(self, a: Node, count: Node | int) -> Node:
        return self._shift("shl", a, count)

    def shr(self, a: Node, count: Node | int) -> Node:
        return self._shift("lshr", a, count)

    def sar(self, a: Node, count: Node | int) -> Node:
        return self._shift("ashr", a, count)

    def rotate_left(self, a: Node, count: Node | int) -> Node:
        if isinstance(count, int):
            amount = known(count, a.bits)
        else:
            amount = self.zext(count, a.bits) if count.bits < a.bits else self.trunc(count, a.bits)
        return Node("fshl", a.bits, (a, a, amount))

    def udiv(self, a: Node, b: Node) -> Node:
        return self._binary("udiv", a, b)

    def urem(self, a: Node, b: Node) -> Node:
        return self._binary("urem", a, b)

    def sdiv(self, a: Node, b: Node) -> Node:
        """The host traps on the one quotient that does not fit: a divisor of -1 is done as a negation."""
        minus = Node("icmp eq", 1, (b, known(-1, b.bits)))
        divisor = self.select(minus, known(1, b.bits), b)
        return self.select(minus, self.sub(known(0, a.bits), a), self._binary("sdiv", a, divisor))

    def srem(self, a: Node, b: Node) -> Node:
        minus = Node("icmp eq", 1, (b, known(-1, b.bits)))
        return self._binary("srem", a, self.select(minus, known(1, b.bits), b))

    def count_trailing_zeros(self, a: Node) -> Node:
        return Raw(f"call i{a.bits} @llvm.cttz.i{a.bits}(i{a.bits} {{0}}, i1 true)", a.bits, (a,))

    def count_leading_zeros(self, a: Node) -> Node:
        return Raw(f"call i{a.bits} @llvm.ctlz.i{a.bits}(i{a.bits} {{0}}, i1 true)", a.bits, (a,))

    def zext(self, a: Node, bits: int) -> Node:
        if bits == a.bits:
            return a
        return known(a.known, bits) if a.known is not None else Node("zext", bits, (a,))

    def sext(self, a: Node, bits: int) -> Node:
        if bits == a.bits:
            return a
        if a.known is not None:
            sign = 1 << a.bits - 1
            return known((a.known ^ sign) - sign, bits)
        return Node("sext", bits, (a,))

    def trunc(self, a: Node, bits: int) -> Node:
        if bits == a.bits:
            return a
        if a.known is not None:
            return known(a.known, bits)
        if a.op in ("zext", "trunc") and a.args[0].bits >= bits:
            return self.trunc(a.args[0], bits)
        return Node("trunc", bits, (a,))

    def eq(self, a: Node, b: Node) -> Node:
        return self._binary("icmp eq", a, b, 1)

    def ult(self, a: Node, b: Node) -> Node:
        return self._binary("icmp ult", a, b, 1)

    def slt(self, a: Node, b: Node) -> Node:
        return self._binary("icmp slt", a, b, 1)

    def select(self, condition: Node, a: Node, b: Node) -> Node:
        if condition.known is not None:
            return a if condition.known else b
        return Node("select", a.bits, (condition, a, b))


def _signed_less(sign: Node, overflow: Node) -> Node | None:
    """SF xor OF behind a subtraction is a signed comparison of its operands, which the host has an instruction for."""
    if sign.op != "icmp slt" or overflow.op != "icmp slt":
        return None
    result, spread = sign.args[0], overflow.args[0]
    if result.op != "sub" or spread.op != "and" or sign.args[1].known != 0 or overflow.args[1].known != 0:
        return None
    a, b = result.args
    flip, change = spread.args
    if flip.op == "xor" and change.op == "xor" and flip.args == (a, b) and change.args == (a, result):
        return Node("icmp slt", 1, (a, b))
    return None
