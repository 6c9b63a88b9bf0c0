"""One Python function as one LLVM function."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from vmm.lowering.binding import Module
from vmm.lowering.calls import OK
from vmm.lowering.intrinsics import ATTRIBUTES
from vmm.lowering.source import definition, place, signature
from vmm.lowering.statements import Statements
from vmm.lowering.types import NONE, NOTHING, List, Type, Value


class Routine(Statements):
    """The lowering of a function for given types of its parameters without annotation.

    Members
    -------
    symbol, convention : how to call it.
    returned : LLVM types of the members of the structure it returns: the status if it may fail, then the leaves of
        its result that are no pointers. Records and lists go to storage that the caller passes.
    text : the LLVM function.
    """

    convention = "fastcc"

    def __init__(self, program: Module, function: Callable[..., Any], free: tuple[Type, ...], symbol: str):
        super().__init__(program, function)
        self.symbol = symbol
        self.node = definition(function)
        self.signature = signature(function)
        self.locals = frozenset(_local_names(self.node))
        self._result = self.signature.result
        self._answers = [self.code.slot(leaf) for leaf in self._result.leaves if leaf != "ptr"]
        self._exit = self.code.block("exit")
        self._parameters: list[str] = ["ptr %ctx"]
        self._bind_parameters(free)
        self.body(self.node.body)
        if not self.code.current.closed:
            if self._result == NOTHING:
                self.leave(NONE, self.node)
            else:
                self.code.close("unreachable")
        scalars = [leaf for leaf in self._result.leaves if leaf != "ptr"]
        self.returned = (["i32"] if self.may_fail else []) + scalars
        self.text = self._assemble(scalars)

    def _bind_parameters(self, free: tuple[Type, ...]) -> None:
        chosen = iter(free)
        for parameter in self.signature.parameters:
            kind = next(chosen) if parameter.type is None else parameter.type
            names = [f"%{parameter.name}.{number}" for number in range(len(kind.leaves))]
            self._parameters += [f"{leaf} {name}" for leaf, name in zip(kind.leaves, names, strict=True)]
            self.write_name(parameter.name, Value(kind, tuple(names)), self.node)
        self._parameters += [f"ptr %out.{number}" for number in range(len(self._result.stored))]

    def leave(self, value: Value, node: ast.AST) -> None:
        converted = self.convert(value, self._result, node)
        scalars, stored = iter(self._answers), iter(enumerate(self._result.stored))
        for kind, leaf in zip(self._result.leaves, converted.leaves, strict=True):
            if kind == "ptr":
                number, of = next(stored)
                self.code.copy(f"%out.{number}", leaf, self._used(of, leaf))
            else:
                self.code.store(kind, leaf, next(scalars))
        self.code.jump(self._exit)

    def _used(self, kind: Type, place_of: str) -> int | str:
        """Bytes of storage that hold something."""
        if not isinstance(kind, List):
            return self.size(kind)
        items = self.code.op(f"mul i64 {self.code.load('i64', place_of)}, {8 * kind.words}")
        return self.code.op(f"add i64 {items}, 8")

    def _assemble(self, scalars: list[str]) -> str:
        """Write the two ends of the function, now that it is known whether it can fail."""
        self.code.start(self._exit)
        answers = [self.code.load(kind, slot) for kind, slot in zip(scalars, self._answers, strict=True)]
        self._return([str(OK)] * self.may_fail + answers)
        if self.may_fail:
            self.code.start(self.failure)
            self._return([self.code.load("i32", self.status), *("false" if kind == "i1" else "0" for kind in scalars)])
        head = f"define internal {self.convention} {self._whole()} {self.symbol}({', '.join(self._parameters)})"
        comment = place(self.function, self.node.lineno)
        attributes = f"nounwind {ATTRIBUTES.get(self.function, '')}"
        return f"; {comment.rsplit('/', 1)[-1]}\n{head} {attributes}{{\n{self.code.text()}\n}}\n"

    def _whole(self) -> str:
        return "{ " + ", ".join(self.returned) + " }" if self.returned else "void"

    def _return(self, leaves: list[str]) -> None:
        if not leaves:
            self.code.close("ret void")
            return
        answer = "poison"
        for number, (kind, leaf) in enumerate(zip(self.returned, leaves, strict=True)):
            answer = self.code.op(f"insertvalue {self._whole()} {answer}, {kind} {leaf}, {number}")
        self.code.close(f"ret {self._whole()} {answer}")


def _local_names(node: ast.FunctionDef) -> set[str]:
    names = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            names.add(part.id)
        elif isinstance(part, ast.ExceptHandler) and part.name is not None:
            names.add(part.name)
    return names
