"""Calls of the machine's routines from translated code, and the few that stand in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rtl.isa.exceptions import Vector
from vmm.engine.dbt.contextfields import ContextFields
from vmm.engine.dbt.layout import PORTS, SINK, Exit
from vmm.engine.dbt.llvmops import CONTEXT, LlvmOps, NotNative
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.straight import COMPONENTS, Straight
from vmm.engine.dbt.values import UNLIKELY, Builder, Node, named


class Instruction(Protocol):
    """What a call needs of the translation it stands in; see `Region`.

    Members
    -------
    budget : of the block; another one behind a port access.
    """

    budget: str

    @property
    def ops(self) -> LlvmOps: ...
    def abort(self) -> str: ...
    def raise_fault(self, vector: int, error: int | None) -> None: ...
    def flags_out(self, now: Straight) -> None: ...


class Calls:
    """The calls of one translation."""

    def __init__(self, builder: Builder, fields: ContextFields, setting: Setting, instruction: Instruction):
        self._builder = builder
        self._fields = fields
        self._setting = setting
        self._instruction = instruction

    def routine(self, name: str, eip: int, args: tuple[Node | int, ...], returns: int | None) -> Node | None:
        """What a routine answers, called by the instruction at EIP."""
        if name == "require_cpl0":
            self._require_cpl0()
            return None
        if name == "check_port":
            self._check_port()
            return None
        if name == "port_out" and self._is_sink(*args[:2]):
            assert isinstance(args[2], Node)
            self._sink(args[2])
            return None
        place = self._setting.routines.get(name)
        if place is None:
            raise NotNative
        b, fields, ops = self._builder, self._fields, self._instruction.ops
        now = ops.now
        if self._setting.counted:
            # the state before is saved in front of this: flags made of others must not be made again behind that
            self._instruction.abort()
        for number, node in enumerate(now.regs):
            b.emit(f"store i32 {b.text(node)}, ptr {fields.gpr(number)}{CONTEXT}")
        self._instruction.flags_out(now)
        fields.store("eip", eip)
        if name in PORTS:
            # the time of devices
            fields.store("budget", self._instruction.budget, "i64")
        words = [f"i64 {arg}" if isinstance(arg, int) else f"i64 {b.text(ops.zext(arg, 64))}" for arg in args]
        code = fields.routine(name, place)
        results = fields.pointer("results")
        status = b.let(f"call i32 {code}({', '.join(['ptr %c', *words, f'ptr {results}'])})")
        with self._rarely(f"icmp ne i32 {status}, 0"):
            faulted = b.let(f"icmp eq i32 {status}, 1")
            self._give_up(b.let(f"select i1 {faulted}, i32 {int(Exit.FAULT)}, i32 {int(Exit.INTERPRET)}"))
        if name in PORTS:
            self._instruction.budget = fields.load("budget", "i64")
        for number in range(8):
            now.regs[number] = named(b.let(f"load i32, ptr {fields.gpr(number)}{CONTEXT}"), 32)
        if self._setting.counted:
            now.flags.update(dict.fromkeys(COMPONENTS))
        else:
            for component in COMPONENTS:
                word = named(fields.load(component), 32)
                now.flags[component] = named(b.let(f"trunc i32 {word.text} to i1"), 1) if component == "fc" else word
        return None if returns is None else ops.trunc(named(fields.load("results", "i64"), 64), returns)

    def _check_port(self) -> None:
        """Outside ring 0 the interpreter looks into the permission bitmap."""
        if self._setting.user:
            raise NotNative
        with self._rarely(f"icmp ne i32 {self._fields.load('cpl')}, 0"):
            self._give_up(int(Exit.INTERPRET))

    def _is_sink(self, port: Node | int, size: Node | int) -> bool:
        sink = self._setting.sink
        return sink is not None and isinstance(port, Node) and port.known == sink and size == 1

    def _sink(self, value: Node) -> None:
        """A byte to where Python fetches it; the interpreter sees to it if there is no room."""
        b, fields = self._builder, self._fields
        count = fields.load("sunk")
        with self._rarely(f"icmp uge i32 {count}, {SINK}"):
            self._give_up(int(Exit.INTERPRET))
        index = b.let(f"zext i32 {count} to i64")
        place = b.let(f"getelementptr i8, ptr {fields.pointer('sink')}, i64 {index}")
        b.emit(f"store i8 {b.text(value)}, ptr {place}{CONTEXT}")
        fields.store("sunk", b.let(f"add i32 {count}, 1"))

    def _require_cpl0(self) -> None:
        if self._setting.user:
            raise NotNative
        with self._rarely(f"icmp ne i32 {self._fields.load('cpl')}, 0"):
            self._instruction.raise_fault(int(Vector.GP), 0)

    def _give_up(self, reason: str | int) -> None:
        self._fields.store("reason", reason)
        self._builder.emit(f"br label %{self._instruction.abort()}")

    @contextmanager
    def _rarely(self, condition: str) -> Iterator[None]:
        """What to leave the instruction with, on a condition that hardly ever holds."""
        b = self._builder
        aside, on = b.new_label("rarely"), b.new_label("on")
        b.emit(f"br i1 {b.let(condition)}, label %{aside}, label %{on}{UNLIKELY}")
        self._instruction.abort()
        with b.aside(aside):
            yield
        b.start(on)
