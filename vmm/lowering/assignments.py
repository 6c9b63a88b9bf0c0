"""Assignments: targets, annotated variables."""

from __future__ import annotations

import ast
from collections.abc import Callable

from vmm.lowering.expressions import Expressions
from vmm.lowering.places import Variable
from vmm.lowering.source import annotated
from vmm.lowering.types import Event, List, Maybe, Value


class Assignments(Expressions):
    """Storing of values where a statement says."""

    def assign(self, target: ast.expr, value: Value) -> None:
        if not isinstance(target, (ast.Tuple, ast.List)):
            self.target(target)[1](value)
            return
        if isinstance(value.type, Maybe):
            value = self.convert(value, value.type.of, target)
        if isinstance(value.type, List):
            parts = [self.list_item(value, str(number)) for number in range(len(target.elts))]
        else:
            parts = self.items(value, target)
        if len(parts) != len(target.elts):
            self.fail(target, f"{len(parts)} values for {len(target.elts)} targets")
        for part, element in zip(parts, target.elts, strict=True):
            self.assign(element, part)

    def target(self, target: ast.expr) -> tuple[Callable[[], Value], Callable[[Value], None]]:
        """How to read and to write a target; what it depends on is evaluated once, here."""
        match target:
            case ast.Name():
                return lambda: self.read_name(target), lambda value: self.write_name(target.id, value, target)
            case ast.Attribute(value=ast.Name(id=name)) if self._is_event(name):
                variable = self.names[name]
                assert isinstance(variable, Variable)
                return (lambda: self.read_attribute(self.read_variable(variable), target.attr, target),
                        lambda value: self.write_event_field(variable, target.attr, value, target))
            case ast.Attribute():
                base = self.expression(target.value)
                return (lambda: self.read_attribute(base, target.attr, target),
                        lambda value: self.write_attribute(base, target.attr, value, target))
            case ast.Subscript() if not isinstance(target.slice, ast.Slice):
                array, index = self.expression(target.value), self.expression(target.slice)
                return (lambda: self.read_item(array, index, target),
                        lambda value: self.write_item(array, index, value, target))
        self.fail(target, f"{type(target).__name__} cannot be assigned")

    def _is_event(self, name: str) -> bool:
        variable = self.names.get(name)
        return isinstance(variable, Variable) and variable.type == Event()

    def declaration(self, node: ast.AnnAssign) -> None:
        if not isinstance(node.target, ast.Name):
            self.fail(node, "only variables can be annotated")
        scope = self.function.__globals__  # type: ignore[attr-defined]
        kind = annotated(eval(compile(ast.Expression(node.annotation), "<annotation>", "eval"), scope))
        if kind is None:
            self.fail(node, "the annotation is no type of the subset")
        if node.target.id not in self.names:
            self.declare(node.target.id, kind)
        if node.value is not None:
            self.write_name(node.target.id, self.convert(self.expression(node.value), kind, node), node)
