"""Calls: of other routines, constructors, the few builtins of the subset; failure of a routine and its propagation."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
from collections.abc import Callable
from typing import Any

from vmm.faults import Fault, Unsupported
from vmm.lowering.code import Block
from vmm.lowering.intrinsics import Bail, host_read, host_write
from vmm.lowering.places import Places
from vmm.lowering.source import signature
from vmm.lowering.types import BOOL, INT, NONE, Choice, Event, List, Maybe, Object, Record, Type, Value

OK, FAULT, BAIL = 0, 1, 2
_FAULT_FIELDS = ("fault_vector", "fault_error", "fault_has_error", "fault_cr2", "fault_has_cr2")


class Calls(Places):
    """Every call, and every way in which a routine can end early."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.handlers: list[Block] = []
        self.failure = self.code.block("fail")
        self.status = self.code.slot("i32")
        self.may_fail = False

    # failure

    def end(self, status: int | str) -> None:
        """Leave the routine with a status that is not OK."""
        self.may_fail = True
        self.code.store("i32", str(status), self.status)
        self.code.jump(self.failure)

    def bail_unless(self, condition: str) -> None:
        good, bad = self.code.block("fits"), self.code.block("bail")
        self.code.branch(condition, good, bad)
        self.code.start(bad)
        self.end(BAIL)
        self.code.start(good)

    def throw(self, event: Value, node: ast.AST) -> None:
        """Raise a fault: to the handler around, else to the caller."""
        for name, part, wanted in zip(_FAULT_FIELDS, event.leaves, Event().leaves, strict=True):
            found = self.program.context_field(name)
            if found is None:
                self.fail(node, f"the context has no {name}, so nothing can be raised")
            kind: Type = BOOL if wanted == "i1" else INT
            self.store_field(self.code.at("%ctx", found.offset), found.ctype, Value(kind, (part,)), node)
        if self.handlers:
            self.code.jump(self.handlers[-1])
        else:
            self.end(FAULT)

    def caught(self) -> Value:
        """The pending fault."""
        leaves: list[str] = []
        for name, kind in zip(_FAULT_FIELDS, Event().leaves, strict=True):
            found = self.program.context_field(name)
            assert found is not None
            value = self.load_field(self.code.at("%ctx", found.offset), found.ctype)
            if kind == "i1" and value.type == INT:
                value = Value(BOOL, (self.code.op(f"icmp ne i64 {value.leaves[0]}, 0"),))
            leaves += value.leaves
        return Value(Event(), tuple(leaves))

    def _check(self, status: str) -> None:
        """Go on if a callee succeeded."""
        good, bad = self.code.block("went"), self.code.block("failed")
        self.code.branch(self.code.op(f"icmp eq i32 {status}, {OK}"), good, bad)
        self.code.start(bad)
        if self.handlers:
            out = self.code.block("out")
            self.code.branch(self.code.op(f"icmp eq i32 {status}, {FAULT}"), self.handlers[-1], out)
            self.code.start(out)
        self.end(status)
        self.code.start(good)

    # calls of routines

    def invoke(self, function: Callable[..., Any], arguments: list[Value], keywords: dict[str, Value],
               node: ast.AST) -> Value:
        """Call a Python function, lowered on the way if it is not yet."""
        declared = signature(function)
        given = self.arrange(declared.parameters, arguments, keywords, node)
        actual: list[Value] = []
        free: list[Type] = []
        for parameter, value in zip(declared.parameters, given, strict=True):
            if parameter.type is None:
                free.append(value.type)
                actual.append(value)
            else:
                actual.append(self.convert(value, parameter.type, node))
        routine = self.program.routine(function, tuple(free))
        passed = [f"{kind} {leaf}" for value in actual
                  for kind, leaf in zip(value.type.leaves, value.leaves, strict=True)]
        stored = [self.storage(kind) for kind in declared.result.stored]
        text = ", ".join(["ptr %ctx", *passed, *(f"ptr {place}" for place in stored)])
        kinds = routine.returned
        if not kinds:
            self.code.do(f"call {routine.convention} void {routine.symbol}({text})")
            return self._composed(declared.result, [], stored)
        whole = "{ " + ", ".join(kinds) + " }"
        answer = self.code.op(f"call {routine.convention} {whole} {routine.symbol}({text})")
        parts = [self.code.op(f"extractvalue {whole} {answer}, {number}") for number in range(len(kinds))]
        if routine.may_fail:
            self._check(parts.pop(0))
        return self._composed(declared.result, parts, stored)

    @staticmethod
    def _composed(kind: Type, scalars: list[str], stored: list[str]) -> Value:
        left, places = iter(scalars), iter(stored)
        return Value(kind, tuple(next(places) if leaf == "ptr" else next(left) for leaf in kind.leaves),
                     *((None,) if kind == NONE.type else ()))

    def arrange(self, parameters: Any, arguments: list[Value], keywords: dict[str, Value],
                node: ast.AST) -> list[Value]:
        """Arguments in the order of the parameters, defaults filled in."""
        if len(arguments) > len(parameters):
            self.fail(node, f"{len(arguments)} arguments for {len(parameters)} parameters")
        given = list(arguments)
        for parameter in parameters[len(arguments):]:
            if parameter.name in keywords:
                given.append(keywords[parameter.name])
            elif parameter.default is inspect.Parameter.empty:
                self.fail(node, f"no argument for {parameter.name}")
            else:
                given.append(self.constant(parameter.default))
        return given

    # anything that is called

    def call(self, node: ast.Call) -> Value:
        target = node.func
        known = self.static(target)
        arguments: list[Value]
        if known is None and isinstance(target, ast.Attribute):
            if isinstance(target.value, ast.Call) and isinstance(target.value.func, ast.Name) \
                    and target.value.func.id == "super":
                base = self.expression(ast.copy_location(ast.Name("self", ast.Load()), node))
                return self._method(base, target.attr, node, above=True)
            return self._method(self.expression(target.value), target.attr, node)
        if known is None:
            self.fail(node, "only functions known when compiling, and methods, can be called")
        function = known.const
        if function is isinstance:
            return self._isinstance(node)
        arguments, keywords = self._arguments(node)
        if isinstance(function, type) or function in (len, max, min, abs):
            return self.construct(function, arguments, keywords, node)
        if function is host_read or function is host_write:
            return self._host(function, arguments, node)
        if self.program.is_native(function):
            return self.invoke(function, arguments, keywords, node)
        return self._never(signature(function).result)

    def _arguments(self, node: ast.Call) -> tuple[list[Value], dict[str, Value]]:
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            self.fail(node, "arguments cannot be unpacked")
        keywords = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                self.fail(node, "arguments cannot be unpacked")
            keywords[keyword.arg] = self.expression(keyword.value)
        return [self.expression(argument) for argument in node.args], keywords

    def _method(self, base: Value, name: str, node: ast.Call, above: bool = False) -> Value:
        if isinstance(base.type, Maybe):
            base = self.convert(base, base.type.of, node)
        arguments, keywords = self._arguments(node)
        kind = base.type
        if isinstance(kind, List) and name == "append":
            self.append(base, arguments[0], node)
            return NONE
        if not isinstance(kind, (Record, Object)):
            self.fail(node, f"{kind} has no method {name}")
        method = self._above(kind.cls, name) if above else inspect.getattr_static(kind.cls, name, None)
        path = f"{kind.name}.{name}" if isinstance(kind, Object) and kind.name else name
        if isinstance(method, staticmethod):
            return self.invoke(method.__func__, arguments, keywords, node)
        if path in self.program.binding.not_native or not self.program.is_native(method):
            result = signature(method).result if inspect.isfunction(method) else INT
            return self._never(result)
        if not inspect.isfunction(method):
            self.fail(node, f"{kind.cls.__qualname__} has no method {name}")
        return self.invoke(method, [base, *arguments], keywords, node)

    def _above(self, cls: type, name: str) -> Any:
        """The method that `super()` means in this function."""
        order = list(cls.__mro__)
        here = next(place for place, base in enumerate(order) if self.function in base.__dict__.values())
        return next((base.__dict__[name] for base in order[here + 1:] if name in base.__dict__), None)

    def _never(self, kind: Type) -> Value:
        """A call of what is not native."""
        self.end(BAIL)
        self.code.start(self.code.block("never"))
        return Value(kind, self.blank(kind))

    def construct(self, cls: Any, arguments: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
        """Call of a class or a builtin."""
        if cls is bool:
            return self.truth(arguments[0], node)
        if cls is int or isinstance(cls, type) and issubclass(cls, int) and issubclass(cls, enum.Enum):
            return self.convert(arguments[0], INT, node)
        if cls is len:
            if isinstance(arguments[0].type, List):
                return self.length(arguments[0])
            return self.constant(len(self.items(arguments[0], node)))
        if cls in (max, min):
            return self._extreme("max" if cls is max else "min", arguments, node)
        if cls is abs:
            number = self.convert(arguments[0], INT, node).leaves[0]
            return Value(INT, (self.code.op(f"call i64 @llvm.abs.i64(i64 {number}, i1 false)"),))
        if issubclass(cls, Fault):
            parts = self.arrange(list(inspect.signature(cls).parameters.values()), arguments, keywords, node)
            kinds = (INT, Maybe(INT), Maybe(INT))
            return Value(Event(), tuple(leaf for part, kind in zip(parts, kinds, strict=True)
                                        for leaf in self.convert(part, kind, node).leaves))
        if not isinstance(cls, type) or not dataclasses.is_dataclass(cls):
            self.fail(node, f"{cls.__qualname__} cannot be constructed in native code")
        return self._record(cls, arguments, keywords, node)

    def _extreme(self, which: str, arguments: list[Value], node: ast.AST) -> Value:
        result = self.convert(arguments[0], INT, node).leaves[0]
        for argument in arguments[1:]:
            other = self.convert(argument, INT, node).leaves[0]
            result = self.code.op(f"call i64 @llvm.s{which}.i64(i64 {result}, i64 {other})")
        return Value(INT, (result,))

    def _record(self, cls: type, arguments: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
        fields = list(inspect.signature(cls).parameters.values())
        result = Record(self.program.layouts.canonical(cls))
        place = self.storage(result)
        for parameter, value in zip(fields, self.arrange(fields, arguments, keywords, node), strict=True):
            found = self.program.layouts.field(cls, parameter.name)
            assert found is not None
            self.store_field(self.code.at(place, found.offset), found.ctype, value, node)
        return Value(result, (place,))

    def _isinstance(self, node: ast.Call) -> Value:
        value, wanted = self.expression(node.args[0]), self.static(node.args[1])
        if wanted is None or not isinstance(value.type, Choice):
            self.fail(node, f"isinstance tells apart records of a union, not {value.type}")
        for index, member in enumerate(value.type.members):
            if member.cls is wanted.const:
                return Value(BOOL, (self.code.op(f"icmp eq i64 {value.leaves[0]}, {index}"),))
        return self.constant(False)

    def _host(self, function: Any, arguments: list[Value], node: ast.AST) -> Value:
        """Host memory. A size that is only known when running is tried in turn."""
        parts = [self.convert(argument, INT, node).leaves[0] for argument in arguments]
        name = "host.read" if function is host_read else "host.write"
        text = ", ".join(f"i64 {part}" for part in parts)
        if function is host_write:
            self.code.do(f"call void @{name}({text})")
            return NONE
        return Value(INT, (self.code.op(f"call i64 @{name}({text})"),))

    def is_bail(self, node: ast.expr) -> bool:
        """Whether what is raised means that native code gives up."""
        known = self.static(node.func if isinstance(node, ast.Call) else node)
        return known is not None and isinstance(known.const, type) and issubclass(known.const, (Bail, Unsupported))

    def static(self, node: ast.expr) -> Value | None:
        raise AssertionError
