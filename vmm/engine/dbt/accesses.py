"""Accesses of translated code to the guest's memory: in place where a data table has the page, else by an accessor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vmm.engine.dbt.codemap import touched
from vmm.engine.dbt.contextfields import ContextFields
from vmm.engine.dbt.layout import TABLE_BYTES, TABLES_AT, Kind
from vmm.engine.dbt.llvmops import CONTEXT, GUEST
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.values import UNLIKELY, Builder, Node, named

_LOG2 = {8: 0, 16: 1, 32: 2}


class Instruction(Protocol):
    """What an access needs of the translation it stands in; see `Region`."""

    def abort(self) -> str: ...
    def begin_call(self) -> None: ...
    def end_call(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Change:
    """Where the present instruction has loaded what it is to store: null if an accessor did that."""

    address: str
    place: str
    scope: list[Node]


class Accesses:
    """The accesses of one translation."""

    def __init__(self, builder: Builder, fields: ContextFields, setting: Setting, instruction: Instruction):
        self._builder = builder
        self._fields = fields
        self._setting = setting
        self._instruction = instruction
        self._change: _Change | None = None

    def begin(self) -> None:
        """The accesses to come are those of another instruction."""
        self._change = None

    def load(self, linear: Node, bits: int, for_write: bool) -> Node:
        b, setting = self._builder, self._setting
        address = b.text(linear)
        what = "change" if for_write else "load"
        if not setting.inline:
            return named(self._call_load(what, address, bits), bits)
        entry, fast = self._reach(Kind.WRITE if for_write else Kind.READ, address, bits)
        done = b.new_label("done")
        with b.aside(f"no_{fast}"):
            called, good = self._call_load(what, address, bits), b.label
            b.emit(f"br label %{done}")
        place = self.host(entry, address)
        value = b.let(f"load i{bits}, ptr {place}{GUEST}")
        b.emit(f"br label %{done}")
        b.start(done)
        result = b.let(f"phi i{bits} [ {called}, %{good} ], [ {value}, %{fast} ]")
        if for_write and setting.beside:
            place = b.let(f"phi ptr [ {place}, %{fast} ], [ null, %{good} ]")
            self._change = _Change(address, place, b.innermost)
        return named(result, bits)

    def store(self, linear: Node, value: Node) -> None:
        b, setting, bits = self._builder, self._setting, value.bits
        address, datum = b.text(linear), b.text(value)
        if not setting.inline:
            self._call_store(address, datum, bits)
            return
        change = self._change
        if change is not None and change.address == address and b.is_open(change.scope):
            # asked already
            fast, place = self._unless(f"icmp eq ptr {change.place}, null"), change.place
        else:
            entry, fast = self._reach(Kind.WRITE, address, bits)
            place = self.host(entry, address)
        done = b.new_label("done")
        with b.aside(f"no_{fast}"):
            self._call_store(address, datum, bits)
            b.emit(f"br label %{done}")
        b.emit(f"store i{bits} {datum}, ptr {place}{GUEST}")
        b.emit(f"br label %{done}")
        b.start(done)

    def entry(self, kind: Kind, index: str) -> str:
        """What a data table, that of the setting's privilege, holds at a 32-bit index."""
        b, number = self._builder, int(kind) + self._setting.user
        table = self._fields.pointer_at(f"table{number}", TABLES_AT + number * TABLE_BYTES)
        place = b.let(f"getelementptr i64, ptr {table}, i64 {b.let(f'zext i32 {index} to i64')}")
        return b.let(f"load i64, ptr {place}{CONTEXT}")

    def host(self, entry: str, address: str) -> str:
        """The place of an address whose page has this entry."""
        b = self._builder
        wide = b.let(f"zext i32 {address} to i64")
        return b.let(f"inttoptr i64 {b.let(f'add i64 {entry}, {wide}')} to ptr")

    def _lookup(self, kind: Kind, address: str, bits: int) -> str:
        """The entry of a data table for an access, 0 for one that is misaligned."""
        b, log2 = self._builder, _LOG2[bits]
        turned = address if not log2 else b.let(f"call i32 @llvm.fshr.i32(i32 {address}, i32 {address}, i32 {log2})")
        return self.entry(kind, b.let(f"lshr i32 {turned}, {12 - log2}"))

    def _reach(self, kind: Kind, address: str, bits: int) -> tuple[str, str]:
        """Start the block LABEL where the page of an access is known: its entry, and LABEL; the other is "no_LABEL"."""
        b = self._builder
        if kind is Kind.READ or not self._setting.beside:
            entry = self._lookup(kind, address, bits)
            return entry, self._unless(f"icmp eq i64 {entry}, 0")
        entry = self._lookup(Kind.CHECKED, address, bits)
        fast, look = b.new_label("fast"), b.new_label("look")
        b.emit(f"br i1 {b.let(f'icmp eq i64 {entry}, 0')}, label %no_{fast}, label %{look}{UNLIKELY}")
        b.start(look)
        b.emit(f"br i1 {touched(b, entry, address, bits, 32)}, label %no_{fast}, label %{fast}{UNLIKELY}")
        self._instruction.abort()
        b.start(fast)
        return self._lookup(Kind.READ, address, bits), fast

    def _unless(self, condition: str) -> str:
        """Start the block to go on in, LABEL; the other is "no_LABEL"."""
        b = self._builder
        fast = b.new_label("fast")
        b.emit(f"br i1 {b.let(condition)}, label %no_{fast}, label %{fast}{UNLIKELY}")
        self._instruction.abort()
        b.start(fast)
        return fast

    # accessors, whose answer is negative when the instruction is to be given up

    def _call_load(self, what: str, address: str, bits: int) -> str:
        return self._builder.let(f"trunc i64 {self._call(what, bits, f'i32 {address}')} to i{bits}")

    def _call_store(self, address: str, datum: str, bits: int) -> None:
        wide = datum if bits == 32 else self._builder.let(f"zext i{bits} {datum} to i32")
        self._call("store", bits, f"i32 {address}, i32 {wide}")

    def _call(self, what: str, bits: int, arguments: str) -> str:
        b = self._builder
        self._instruction.begin_call()
        name = f"{what}{bits}{'u' if self._setting.user else 's'}"
        accessor = self._fields.routine(name, self._setting.routines[name])
        answer = b.let(f"call preserve_mostcc i64 {accessor}(ptr %c, {arguments})")
        good = b.new_label("good")
        given_up = b.let(f"icmp slt i64 {answer}, 0")
        b.emit(f"br i1 {given_up}, label %{self._instruction.abort()}, label %{good}{UNLIKELY}")
        b.start(good)
        self._instruction.end_call()
        return answer
