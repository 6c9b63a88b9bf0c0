"""Names, attributes and subscripts: where values of a routine live, to be read and written."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vmm.lowering.layout import Field, field
from vmm.lowering.lists import Lists
from vmm.lowering.types import (
    INT,
    Array,
    Choice,
    Event,
    List,
    Maybe,
    Object,
    Record,
    Static,
    Type,
    Value,
)

_EVENT_FIELDS: dict[str, tuple[int, int, Type]] = {
    "vector": (0, 1, INT), "error": (1, 3, Maybe(INT)), "cr2": (3, 5, Maybe(INT))}


@dataclass
class Variable:
    """A local variable: a stack slot for each leaf."""

    type: Type
    slots: tuple[str, ...]


class Places(Lists):
    """Reading and writing of everything that can stand on the left of an assignment."""

    def expression(self, node: ast.expr) -> Value:
        raise AssertionError

    def invoke(self, function: Callable[..., Any], arguments: list[Value], keywords: dict[str, Value],
               node: ast.AST) -> Value:
        raise AssertionError

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.names: dict[str, Variable | Value] = {}

    # names

    def read_name(self, node: ast.Name) -> Value:
        found = self.names.get(node.id)
        if isinstance(found, Value):
            return found
        if found is None:
            self.fail(node, f"{node.id} has no value here")
        return self.read_variable(found)

    def read_variable(self, variable: Variable) -> Value:
        return Value(variable.type, tuple(
            self.code.load(kind, slot) for kind, slot in zip(variable.type.leaves, variable.slots, strict=True)))

    def declare(self, name: str, kind: Type) -> Variable:
        variable = Variable(kind, tuple(self.code.slot(leaf) for leaf in kind.leaves))
        self.names[name] = variable
        return variable

    def write_name(self, name: str, value: Value, node: ast.AST) -> None:
        """Assign to a variable. The first assignment decides its type."""
        variable = self.names.get(name)
        if isinstance(variable, Value):
            self.fail(node, f"{name} is known when compiling and cannot be assigned")
        if variable is None and isinstance(value.type, (Static, Object)):
            self.names[name] = value
            return
        if variable is None:
            variable = self.declare(name, value.type)
        converted = self.convert(value, variable.type, node)
        for kind, slot, leaf in zip(variable.type.leaves, variable.slots, converted.leaves, strict=True):
            self.code.store(kind, leaf, slot)

    # attributes

    def read_attribute(self, base: Value, name: str, node: ast.AST) -> Value:
        kind = base.type
        if isinstance(kind, Maybe):
            return self.read_attribute(self.convert(base, kind.of, node), name, node)
        if isinstance(kind, Static):
            return self.constant(getattr(base.const, name))
        if isinstance(kind, Event):
            first, end, of = self._event_field(name, node)
            return Value(of, base.leaves[first:end])
        if isinstance(kind, Choice):
            return self.read_attribute(self._member_with(base, name, node), name, node)
        if isinstance(kind, Record):
            found = self.program.layouts.field(kind.cls, name)
            if found is not None:
                return self.load_field(self.code.at(base.leaves[0], found.offset), found.ctype)
            return self._computed(base, kind.cls, name, node)
        if isinstance(kind, Object):
            return self._read_object(base, kind, name, node)
        self.fail(node, f"{kind} has no attribute {name}")

    def _read_object(self, base: Value, kind: Object, name: str, node: ast.AST) -> Value:
        path = f"{kind.name}.{name}" if kind.name else name
        binding = self.program.binding
        if path in binding.constants:
            return self.constant(binding.constants[path])
        found = self._object_field(kind, name)
        if found is not None:
            return self.load_field(self.code.at("%ctx", found.offset), found.ctype)
        if name in binding.objects:
            return Value(Object(name, binding.objects[name]))
        if inspect.getattr_static(kind.cls, name, None) is not None:
            return self._computed(base, kind.cls, name, node)
        self.fail(node, f"{kind.cls.__qualname__}.{name} is neither a constant, a field of the context nor an object")

    def _object_field(self, kind: Object, name: str) -> Field | None:
        """Fields of all objects share the context; `fields` tells which one an attribute is if not its namesake."""
        path = f"{kind.name}.{name}" if kind.name else name
        binding = self.program.binding
        if path in binding.fields:
            return field(binding.context, binding.fields[path])
        return None if name in binding.objects else field(binding.context, name)

    def _computed(self, base: Value, cls: type, name: str, node: ast.AST) -> Value:
        """A property, or a constant of the class."""
        found = inspect.getattr_static(cls, name, None)
        if isinstance(found, property):
            assert found.fget is not None
            return self.invoke(found.fget, [base], {}, node)
        if isinstance(found, (int, tuple)):
            return self.constant(found)
        self.fail(node, f"{cls.__qualname__} has no field {name}")

    def write_attribute(self, base: Value, name: str, value: Value, node: ast.AST) -> None:
        kind = base.type
        if isinstance(kind, Maybe):
            self.write_attribute(self.convert(base, kind.of, node), name, value, node)
            return
        found: Field | None = None
        place = "%ctx"
        if isinstance(kind, Object):
            path = f"{kind.name}.{name}" if kind.name else name
            if path in self.program.binding.ignored:
                return
            if path not in self.program.binding.constants:
                found = self._object_field(kind, name)
        elif isinstance(kind, Record):
            place = base.leaves[0]
            found = self.program.layouts.field(kind.cls, name)
        else:
            self.fail(node, f"{kind} has no attribute {name} to assign")
        if found is not None:
            self.store_field(self.code.at(place, found.offset), found.ctype, value, node)
            return
        setter = inspect.getattr_static(kind.cls, name, None)
        if not isinstance(setter, property) or setter.fset is None:
            self.fail(node, f"{kind.cls.__qualname__}.{name} is no field that can be assigned")
        self.invoke(setter.fset, [base, value], {}, node)

    def write_event_field(self, variable: Variable, name: str, value: Value, node: ast.AST) -> None:
        """Change a caught fault in place."""
        first, end, of = self._event_field(name, node)
        leaves = self.convert(value, of, node).leaves
        for kind, slot, leaf in zip(of.leaves, variable.slots[first:end], leaves, strict=True):
            self.code.store(kind, leaf, slot)

    def _event_field(self, name: str, node: ast.AST) -> tuple[int, int, Type]:
        if name not in _EVENT_FIELDS:
            self.fail(node, f"a fault has no {name}")
        return _EVENT_FIELDS[name]

    def _member_with(self, base: Value, name: str, node: ast.AST) -> Value:
        assert isinstance(base.type, Choice)
        having = [member for member in base.type.members
                  if self.program.layouts.field(member.cls, name) is not None or hasattr(member.cls, name)]
        if len(having) != 1:
            self.fail(node, f"{len(having)} of the alternatives have {name}, not one")
        return self.convert(base, having[0], node)

    # subscripts

    def read_item(self, base: Value, index: Value, node: ast.AST) -> Value:
        kind = base.type
        if isinstance(kind, Maybe):
            return self.read_item(self.convert(base, kind.of, node), index, node)
        if isinstance(kind, Array):
            return self.element(base, self.convert(index, INT, node))
        if isinstance(kind, List):
            return self.list_item(base, self.convert(index, INT, node).leaves[0])
        if base.known and index.known:
            return self.constant(base.const[index.const])
        if index.known:
            return self.items(base, node)[index.const]
        if base.known:
            return self._table_item(base, self.convert(index, INT, node), node)
        self.fail(node, f"the index of {kind} must be known when compiling")

    def _table_item(self, base: Value, index: Value, node: ast.AST) -> Value:
        """An item of a constant tuple."""
        items = self.items(base, node)
        of = items[0].type
        if any(item.type != of for item in items) or len(of.leaves) != 1:
            self.fail(node, "a table must hold values of one simple type")
        kind = of.leaves[0]
        table = self.program.constant_table(kind, [item.leaves[0] for item in items])
        place = self.code.op(f"getelementptr {kind}, ptr {table}, i64 {index.leaves[0]}")
        return Value(of, (self.code.load(kind, place),))

    def write_item(self, base: Value, index: Value, value: Value, node: ast.AST) -> None:
        if not isinstance(base.type, Array):
            self.fail(node, f"items of {base.type} cannot be assigned")
        place = self.element_place(base, self.convert(index, INT, node))
        self.store_field(place, base.type.ctype._type_, value, node)

    def slice(self, base: Value, node: ast.Slice) -> Value:
        """`[::-1]` of a list, or a piece of what has a length known when compiling."""
        bounds = [None if part is None else self.expression(part) for part in (node.lower, node.upper, node.step)]
        if any(part is not None and not part.known for part in bounds):
            self.fail(node, "the bounds of a slice must be known when compiling")
        which = slice(*(None if part is None else part.const for part in bounds))
        if isinstance(base.type, List):
            if which != slice(None, None, -1):
                self.fail(node, "of slices, lists have [::-1] alone")
            return self.reverse(base, node)
        return self.product(self.items(base, node)[which])


