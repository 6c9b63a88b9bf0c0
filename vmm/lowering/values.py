"""Conversions between types of the subset, and storage of values."""

from __future__ import annotations

import ast
import ctypes
import enum
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from vmm.lowering.binding import Module
from vmm.lowering.code import Code
from vmm.lowering.source import Unlowerable, place, type_of_constant
from vmm.lowering.types import (
    BOOL,
    CAPACITY,
    INT,
    NO_CONSTANT,
    NOTHING,
    Array,
    Choice,
    Enumeration,
    Event,
    List,
    Maybe,
    Product,
    Record,
    Static,
    Type,
    Value,
)


def wrapped(value: int) -> str:
    """An integer as i64 holds it."""
    return str((value + (1 << 63)) % (1 << 64) - (1 << 63))


class Values:
    """What every part of the lowering of one function does with values."""

    def __init__(self, program: Module, function: Callable[..., Any]):
        self.program = program
        self.function = function
        self.code = Code()

    def fail(self, node: ast.AST, what: str) -> NoReturn:
        raise Unlowerable(f"{place(self.function, getattr(node, 'lineno', 0))}: {what}")

    # constants

    def constant(self, value: Any) -> Value:
        """The value of a Python object known when compiling."""
        kind = type_of_constant(value)
        if kind == INT:
            return Value(kind, (wrapped(int(value)),), value)
        if kind == BOOL:
            return Value(kind, ("true" if value else "false",), value)
        if isinstance(kind, Enumeration):
            return Value(kind, (str(list(kind.cls).index(value)),), value)  # type: ignore[call-overload]
        if isinstance(kind, Record):
            cls = self.program.layouts.canonical(kind.cls)
            return Value(Record(cls), (self.program.constant_record(value),), value)
        return Value(kind, (), value)

    # truth

    def truth(self, value: Value, node: ast.AST) -> Value:
        """Python's truth of a value, as i1."""
        if value.known and not isinstance(value.type, Record):
            return self.constant(bool(value.const))
        if value.type == BOOL:
            return value
        if value.type == INT:
            return Value(BOOL, (self.code.op(f"icmp ne i64 {value.leaves[0]}, 0"),))
        if isinstance(value.type, List):
            return Value(BOOL, (self.code.op(f"icmp ne i64 {self.length(value).leaves[0]}, 0"),))
        self.fail(node, f"a value of {value.type} is neither true nor false")

    def invert(self, value: Value) -> Value:
        if value.known:
            return self.constant(not value.const)
        return Value(BOOL, (self.code.op(f"xor i1 {value.leaves[0]}, true"),))

    # conversions

    def join(self, one: Type, other: Type, node: ast.AST) -> Type:
        """The type that holds values of both."""
        if one == other:
            return one
        if {one, other} == {INT, BOOL}:
            return INT
        if one == NOTHING or other == NOTHING:
            rest = other if one == NOTHING else one
            return rest if isinstance(rest, Maybe) else Maybe(rest)
        if isinstance(one, Maybe) or isinstance(other, Maybe):
            inner = [kind.of if isinstance(kind, Maybe) else kind for kind in (one, other)]
            return Maybe(self.join(inner[0], inner[1], node))
        if isinstance(one, Product) and isinstance(other, Product) and len(one.items) == len(other.items):
            return Product(tuple(self.join(a, b, node) for a, b in zip(one.items, other.items, strict=True)))
        self.fail(node, f"no type holds both {one} and {other}")

    def convert(self, value: Value, wanted: Type, node: ast.AST) -> Value:
        """A value as one of another type. An optional value becomes a plain one: the routine has ruled None out."""
        have = value.type
        if have == wanted or isinstance(have, Record) and isinstance(wanted, Record) and self.same(have, wanted):
            return Value(wanted, value.leaves, value.const)
        if wanted == INT and have == BOOL:
            return Value(INT, (self.code.op(f"zext i1 {value.leaves[0]} to i64"),), value.const)
        if isinstance(wanted, Maybe):
            if have == NOTHING:
                return Value(wanted, (*self.blank(wanted.of), "false"))
            if isinstance(have, Maybe):
                inner = self.convert(Value(have.of, value.leaves[:-1]), wanted.of, node)
                return Value(wanted, (*inner.leaves, value.leaves[-1]))
            return Value(wanted, (*self.convert(value, wanted.of, node).leaves, "true"))
        if isinstance(have, Maybe):
            return self.convert(Value(have.of, value.leaves[:-1]), wanted, node)
        if isinstance(wanted, Choice) and isinstance(have, Record):
            for index, member in enumerate(wanted.members):
                if self.same(member, have):
                    pointers = [value.leaves[0] if member is other else self.blank(other)[0]
                                for other in wanted.members]
                    return Value(wanted, (str(index), *pointers))
        if isinstance(have, Choice) and isinstance(wanted, Record):
            for index, member in enumerate(have.members):
                if self.same(member, wanted):
                    return Value(wanted, (value.leaves[1 + index],))
        if isinstance(wanted, List) and (isinstance(have, Product) or isinstance(have, Static)):
            return self.list_of(self.items(value, node), wanted.of, node)
        if isinstance(have, Static) and isinstance(wanted, Product):
            value = self.product(self.items(value, node))
            have = value.type
        if isinstance(have, Product) and isinstance(wanted, Product) and len(have.items) == len(wanted.items):
            parts = [self.convert(part, kind, node)
                     for part, kind in zip(self.items(value, node), wanted.items, strict=True)]
            return Value(wanted, tuple(leaf for part in parts for leaf in part.leaves))
        self.fail(node, f"{have} where {wanted} is wanted")

    def same(self, one: Record, other: Record) -> bool:
        canonical = self.program.layouts.canonical
        return canonical(one.cls) is canonical(other.cls)

    def blank(self, kind: Type) -> tuple[str, ...]:
        """Leaves that hold nothing in particular; pointers among them lead to storage all the same."""
        stored = iter(kind.stored)
        return tuple(self.storage(next(stored)) if leaf == "ptr" else "0" if leaf != "i1" else "false"
                     for leaf in kind.leaves)

    def storage(self, kind: Type) -> str:
        """Room on the stack for what a pointer of a type leads to."""
        return self.code.slot(f"[{self.size(kind)} x i8]")

    def size(self, kind: Type) -> int:
        if isinstance(kind, List):
            return 8 + 8 * kind.words * CAPACITY
        assert isinstance(kind, Record)
        return self.program.layouts.size(kind.cls)

    # tuples

    def product(self, items: Sequence[Value]) -> Value:
        constant = tuple(item.const for item in items) if all(item.known for item in items) else NO_CONSTANT
        return Value(Product(tuple(item.type for item in items)),
                     tuple(leaf for item in items for leaf in item.leaves), constant)

    def items(self, value: Value, node: ast.AST) -> list[Value]:
        """The items of a value whose length is known when compiling."""
        kind = value.type
        if value.known and not isinstance(kind, Product):
            if isinstance(value.const, (tuple, list, range, frozenset)) or isinstance(value.const, enum.EnumMeta):
                return [self.constant(item) for item in value.const]
        if isinstance(kind, Product):
            result, place = [], 0
            for number, item in enumerate(kind.items):
                count = len(item.leaves)
                constant = value.const[number] if value.known else NO_CONSTANT
                result.append(Value(item, value.leaves[place:place + count], constant))
                place += count
            return result
        if isinstance(kind, Array):
            return [self.element(value, self.constant(number)) for number in range(kind.ctype._length_)]
        if isinstance(kind, Event):
            self.fail(node, "a fault is no tuple")
        self.fail(node, f"{kind} has no items known when compiling")

    # memory

    def load_field(self, place: str, ctype: Any) -> Value:
        """What a field holds; the field itself, by reference, when it is a structure or an array."""
        if issubclass(ctype, ctypes.Structure):
            return Value(Record(self.program.layouts.canonical(ctype)), (place,))
        if issubclass(ctype, ctypes.Array):
            return Value(Array(ctype), (place,))
        bits = 8 * ctypes.sizeof(ctype)
        raw = self.code.load(f"i{bits}", place)
        if ctype is ctypes.c_bool:
            return Value(BOOL, (self.code.op(f"icmp ne i8 {raw}, 0"),))
        if bits < 64:
            signed = ctype in (ctypes.c_int8, ctypes.c_int16, ctypes.c_int32)
            raw = self.code.op(f"{'sext' if signed else 'zext'} i{bits} {raw} to i64")
        return Value(INT, (raw,))

    def store_field(self, place: str, ctype: Any, value: Value, node: ast.AST) -> None:
        if issubclass(ctype, (ctypes.Structure, ctypes.Array)):
            self.fail(node, "a structure inside a record cannot be replaced, only filled")
        if isinstance(value.type, Enumeration):
            value = Value(INT, value.leaves)
        if ctype is ctypes.c_bool:
            truth = self.truth(value, node)
            self.code.store("i8", self.code.op(f"zext i1 {truth.leaves[0]} to i8"), place)
            return
        bits = 8 * ctypes.sizeof(ctype)
        raw = self.convert(value, INT, node).leaves[0]
        if bits < 64:
            raw = self.code.op(f"trunc i64 {raw} to i{bits}")
        self.code.store(f"i{bits}", raw, place)

    def element(self, array: Value, index: Value) -> Value:
        assert isinstance(array.type, Array)
        ctype = array.type.ctype._type_
        return self.load_field(self.element_place(array, index), ctype)

    def element_place(self, array: Value, index: Value) -> str:
        assert isinstance(array.type, Array)
        size = ctypes.sizeof(array.type.ctype._type_)
        return self.code.op(f"getelementptr [{size} x i8], ptr {array.leaves[0]}, i64 {index.leaves[0]}")

    # lists, in lists.py

    def length(self, value: Value) -> Value:
        raise AssertionError

    def list_of(self, items: Sequence[Value], of: Type, node: ast.AST) -> Value:
        raise AssertionError
