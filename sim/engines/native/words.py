"""LLVM text for the operations of a netlist: one instance writes the body of one function.

A word of width 1 is an ``i1``; others are zero-extended in ``i32``, ``i64`` or a multiple of 64 bits, and stay so:
bits above the width are always zero.
"""

from __future__ import annotations

from .netlist import Chunk, Node, Sig, const_value, sig_width


def word_type(width: int) -> str:
    """LLVM type that carries a word of ``width`` bits inside a function."""
    if width == 1:
        return "i1"
    return f"i{type_bits(width)}"


def type_bits(width: int) -> int:
    return 1 if width == 1 else 32 if width <= 32 else (width + 63) // 64 * 64


def store_bits(width: int) -> int:
    """Bits a word of ``width`` occupies in memory."""
    for bits in (8, 16, 32):
        if width <= bits:
            return bits
    return (width + 63) // 64 * 64


def ones(width: int) -> int:
    return (1 << width) - 1


_COMPARE = {"eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}


class Words:
    """Straight-line text with constant folding of the trivial kind; ``node_value`` is supplied by the subclass.

    A value is a text: an LLVM register, or a decimal literal.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0

    def node_value(self, node: int) -> str:
        raise KeyError(node)

    def node_width(self, node: int) -> int:
        raise KeyError(node)

    def emit(self, text: str) -> str:
        self.count += 1
        name = f"%v{self.count}"
        self.lines.append(f"  {name} = {text}")
        return name

    def effect(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def convert(self, value: str, old: int, new: int) -> str:
        """Change the type of a word from that of width ``old`` to that of width ``new``, zero-extending or cutting."""
        source, target = type_bits(old), type_bits(new)
        if source == target:
            return value
        if not value.startswith("%"):
            return str(int(value) & ones(target))
        return self.emit(f"{'zext' if source < target else 'trunc'} i{source} {value} to i{target}")

    def shift_left(self, value: str, amount: int, width: int) -> str:
        if amount == 0:
            return value
        if not value.startswith("%"):
            return str(int(value) << amount)
        return self.emit(f"shl {word_type(width)} {value}, {amount}")

    def masked(self, value: str, width: int) -> str:
        """Clear the bits of the container above ``width``."""
        if width == type_bits(width):
            return value
        if not value.startswith("%"):
            return str(int(value) & ones(width))
        return self.emit(f"and {word_type(width)} {value}, {ones(width)}")

    def chunk(self, chunk: Chunk, width: int) -> str:
        """A chunk at bit 0 of a word of type of ``width`` (at least the chunk's bits)."""
        if chunk.node < 0:
            return str(chunk.offset)
        if chunk.repeat > 1:
            bit = self.slice(chunk.node, chunk.offset, 1, 1)
            return self.emit(f"select i1 {bit}, {word_type(width)} {ones(chunk.bits)}, {word_type(width)} 0")
        return self.slice(chunk.node, chunk.offset, chunk.width, width)

    def slice(self, node: int, offset: int, size: int, width: int) -> str:
        """Bits of a node as a word of the type of ``width``."""
        value, whole = self.node_value(node), self.node_width(node)
        if offset:
            value = self.emit(f"lshr {word_type(whole)} {value}, {offset}")
        if size == 1 and whole != 1:
            return self.convert(self.emit(f"trunc {word_type(whole)} {value} to i1"), 1, width)
        if type_bits(width) < type_bits(whole):
            value = self.convert(value, whole, width)
            return self.masked_to(value, size, width) if offset + size < whole else value
        if offset + size < whole:
            value = self.masked_to(value, size, whole)
        return self.convert(value, whole, width)

    def masked_to(self, value: str, size: int, width: int) -> str:
        """Keep ``size`` bits of a word whose type is that of ``width``."""
        if size >= type_bits(width):
            return value
        return self.emit(f"and {word_type(width)} {value}, {ones(size)}")

    def sig(self, sig: Sig, width: int | None = None, *, signed: bool = False) -> str:
        """A signal as a word of ``width`` (default its own), extended or cut."""
        own = sig_width(sig)
        width = own if width is None else width
        if own == 0 or width == 0:
            return "0"
        if width < own:
            sig, own = cut(sig, width), width
        literal, parts, position = 0, [], 0
        for chunk in sig:
            if chunk.node < 0:
                literal |= chunk.offset << position
            else:
                parts.append((chunk, position))
            position += chunk.bits
        if not parts:
            if signed and literal >> (own - 1) & 1:
                literal |= ones(width) & ~ones(own)
            return str(literal)
        value = None
        for chunk, position in parts:
            piece = self.shift_left(self.chunk(chunk, width), position, width)
            value = piece if value is None else self.emit(f"or {word_type(width)} {value}, {piece}")
        assert value is not None
        if literal:
            value = self.emit(f"or {word_type(width)} {value}, {literal}")
        if signed and width > own:
            value = self.masked(self.sign_fill(value, own, width), width)
        return value

    def sign_fill(self, value: str, own: int, width: int) -> str:
        """Sign-extend a word of ``own`` bits over the whole container of ``width``."""
        kind, gap = word_type(width), type_bits(width) - own
        if gap == 0 or width == 1:
            return value
        if not value.startswith("%"):
            number = int(value)
            return str((number | ~ones(own)) & ones(type_bits(width)) if number >> (own - 1) & 1 else number)
        return self.emit(f"ashr {kind} {self.emit(f'shl {kind} {value}, {gap}')}, {gap}")

    def full_signed(self, sig: Sig, width: int) -> str:
        """A signal extended by its sign over the whole container of ``width``."""
        return self.sign_fill(self.sig(sig, width, signed=True), width, width)

    def boolean(self, sig: Sig) -> str:
        """Whether a signal is not zero, as an ``i1``."""
        return self._join("or", [self._nonzero(chunk) for chunk in sig if chunk.node >= 0 or chunk.offset], "0")

    def _nonzero(self, chunk: Chunk) -> str:
        if chunk.node < 0:
            return "1"
        if chunk.width == 1:
            return self.slice(chunk.node, chunk.offset, 1, 1)
        return self.emit(f"icmp ne {word_type(chunk.width)} {self.slice(*chunk[:3], chunk.width)}, 0")

    def equals(self, sig: Sig, value: int) -> str:
        """Whether a signal has a constant value, as an ``i1``; piece by piece, which spares putting it together."""
        tests = []
        for chunk in sig:
            part = value & ones(chunk.bits)
            value >>= chunk.bits
            if chunk.node < 0:
                if part != chunk.offset:
                    return "0"
            elif chunk.width == 1:
                if part not in (0, ones(chunk.repeat)):
                    return "0"
                bit_value = self.slice(chunk.node, chunk.offset, 1, 1)
                tests.append(bit_value if part else self.emit(f"xor i1 {bit_value}, 1"))
            else:
                word = self.slice(*chunk[:3], chunk.width)
                tests.append(self.emit(f"icmp eq {word_type(chunk.width)} {word}, {part}"))
        return self._join("and", tests, "1")

    def _join(self, operation: str, tests: list[str], empty: str) -> str:
        if not tests:
            return empty
        value = tests[0]
        for test in tests[1:]:
            value = self.emit(f"{operation} i1 {value}, {test}")
        return value

    def operation(self, node: Node) -> str:
        """The value of a computed node."""
        return getattr(self, f"op_{node.op}", self._generic)(node)

    def _generic(self, node: Node) -> str:
        if node.op in _COMPARE:
            return self._compare(node)
        raise KeyError(node.op)

    def _bitwise(self, node: Node, name: str) -> str:
        width = node.width
        a, b = (self.sig(sig, width, signed=node.signed) for sig in node.ins)
        return self.emit(f"{name} {word_type(width)} {a}, {b}")

    def op_and(self, node: Node) -> str:
        return self._bitwise(node, "and")

    def op_or(self, node: Node) -> str:
        return self._bitwise(node, "or")

    def op_xor(self, node: Node) -> str:
        return self._bitwise(node, "xor")

    def op_xnor(self, node: Node) -> str:
        return self.emit(f"xor {word_type(node.width)} {self._bitwise(node, 'xor')}, {ones(node.width)}")

    def op_not(self, node: Node) -> str:
        value = self.sig(node.ins[0], node.width, signed=node.signed)
        return self.emit(f"xor {word_type(node.width)} {value}, {ones(node.width)}")

    def op_pos(self, node: Node) -> str:
        return self.sig(node.ins[0], node.width, signed=node.signed)

    def op_copy(self, node: Node) -> str:
        return self.sig(node.ins[0])

    def op_neg(self, node: Node) -> str:
        value = self.sig(node.ins[0], node.width, signed=node.signed)
        return self.masked(self.emit(f"sub {word_type(node.width)} 0, {value}"), node.width)

    def op_add(self, node: Node) -> str:
        return self.masked(self._bitwise(node, "add"), node.width)

    def op_sub(self, node: Node) -> str:
        return self.masked(self._bitwise(node, "sub"), node.width)

    def op_mul(self, node: Node) -> str:
        return self.masked(self._bitwise(node, "mul"), node.width)

    def _compare(self, node: Node) -> str:
        width = max(sig_width(sig) for sig in node.ins)
        predicate = _COMPARE[node.op]
        one, two = node.ins
        if predicate in ("eq", "ne") and not node.signed:
            for other, literal in ((one, const_value(two)), (two, const_value(one))):
                if literal is not None:
                    value = self.equals(other, literal) if literal >> sig_width(other) == 0 else "0"
                    if predicate == "ne":
                        value = self.emit(f"xor i1 {value}, 1")
                    return self.convert(value, 1, node.width)
        if predicate in ("eq", "ne") or not node.signed:
            a, b = (self.sig(sig, width, signed=node.signed) for sig in node.ins)
            prefix = "" if predicate in ("eq", "ne") else "u"
        else:
            a, b = (self.full_signed(sig, width) for sig in node.ins)
            prefix = "s"
        return self.convert(self.emit(f"icmp {prefix}{predicate} {word_type(width)} {a}, {b}"), 1, node.width)

    def _divide(self, node: Node, *, remainder: bool, floor: bool) -> str:
        width = max(node.width, *(sig_width(sig) for sig in node.ins))
        width += width == 1
        kind, signed = word_type(width), node.signed
        a, b = (self.full_signed(sig, width) if signed else self.sig(sig, width) for sig in node.ins)
        zero = self.emit(f"icmp eq {kind} {b}, 0")
        if signed:
            # The most negative number over -1 traps on the host; its quotient is the number itself.
            minus = self.emit(f"icmp eq {kind} {b}, -1")
            unsafe = self.emit(f"or i1 {zero}, {minus}")
            divisor = self.emit(f"select i1 {unsafe}, {kind} 1, {kind} {b}")
            quotient = self.emit(f"sdiv {kind} {a}, {divisor}")
            negated = self.emit(f"sub {kind} 0, {a}")
            quotient = self.emit(f"select i1 {minus}, {kind} {negated}, {kind} {quotient}")
            product = self.emit(f"mul {kind} {quotient}, {b}")
            rest = self.emit(f"sub {kind} {a}, {product}")
            if floor:
                inexact = self.emit(f"icmp ne {kind} {rest}, 0")
                signs = self.emit(f"xor {kind} {rest}, {b}")
                differ = self.emit(f"icmp slt {kind} {signs}, 0")
                adjust = self.emit(f"and i1 {inexact}, {differ}")
                lower = self.emit(f"sub {kind} {quotient}, 1")
                higher = self.emit(f"add {kind} {rest}, {b}")
                quotient = self.emit(f"select i1 {adjust}, {kind} {lower}, {kind} {quotient}")
                rest = self.emit(f"select i1 {adjust}, {kind} {higher}, {kind} {rest}")
        else:
            divisor = self.emit(f"select i1 {zero}, {kind} 1, {kind} {b}")
            quotient = self.emit(f"udiv {kind} {a}, {divisor}")
            rest = self.emit(f"urem {kind} {a}, {divisor}")
        value = self.emit(f"select i1 {zero}, {kind} 0, {kind} {rest if remainder else quotient}")
        return self.masked(self.convert(value, width, node.width), node.width)

    def op_div(self, node: Node) -> str:
        return self._divide(node, remainder=False, floor=False)

    def op_mod(self, node: Node) -> str:
        return self._divide(node, remainder=True, floor=False)

    def op_divfloor(self, node: Node) -> str:
        return self._divide(node, remainder=False, floor=True)

    def op_modfloor(self, node: Node) -> str:
        return self._divide(node, remainder=True, floor=True)

    def _amount(self, sig: Sig, width: int) -> tuple[str, str | None]:
        """A shift amount in the type of ``width`` and, unless it cannot be too large, the test that it is in range."""
        own = sig_width(sig)
        value = self.sig(sig)
        if own == 1:
            return self.convert(value, 1, width), None
        limit = type_bits(width)
        test = None
        if (1 << own) > limit:
            test = self.emit(f"icmp ult {word_type(own)} {value}, {limit}")
        amount = self.convert(value, own, width)
        if test is not None:
            amount = self.emit(f"and {word_type(width)} {amount}, {limit - 1}") if limit & (limit - 1) == 0 else \
                self.emit(f"select i1 {test}, {word_type(width)} {amount}, {word_type(width)} 0")
        return amount, test

    def _shift(self, name: str, value: str, amount: Sig, width: int) -> str:
        """Shift a word (all container bits significant for ``ashr``) by an unsigned signal."""
        kind = word_type(width)
        count, in_range = self._amount(amount, width)
        result = self.emit(f"{name} {kind} {value}, {count}")
        if in_range is not None:
            beyond = self.emit(f"ashr {kind} {value}, {type_bits(width) - 1}") if name == "ashr" else "0"
            result = self.emit(f"select i1 {in_range}, {kind} {result}, {kind} {beyond}")
        return result

    def op_shl(self, node: Node) -> str:
        width = max(node.width, 2)
        value = self._shift("shl", self.sig(node.ins[0], width, signed=node.signed), node.ins[1], width)
        return self.masked(self.convert(value, width, node.width), node.width)

    def op_shr(self, node: Node) -> str:
        width = max(node.width, sig_width(node.ins[0]), 2)
        value = self._shift("lshr", self.sig(node.ins[0], width, signed=node.signed), node.ins[1], width)
        return self.masked(self.convert(value, width, node.width), node.width)

    def op_sshr(self, node: Node) -> str:
        if not node.signed:
            return self.op_shr(node)
        width = max(node.width, sig_width(node.ins[0]), 2)
        own = sig_width(node.ins[0])
        value = self.sign_fill(self.sig(node.ins[0], max(width, own)), own, width)
        return self.masked(self.convert(self._shift("ashr", value, node.ins[1], width), width, node.width), node.width)

    def op_shift(self, node: Node) -> str:
        width = max(node.width, sig_width(node.ins[0]), 2)
        value, amount = self.sig(node.ins[0], width), node.ins[1]
        if node.ref:
            value = self.sign_fill(value, sig_width(node.ins[0]), width)
        right = self._shift("ashr" if node.ref else "lshr", value, amount, width)
        if node.signed:
            size = sig_width(amount)
            sign = self.sig(bit(amount, size - 1))
            # The magnitude of a negative amount is an unsigned number of one bit more at most.
            kind, total = word_type(size + 1), size + 1
            negated = self.masked(self.emit(f"sub {kind} 0, {self.sig(amount, total, signed=True)}"), total)
            left = self._shift_by_value("shl", value, negated, total, width)
            right = self.emit(f"select i1 {sign}, {word_type(width)} {left}, {word_type(width)} {right}")
        return self.masked(self.convert(right, width, node.width), node.width)

    def _shift_by_value(self, name: str, value: str, amount: str, own: int, width: int) -> str:
        kind = word_type(width)
        test = self.emit(f"icmp ult {word_type(own)} {amount}, {type_bits(width)}")
        count = self.convert(amount, own, width)
        safe = self.emit(f"select i1 {test}, {kind} {count}, {kind} 0")
        moved = self.emit(f"{name} {kind} {value}, {safe}")
        return self.emit(f"select i1 {test}, {kind} {moved}, {kind} 0")

    def op_reduce_or(self, node: Node) -> str:
        return self.convert(self.boolean(node.ins[0]), 1, node.width)

    def op_logic_not(self, node: Node) -> str:
        return self.convert(self.emit(f"xor i1 {self.boolean(node.ins[0])}, 1"), 1, node.width)

    def op_logic_and(self, node: Node) -> str:
        a, b = (self.boolean(sig) for sig in node.ins)
        return self.convert(self.emit(f"and i1 {a}, {b}"), 1, node.width)

    def op_logic_or(self, node: Node) -> str:
        a, b = (self.boolean(sig) for sig in node.ins)
        return self.convert(self.emit(f"or i1 {a}, {b}"), 1, node.width)

    def op_reduce_and(self, node: Node) -> str:
        sig = node.ins[0]
        return self.convert(self.equals(sig, ones(sig_width(sig))), 1, node.width)

    def op_reduce_xor(self, node: Node) -> str:
        width = sig_width(node.ins[0])
        value = self.sig(node.ins[0])
        if width > 1:
            kind = word_type(width)
            count = self.emit(f"call {kind} @llvm.ctpop.{kind}({kind} {value})")
            value = self.emit(f"trunc {kind} {count} to i1")
        return self.convert(value, 1, node.width)

    def op_reduce_xnor(self, node: Node) -> str:
        inverse = self.op_reduce_xor(Node("reduce_xor", 1, node.ins))
        return self.convert(self.emit(f"xor i1 {inverse}, 1"), 1, node.width)

    def select(self, test: str, one: str, zero: str, width: int) -> str:
        return self.emit(f"select i1 {test}, {word_type(width)} {one}, {word_type(width)} {zero}")

    def op_mux(self, node: Node) -> str:
        zero, one, test = node.ins
        return self.select(self.sig(test), self.sig(one), self.sig(zero), node.width)

    def op_pmux(self, node: Node) -> str:
        default, *cases, select = node.ins
        value = self.sig(default)
        for index, case in enumerate(cases):
            value = self.select(self.sig(bit(select, index)), self.sig(case), value, node.width)
        return value

    def op_bmux(self, node: Node) -> str:
        *cases, select = node.ins
        values = [self.sig(case) for case in cases]
        for level in range(sig_width(select)):
            test = self.sig(bit(select, level))
            values = [self.select(test, values[i + 1], values[i], node.width) for i in range(0, len(values), 2)]
        return values[0]


def cut(sig: Sig, width: int) -> Sig:
    """The low ``width`` bits of a signal."""
    chunks: list[Chunk] = []
    for chunk in sig:
        if width <= 0:
            break
        if chunk.bits <= width:
            chunks.append(chunk)
        elif chunk.node < 0:
            chunks.append(Chunk(-1, chunk.offset & ones(width), width))
        elif chunk.repeat > 1:
            chunks.append(chunk._replace(repeat=width))
        else:
            chunks.append(chunk._replace(width=width))
        width -= chunk.bits
    return tuple(chunks)


def bit(sig: Sig, index: int) -> Sig:
    """One bit of a signal."""
    for chunk in sig:
        if index < chunk.bits:
            if chunk.node < 0:
                return (Chunk(-1, chunk.offset >> index & 1, 1),)
            return (Chunk(chunk.node, chunk.offset + (0 if chunk.repeat > 1 else index), 1),)
        index -= chunk.bits
    raise IndexError(index)
