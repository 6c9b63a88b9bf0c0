"""Statements of the subset."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from vmm.faults import Fault
from vmm.lowering.assignments import Assignments
from vmm.lowering.calls import BAIL
from vmm.lowering.code import Block
from vmm.lowering.places import Variable
from vmm.lowering.types import INT, NONE, Array, Event, List, Value


class Statements(Assignments):
    """Lowering of statements."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self._loops: list[tuple[Block, Block]] = []
        self._caught: list[Variable] = []

    def leave(self, value: Value, node: ast.AST) -> None:
        """Return a value."""
        raise AssertionError

    def body(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            if self.code.current.closed:
                return
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Pass() | ast.Assert():
                pass
            case ast.Expr():
                self.expression(node.value)
            case ast.Assign():
                value = self.expression(node.value)
                for target in node.targets:
                    self.assign(target, value)
            case ast.AnnAssign():
                self.declaration(node)
            case ast.AugAssign():
                read, write = self.target(node.target)
                write(self.binary(node.op, read(), self.expression(node.value), node))
            case ast.If():
                self._if(node)
            case ast.While():
                self._while(node)
            case ast.For():
                self._for(node)
            case ast.Return():
                self.leave(NONE if node.value is None else self.expression(node.value), node)
            case ast.Raise():
                self._raise(node)
            case ast.Try():
                self._try(node)
            case ast.Break():
                self.code.jump(self._loops[-1][1])
            case ast.Continue():
                self.code.jump(self._loops[-1][0])
            case _:
                self.fail(node, f"{type(node).__name__} is not in the subset")

    # control

    def _go_on(self, block: Block) -> bool:
        """Go to a block, unless the statements before have left already; whether they have not."""
        if self.code.current.closed:
            return False
        self.code.jump(block)
        return True

    def _round(self, statements: Sequence[ast.stmt], onward: Block, after: Block) -> None:
        """The body of a loop, which `continue` leaves to `onward`, as its end does, and `break` to `after`."""
        self._loops.append((onward, after))
        self.body(statements)
        self._loops.pop()
        self._go_on(onward)

    def _if(self, node: ast.If) -> None:
        test = self.condition(node.test)
        if test.known:
            self.body(node.body if test.const else node.orelse)
            return
        yes, no, after = self.code.block("then"), self.code.block("else"), self.code.block("after")
        self.code.branch(test.leaves[0], yes, no)
        reached = False
        for block, statements in ((yes, node.body), (no, node.orelse)):
            self.code.start(block)
            self.body(statements)
            reached |= self._go_on(after)
        if reached:
            self.code.start(after)

    def _while(self, node: ast.While) -> None:
        test, inside, after = self.code.block("test"), self.code.block("loop"), self.code.block("after")
        self.code.jump(test)
        self.code.start(test)
        condition = self.condition(node.test)
        self.code.branch(condition.leaves[0], inside, after)
        self.code.start(inside)
        self._round(node.body, test, after)
        self.code.start(after)
        if condition.known and condition.const and not _breaks(node.body):
            self.code.close("unreachable")

    def _for(self, node: ast.For) -> None:
        if node.orelse:
            self.fail(node, "a loop has no else")
        source = node.iter
        if isinstance(source, ast.Call) and isinstance(source.func, ast.Name) and source.func.id == "range":
            self._counted(node, [self.convert(self.expression(part), INT, node) for part in source.args])
            return
        if isinstance(source, ast.Call) and isinstance(source.func, ast.Name) and source.func.id == "enumerate":
            items = self.items(self.expression(source.args[0]), node)
            self._unrolled(node, [self.product([self.constant(k), item]) for k, item in enumerate(items)])
            return
        value = self.expression(source)
        if isinstance(value.type, List):
            self._over_list(node, value)
        elif isinstance(value.type, Array) and value.type.ctype._length_ > 16:
            self._over_array(node, value)
        else:
            self._unrolled(node, self.items(value, node))

    def _counted(self, node: ast.For, bounds: list[Value]) -> None:
        """A loop over `range`. The sign of the step must be known when compiling."""
        start, stop = (self.constant(0), bounds[0]) if len(bounds) == 1 else bounds[:2]
        step = bounds[2] if len(bounds) == 3 else self.constant(1)
        ascending = not step.known or step.const > 0
        self._loop(start, stop, step, "slt" if ascending else "sgt", node,
                   lambda count: self.assign(node.target, count))

    def _over_list(self, node: ast.For, value: Value) -> None:
        self._loop(self.constant(0), self.length(value), self.constant(1), "slt", node,
                   lambda count: self.assign(node.target, self.list_item(value, count.leaves[0])))

    def _over_array(self, node: ast.For, value: Value) -> None:
        assert isinstance(value.type, Array)
        length = self.constant(value.type.ctype._length_)
        self._loop(self.constant(0), length, self.constant(1), "slt", node,
                   lambda count: self.assign(node.target, self.element(value, count)))

    def _loop(self, start: Value, stop: Value, step: Value, order: str, node: ast.For,
              bind: Callable[[Value], None]) -> None:
        slot = self.code.slot("i64")
        self.code.store("i64", start.leaves[0], slot)
        blocks = [self.code.block(hint) for hint in ("test", "loop", "step", "after")]
        test, inside, onward, after = blocks
        self.code.jump(test)
        self.code.start(test)
        count = self.code.load("i64", slot)
        self.code.branch(self.code.op(f"icmp {order} i64 {count}, {stop.leaves[0]}"), inside, after)
        self.code.start(inside)
        bind(Value(INT, (count,)))
        self._round(node.body, onward, after)
        self.code.start(onward)
        self.code.store("i64", self.code.op(f"add i64 {count}, {step.leaves[0]}"), slot)
        self.code.jump(test)
        self.code.start(after)

    def _unrolled(self, node: ast.For, items: list[Value]) -> None:
        """A loop over items known when compiling: its body once for each, with constant items as constants."""
        after = self.code.block("after")
        for item in items:
            onward = self.code.block("onward")
            bound = self._bind(node.target, item)
            self._round(node.body, onward, after)
            self.code.start(onward)
            for name in bound:
                self.names.pop(name)
        self.code.jump(after)
        self.code.start(after)

    def _bind(self, target: ast.expr, item: Value) -> list[str]:
        if isinstance(target, ast.Name):
            if isinstance(self.names.get(target.id), Variable):
                self.assign(target, item)
                return []
            self.names[target.id] = item
            return [target.id]
        if not isinstance(target, ast.Tuple):
            self.fail(target, "a loop binds names")
        parts = self.items(item, target)
        return [name for part, element in zip(parts, target.elts, strict=True) for name in self._bind(element, part)]

    def comprehension(self, node: ast.ListComp) -> Value:
        """A list built by one loop; its items are integers."""
        source, = node.generators
        if source.ifs:
            self.fail(node, "a comprehension has no condition")
        result = self.new_list(INT, node)
        name = f"list {node.lineno}.{node.col_offset}"
        self.names[name] = result
        append = ast.Expr(ast.Call(ast.Attribute(ast.Name(name, ast.Load()), "append", ast.Load()), [node.elt], []))
        loop = ast.For(source.target, source.iter, [append], [])
        self.locals = self.locals | {name}
        for part in ast.walk(loop):
            ast.copy_location(part, node)
        self._for(ast.fix_missing_locations(loop))
        return result

    # faults

    def _raise(self, node: ast.Raise) -> None:
        if node.exc is None:
            if not self._caught:
                self.fail(node, "nothing to raise again")
            self.throw(self.read_variable(self._caught[-1]), node)
        elif self.is_bail(node.exc):
            self.end(BAIL)
        else:
            value = self.expression(node.exc)
            if value.type != Event():
                self.fail(node, f"only faults can be raised, not {value.type}")
            self.throw(value, node)

    def _try(self, node: ast.Try) -> None:
        if node.finalbody or node.orelse or len(node.handlers) != 1:
            self.fail(node, "a try has one handler, no else and no finally")
        clause, = node.handlers
        wanted = None if clause.type is None else self.static(clause.type)
        if wanted is None or wanted.const is not Fault:
            self.fail(clause, "only Fault can be caught")
        handler, after = self.code.block("handler"), self.code.block("after")
        self.handlers.append(handler)
        self.body(node.body)
        self.handlers.pop()
        self._go_on(after)
        self.code.start(handler)
        name = clause.name or f"fault {node.lineno}"
        self.write_name(name, self.caught(), clause)
        variable = self.names[name]
        assert isinstance(variable, Variable)
        self._caught.append(variable)
        self.body(clause.body)
        self._caught.pop()
        self._go_on(after)
        self.code.start(after)


def _breaks(statements: Sequence[ast.stmt]) -> bool:
    """Whether a loop with this body has a break of its own."""
    for statement in statements:
        if isinstance(statement, ast.Break):
            return True
        if isinstance(statement, (ast.If, ast.Try)):
            parts = [*statement.body, *statement.orelse]
            if isinstance(statement, ast.Try):
                parts += [inner for handler in statement.handlers for inner in handler.body]
            if _breaks(parts):
                return True
    return False


