"""Expressions of the subset."""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable
from typing import Any

from vmm.lowering.calls import Calls
from vmm.lowering.code import Block
from vmm.lowering.types import BOOL, INT, NOTHING, Enumeration, List, Maybe, Product, Static, Type, Value

_FOLDABLE = (ast.Name, ast.Attribute, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Tuple, ast.operator, ast.unaryop,
             ast.expr_context, ast.Call, ast.Compare, ast.cmpop)
_FOLDABLE_CALLS = (int, bool, len, range, tuple, min, max)
_ARITHMETIC: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("add", operator.add), ast.Sub: ("sub", operator.sub), ast.Mult: ("mul", operator.mul),
    ast.BitAnd: ("and", operator.and_), ast.BitOr: ("or", operator.or_), ast.BitXor: ("xor", operator.xor),
    ast.LShift: ("shl", operator.lshift), ast.RShift: ("ashr", operator.rshift),
    ast.FloorDiv: ("sdiv", operator.floordiv), ast.Mod: ("srem", operator.mod),
}
_COMPARISONS: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Eq: ("eq", operator.eq), ast.NotEq: ("ne", operator.ne), ast.Lt: ("slt", operator.lt),
    ast.LtE: ("sle", operator.le), ast.Gt: ("sgt", operator.gt), ast.GtE: ("sge", operator.ge),
    ast.Is: ("eq", operator.is_), ast.IsNot: ("ne", operator.is_not),
}


