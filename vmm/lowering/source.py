"""Where functions of the subset come from: their syntax trees, and the types their annotations give."""

from __future__ import annotations

import ast
import contextlib
import ctypes
import dataclasses
import enum
import functools
import inspect
import threading
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vmm.faults import Fault
from vmm.lowering.types import (
    BOOL,
    INT,
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
)

_PARSING, _ATTEMPTS = threading.Lock(), 20


class Unlowerable(Exception):
    """A routine leaves the subset; the message says where, as file:line, and how."""


def _parse(text: str) -> ast.Module:
    """Python up to 3.12 counts the depth of trees once for all threads: two that parse at a time disturb each other."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(SystemError), _PARSING:
            return ast.parse(text)
    return ast.parse(text)


@functools.cache
def _functions(path: str) -> dict[int, ast.FunctionDef]:
    """The functions of a file by the line their code object gives: the first decorator's, if there is one."""
    tree = _parse(Path(path).read_text())
    return {
        min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]): node
        for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    }


def definition(function: Callable[..., Any]) -> ast.FunctionDef:
    """The syntax tree of a function.

    Raises
    ------
    Unlowerable
        It has none: it is built in, or a lambda.
    """
    code = getattr(function, "__code__", None)
    if code is None:
        raise Unlowerable(f"{function!r} is not a Python function")
    node = _functions(code.co_filename).get(code.co_firstlineno)
    if node is None:
        raise Unlowerable(f"{place(function, code.co_firstlineno)}: no definition of {code.co_name} starts here")
    return node


def place(function: Callable[..., Any], line: int) -> str:
    return f"{function.__code__.co_filename}:{line}"


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter; `type` is None where the annotation names a protocol, which the argument decides."""

    name: str
    type: Type | None
    default: Any


@dataclasses.dataclass(frozen=True)
class Signature:
    parameters: tuple[Parameter, ...]
    result: Type


@functools.cache
def signature(function: Callable[..., Any]) -> Signature:
    """What the annotations of a function say; `self` comes first, without a type.

    Raises
    ------
    Unlowerable
        An annotation is missing or names a type that the subset does not have.
    """
    hints = typing.get_type_hints(function)
    parameters = []
    line = function.__code__.co_firstlineno
    for name, parameter in inspect.signature(function).parameters.items():
        if name != "self" and name not in hints:
            raise Unlowerable(f"{place(function, line)}: parameter {name} has no annotation")
        kind = None if name == "self" else annotated(hints[name])
        parameters.append(Parameter(name, kind, parameter.default))
    if "return" not in hints:
        raise Unlowerable(f"{place(function, line)}: {function.__qualname__} does not say what it returns")
    result = annotated(hints["return"])
    if result is None:
        raise Unlowerable(f"{place(function, line)}: {function.__qualname__} returns {hints['return']!r}")
    return Signature(tuple(parameters), result)


def annotated(hint: Any) -> Type | None:
    """The type of an annotation, None when only an argument can tell."""
    if hint is int or isinstance(hint, type) and issubclass(hint, int) and issubclass(hint, enum.Enum):
        return INT
    if hint is bool:
        return BOOL
    if hint is None or hint is type(None):
        return NOTHING
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union([annotated(argument) for argument in arguments])
    if origin is tuple:
        items = [annotated(argument) for argument in arguments]
        return None if None in items else Product(tuple(item for item in items if item is not None))
    if origin in (list, Sequence):
        of = annotated(arguments[0])
        return None if of is None else List(of)
    if not isinstance(hint, type):
        return None
    if issubclass(hint, Fault):
        return Event()
    if issubclass(hint, enum.Enum):
        return Enumeration(hint)
    if issubclass(hint, ctypes.Array):
        return Array(hint)
    if issubclass(hint, ctypes.Structure) or dataclasses.is_dataclass(hint):
        return Record(hint)
    return None


def _union(members: Sequence[Type | None]) -> Type | None:
    others = [member for member in members if member is not None and member != NOTHING]
    if None in members:
        return None
    if all(isinstance(member, Record) for member in others) and len(others) > 1:
        of: Type = Choice(tuple(member for member in others if isinstance(member, Record)))
    elif len(others) == 1:
        of = others[0]
    else:
        return None
    return Maybe(of) if NOTHING in members else of


def type_of_constant(value: Any) -> Type:
    """The type of a Python object known when compiling."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return INT
    if isinstance(value, enum.Enum):
        return Enumeration(type(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return Record(type(value))
    return Static()
