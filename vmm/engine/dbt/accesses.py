"""Accesses of translated code to the guest's memory: in place where a data table has the page, else by an accessor."""

from __future__ import annotations

from typing import Protocol

from vmm.engine.dbt.contextfields import ContextFields
from vmm.engine.dbt.layout import CODE_MAP_AT, TABLE_BYTES, TABLES_AT, Kind
from vmm.engine.dbt.llvmops import CONTEXT, GUEST
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.values import UNLIKELY, Builder, Node, named

_LOG2 = {8: 0, 16: 1, 32: 2}


class Instruction(Protocol):
    """What an access needs of the translation it stands in; see `Region`."""

    def abort(self) -> str: ...
    def begin_call(self) -> None: ...
    def end_call(self) -> None: ...


class Accesses:
    """The accesses of one translation."""

    def __init__(self, builder: Builder, fields: ContextFields, setting: Setting, instruction: Instruction):
        self._builder = builder
        self._fields = fields
        self._setting = setting
        self._instruction = instruction
        self._otherwise = ""

    def load(self, linear: Node, bits: int, for_write: bool) -> Node:
        b, setting = self._builder, self._setting
        address = b.text(linear)
        what = "change" if for_write else "load"
        if not setting.inline:
            return named(self._call_load(what, address, bits), bits)
        entry = self._lookup(Kind.WRITE if for_write else Kind.READ, address, bits)
        fast, done = self._unless_zero(entry), b.new_label("done")
        values = []
        with b.aside(f"no_{fast}"):
            if for_write and setting.beside:
                beside = self._look_beside(address, bits)
                values.append((b.let(f"load i{bits}, ptr {beside}{GUEST}"), b.label))
                self._end_beside(done)
            values.append((self._call_load(what, address, bits), b.label))
            b.emit(f"br label %{done}")
        values.append((b.let(f"load i{bits}, ptr {self.host(entry, address)}{GUEST}"), fast))
        b.emit(f"br label %{done}")
        b.start(done)
        return named(b.let(f"phi i{bits} {', '.join(f'[ {value}, %{label} ]' for value, label in values)}"), bits)

    def store(self, linear: Node, value: Node) -> None:
        b, setting, bits = self._builder, self._setting, value.bits
        address, datum = b.text(linear), b.text(value)
        if not setting.inline:
            self._call_store(address, datum, bits)
            return
        entry = self._lookup(Kind.WRITE, address, bits)
        fast, done = self._unless_zero(entry), b.new_label("done")
        with b.aside(f"no_{fast}"):
            if setting.beside:
                beside = self._look_beside(address, bits)
                b.emit(f"store i{bits} {datum}, ptr {beside}{GUEST}")
                self._end_beside(done)
            self._call_store(address, datum, bits)
            b.emit(f"br label %{done}")
        b.emit(f"store i{bits} {datum}, ptr {self.host(entry, address)}{GUEST}")
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

    def _unless_zero(self, entry: str) -> str:
        """Start the block to go on in, LABEL; the other is "no_LABEL"."""
        b = self._builder
        fast = b.new_label("fast")
        b.emit(f"br i1 {b.let(f'icmp eq i64 {entry}, 0')}, label %no_{fast}, label %{fast}{UNLIKELY}")
        self._instruction.abort()
        b.start(fast)
        return fast

    def _look_beside(self, address: str, bits: int) -> str:
        """The place of a write to a page with code, if there is none where it goes; `_end_beside` starts the rest."""
        b, fields = self._builder, self._fields
        entry = self._lookup(Kind.WATCHED, address, bits)
        look, clean, self._otherwise = b.new_label("look"), b.new_label("clean"), b.new_label("otherwise")
        b.emit(f"br i1 {b.let(f'icmp eq i64 {entry}, 0')}, label %{self._otherwise}, label %{look}")
        b.start(look)
        host = b.let(f"add i64 {entry}, {b.let(f'zext i32 {address} to i64')}")
        physical = b.let(f"sub i64 {host}, {fields.load('ram', 'i64')}")
        code_map = fields.pointer_at("code_map", CODE_MAP_AT)
        place = b.let(f"getelementptr i8, ptr {code_map}, i64 {b.let(f'lshr i64 {physical}, 3')}")
        marks = b.let(f"load i16, ptr {place}, align 1{CONTEXT}")
        within = b.let(f"and i16 {b.let(f'trunc i64 {physical} to i16')}, 7")
        touched = b.let(f"and i16 {b.let(f'lshr i16 {marks}, {within}')}, {(1 << bits // 8) - 1}")
        b.emit(f"br i1 {b.let(f'icmp eq i16 {touched}, 0')}, label %{clean}, label %{self._otherwise}")
        b.start(clean)
        return b.let(f"inttoptr i64 {host} to ptr")

    def _end_beside(self, done: str) -> None:
        self._builder.emit(f"br label %{done}")
        self._builder.start(self._otherwise)

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
