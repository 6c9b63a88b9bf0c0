"""Lists: storage of fixed capacity on the stack, the length first. An append beyond it bails."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from vmm.lowering.types import CAPACITY, INT, List, Maybe, Record, Type, Value
from vmm.lowering.values import Values

#: Copying the items of one list behind those of another, and backwards. `words` are the i64 of one item.
HELPERS = """
define internal void @list.extend(ptr %to, ptr %from, i64 %words) {
  %have = load i64, ptr %to
  %more = load i64, ptr %from
  %place = mul i64 %have, %words
  %end = getelementptr { i64, [0 x i64] }, ptr %to, i64 0, i32 1, i64 %place
  %source = getelementptr i64, ptr %from, i64 1
  %count = mul i64 %more, %words
  %bytes = shl i64 %count, 3
  call void @llvm.memmove.p0.p0.i64(ptr %end, ptr %source, i64 %bytes, i1 false)
  %sum = add i64 %have, %more
  store i64 %sum, ptr %to
  ret void
}
define internal void @list.reverse(ptr %to, ptr %from) {
entry:
  %count = load i64, ptr %from
  store i64 %count, ptr %to
  br label %test
test:
  %k = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %body, label %done
body:
  %next = add i64 %k, 1
  %source = getelementptr i64, ptr %from, i64 %next
  %item = load i64, ptr %source
  %back = sub i64 %count, %k
  %target = getelementptr i64, ptr %to, i64 %back
  store i64 %item, ptr %target
  br label %test
done:
  ret void
}
"""


class Lists(Values):
    """Operations on lists."""

    def bail_unless(self, condition: str) -> None:
        raise AssertionError

    def length(self, value: Value) -> Value:
        return Value(INT, (self.code.load("i64", value.leaves[0]),))

    def new_list(self, of: Type, node: ast.AST) -> Value:
        if any(leaf == "ptr" for leaf in of.leaves) or isinstance(of, (Record, List)):
            self.fail(node, f"a list cannot hold {of}")
        result = Value(List(of), (self.storage(List(of)),))
        self.code.store("i64", "0", result.leaves[0])
        return result

    def list_of(self, items: Sequence[Value], of: Type, node: ast.AST) -> Value:
        result = self.new_list(of, node)
        for number, item in enumerate(items):
            self._put(result, str(number), self.convert(item, of, node))
        self.code.store("i64", str(len(items)), result.leaves[0])
        return result

    def list_display(self, node: ast.List | ast.Tuple, values: Sequence[Value]) -> Value:
        """A list written out, with `*` before some of its items."""
        flat = self.flattened(node, values)
        if not any(isinstance(value.type, List) for value in flat):
            of = flat[0].type if flat else INT
            for value in flat:
                of = self.join(of, value.type, node)
            # lists have no optional items: whatever is put in is known not to be None
            of = of.of if isinstance(of, Maybe) else of
            return self.list_of(flat, of, node)
        of = next(value.type.of for value in flat if isinstance(value.type, List))
        result = self.new_list(of, node)
        for value in flat:
            if isinstance(value.type, List):
                self.extend(result, value, node)
            else:
                self.append(result, value, node)
        return result

    def flattened(self, node: ast.List | ast.Tuple, values: Sequence[Value]) -> list[Value]:
        """The items of a display; a list with `*` before it stays in one piece."""
        flat: list[Value] = []
        for item, value in zip(node.elts, values, strict=True):
            if isinstance(item, ast.Starred) and not isinstance(value.type, List):
                flat += self.items(value, node)
            elif isinstance(item, ast.Starred) or not isinstance(value.type, List):
                flat.append(value)
            else:
                self.fail(node, "a list cannot hold lists")
        return flat

    def extend(self, target: Value, source: Value, node: ast.AST) -> None:
        assert isinstance(target.type, List)
        if target.type != source.type:
            self.fail(node, f"{source.type} cannot extend {target.type}")
        total = self.code.op(f"add i64 {self.length(target).leaves[0]}, {self.length(source).leaves[0]}")
        self.bail_unless(self.code.op(f"icmp sle i64 {total}, {CAPACITY}"))
        self.code.do(f"call void @list.extend(ptr {target.leaves[0]}, ptr {source.leaves[0]}, i64 {target.type.words})")

    def append(self, target: Value, item: Value, node: ast.AST) -> None:
        assert isinstance(target.type, List)
        count = self.length(target).leaves[0]
        self.bail_unless(self.code.op(f"icmp slt i64 {count}, {CAPACITY}"))
        self._put(target, count, self.convert(item, target.type.of, node))
        self.code.store("i64", self.code.op(f"add i64 {count}, 1"), target.leaves[0])

    def reverse(self, source: Value, node: ast.AST) -> Value:
        if source.type != List(INT):
            self.fail(node, f"only lists of integers can be reversed, not {source.type}")
        result = self.new_list(INT, node)
        self.code.do(f"call void @list.reverse(ptr {result.leaves[0]}, ptr {source.leaves[0]})")
        return result

    def _places(self, target: Value, index: str) -> list[str]:
        assert isinstance(target.type, List)
        words = target.type.words
        first = self.code.op(f"getelementptr [{words} x i64], ptr {self.code.at(target.leaves[0], 8)}, i64 {index}")
        return [self.code.at(first, 8 * word) for word in range(words)]

    def _put(self, target: Value, index: str, item: Value) -> None:
        for place, kind, leaf in zip(self._places(target, index), item.type.leaves, item.leaves, strict=True):
            self.code.store("i64", self.code.op(f"zext i1 {leaf} to i64") if kind == "i1" else leaf, place)

    def list_item(self, source: Value, index: str) -> Value:
        """An item; the index is not checked."""
        assert isinstance(source.type, List)
        of = source.type.of
        leaves = [self.code.load("i64", place) for place in self._places(source, index)]
        return Value(of, tuple(self.code.op(f"trunc i64 {leaf} to i1") if kind == "i1" else leaf
                               for kind, leaf in zip(of.leaves, leaves, strict=True)))