class Expressions(Calls):
    """Lowering of expressions to values."""

    #: Names that are local to the function; all others are constants.
    locals: frozenset[str]

    def static(self, node: ast.expr) -> Value | None:
        """The value of an expression over globals alone, None if it is not one."""
        for part in ast.walk(node):
            if not isinstance(part, _FOLDABLE) or isinstance(part, ast.Name) and part.id in self.locals:
                return None
            if isinstance(part, ast.Call):
                callee = part.func
                if not isinstance(callee, ast.Name) or callee.id in self.locals \
                        or self._global(callee) not in _FOLDABLE_CALLS:
                    return None
        scope = self.function.__globals__  # type: ignore[attr-defined]
        try:
            return self.constant(eval(compile(ast.Expression(node), "<constant>", "eval"), scope))
        except NameError as error:
            self.fail(node, str(error))

    def _global(self, node: ast.Name) -> Any:
        scope = self.function.__globals__  # type: ignore[attr-defined]
        return scope.get(node.id, getattr(builtins, node.id, None))

    def expression(self, node: ast.expr) -> Value:
        if isinstance(node, ast.Name) and node.id in self.locals:
            return self.read_name(node)
        found = self.static(node)
        if found is not None:
            return found
        match node:
            case ast.Attribute():
                return self.read_attribute(self.expression(node.value), node.attr, node)
            case ast.Subscript(slice=ast.Slice() as piece):
                return self.slice(self.expression(node.value), piece)
            case ast.Subscript():
                return self.read_item(self.expression(node.value), self.expression(node.slice), node)
            case ast.BinOp():
                return self.binary(node.op, self.expression(node.left), self.expression(node.right), node)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BoolOp():
                return self._logic(node, self.expression)
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp():
                return self._choose(node)
            case ast.Call():
                return self.call(node)
            case ast.Tuple():
                values = self._display(node)
                if any(isinstance(value.type, List) and isinstance(item, ast.Starred)
                       for item, value in zip(node.elts, values, strict=True)):
                    return self.list_display(node, values)
                return self.product(self.flattened(node, values))
            case ast.List():
                return self.list_display(node, self._display(node))
            case ast.ListComp():
                return self.comprehension(node)
        self.fail(node, f"{type(node).__name__} is not in the subset")

    def comprehension(self, node: ast.ListComp) -> Value:
        raise AssertionError

    def _display(self, node: ast.List | ast.Tuple) -> list[Value]:
        return [self.expression(item.value if isinstance(item, ast.Starred) else item) for item in node.elts]

    def condition(self, node: ast.expr) -> Value:
        """An expression for its truth."""
        if isinstance(node, ast.BoolOp) and self.static(node) is None:
            return self._logic(node, self.condition)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.invert(self.condition(node.operand))
        return self.truth(self.expression(node), node)

    # operators

    def binary(self, symbol: ast.operator, left: Value, right: Value, node: ast.AST) -> Value:
        if type(symbol) not in _ARITHMETIC:
            self.fail(node, f"operator {type(symbol).__name__} is not in the subset")
        instruction, fold = _ARITHMETIC[type(symbol)]
        if left.known and right.known:
            return self.constant(fold(left.const, right.const))
        if left.type == right.type == BOOL and instruction in ("and", "or", "xor"):
            return Value(BOOL, (self.code.op(f"{instruction} i1 {left.leaves[0]}, {right.leaves[0]}"),))
        one, other = self.convert(left, INT, node).leaves[0], self.convert(right, INT, node).leaves[0]
        match instruction:
            case "shl" | "ashr":
                return Value(INT, (self._shift(instruction, one, other),))
            case "sdiv" | "srem":
                return Value(INT, (self._divide(instruction, one, other),))
        return Value(INT, (self.code.op(f"{instruction} i64 {one}, {other}"),))

    def _shift(self, instruction: str, value: str, count: str) -> str:
        """Shifts by any count, as Python's; a left shift by 64 or more leaves nothing of 64 bits."""
        if instruction == "ashr":
            limited = self.code.op(f"call i64 @llvm.umin.i64(i64 {count}, i64 63)")
            return self.code.op(f"ashr i64 {value}, {limited}")
        limited = self.code.op(f"and i64 {count}, 63")
        shifted = self.code.op(f"shl i64 {value}, {limited}")
        fits = self.code.op(f"icmp ult i64 {count}, 64")
        return self.code.op(f"select i1 {fits}, i64 {shifted}, i64 0")

    def _divide(self, instruction: str, value: str, by: str) -> str:
        """Division rounds down, and the remainder has the sign of the divisor."""
        quotient, rest = self.code.op(f"sdiv i64 {value}, {by}"), self.code.op(f"srem i64 {value}, {by}")
        left = self.code.op(f"icmp ne i64 {rest}, 0")
        opposed = self.code.op(f"icmp slt i64 {self.code.op(f'xor i64 {rest}, {by}')}, 0")
        adjust = self.code.op(f"and i1 {left}, {opposed}")
        if instruction == "sdiv":
            return self.code.op(f"sub i64 {quotient}, {self.code.op(f'zext i1 {adjust} to i64')}")
        return self.code.op(f"add i64 {rest}, {self.code.op(f'select i1 {adjust}, i64 {by}, i64 0')}")

    def _unary(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            return self.invert(self.condition(node.operand))
        value = self.expression(node.operand)
        if isinstance(node.op, ast.UAdd):
            return value
        number = self.convert(value, INT, node).leaves[0]
        if isinstance(node.op, ast.USub):
            return self.constant(-value.const) if value.known else Value(INT, (self.code.op(f"sub i64 0, {number}"),))
        return self.constant(~value.const) if value.known else Value(INT, (self.code.op(f"xor i64 {number}, -1"),))

    # comparisons

    def _compare(self, node: ast.Compare) -> Value:
        left = self.expression(node.left)
        result: Value | None = None
        for symbol, operand in zip(node.ops, node.comparators, strict=True):
            right = self.expression(operand)
            test = self._one_comparison(symbol, left, right, node)
            if result is None:
                result = test
            elif result.known and test.known:
                result = self.constant(result.const and test.const)
            else:
                result = Value(BOOL, (self.code.op(f"and i1 {result.leaves[0]}, {test.leaves[0]}"),))
            left = right
        assert result is not None
        return result

    def _one_comparison(self, symbol: ast.cmpop, left: Value, right: Value, node: ast.AST) -> Value:
        if isinstance(symbol, ast.In):
            return self._contains(left, right, node)
        if isinstance(symbol, ast.NotIn):
            return self.invert(self._contains(left, right, node))
        instruction, fold = _COMPARISONS[type(symbol)]
        if right.type == NOTHING and isinstance(symbol, (ast.Is, ast.IsNot)):
            return self._is_none(left, isinstance(symbol, ast.Is))
        if left.known and right.known:
            return self.constant(fold(left.const, right.const))
        if isinstance(left.type, Enumeration) and left.type == right.type:
            return Value(BOOL, (self.code.op(f"icmp {instruction} i64 {left.leaves[0]}, {right.leaves[0]}"),))
        if isinstance(symbol, (ast.Is, ast.IsNot)):
            self.fail(node, f"identity of {left.type} is not known")
        one, other = self.convert(left, INT, node).leaves[0], self.convert(right, INT, node).leaves[0]
        return Value(BOOL, (self.code.op(f"icmp {instruction} i64 {one}, {other}"),))

    def _is_none(self, value: Value, wanted: bool) -> Value:
        if isinstance(value.type, Maybe):
            present = Value(BOOL, (value.leaves[-1],))
            return self.invert(present) if wanted else present
        return self.constant((value.type == NOTHING) is wanted)

    def _contains(self, value: Value, container: Value, node: ast.AST) -> Value:
        result: Value = self.constant(False)
        for item in self.items(container, node):
            test = self._one_comparison(ast.Eq(), value, item, node)
            if test.known:
                if test.const:
                    return test
            elif result.known:
                result = test
            else:
                result = Value(BOOL, (self.code.op(f"or i1 {result.leaves[0]}, {test.leaves[0]}"),))
        return result

    # alternatives

    def merge(self, arms: list[tuple[Block, Value]], node: ast.AST) -> Value:
        """The value of whichever block control comes from."""
        if len(arms) == 1:
            self.code.current = arms[0][0]
            return arms[0][1]
        kind: Type = self._general(arms[0][1])
        for _, value in arms[1:]:
            kind = self.join(kind, self._general(value), node)
        slots = [self.code.slot(leaf) for leaf in kind.leaves]
        after = self.code.block("merged")
        for block, value in arms:
            self.code.current = block
            converted = self.convert(value, kind, node)
            for leaf_kind, slot, leaf in zip(kind.leaves, slots, converted.leaves, strict=True):
                self.code.store(leaf_kind, leaf, slot)
            self.code.jump(after)
        self.code.start(after)
        return Value(kind, tuple(self.code.load(leaf, slot) for leaf, slot in zip(kind.leaves, slots, strict=True)))

    def _general(self, value: Value) -> Type:
        """The type of a value that another may replace: a constant tuple is just a tuple, and so on."""
        if isinstance(value.type, Static) and isinstance(value.const, tuple):
            return Product(tuple(self.constant(item).type for item in value.const))
        return value.type

    def _logic(self, node: ast.BoolOp, lower: Callable[[ast.expr], Value]) -> Value:
        """`and` and `or`: the first operand that decides."""
        stop_at = isinstance(node.op, ast.Or)
        arms: list[tuple[Block, Value]] = []
        for number, operand in enumerate(node.values):
            value = lower(operand)
            last = number == len(node.values) - 1
            truth = self.truth(value, node)
            if truth.known and not last:
                if truth.const is not stop_at:
                    continue
                last = True
            if last:
                arms.append((self.code.current, value))
                break
            arm, going_on = self.code.block("decided"), self.code.block("next")
            self.code.branch(truth.leaves[0], *((arm, going_on) if stop_at else (going_on, arm)))
            arms.append((self.code.start(arm), value))
            self.code.start(going_on)
        return self.merge(arms, node)

    def _choose(self, node: ast.IfExp) -> Value:
        test = self.condition(node.test)
        if test.known:
            return self.expression(node.body if test.const else node.orelse)
        yes, no = self.code.block("yes"), self.code.block("no")
        self.code.branch(test.leaves[0], yes, no)
        self.code.start(yes)
        one = self.expression(node.body)
        ends = self.code.current
        self.code.start(no)
        other = self.expression(node.orelse)
        if isinstance(one.type, List) and isinstance(other.type, (Product, Static)):
            other = self.convert(other, one.type, node)
        return self.merge([(ends, one), (self.code.current, other)], node)
