"""Access to the context from translated code."""

from __future__ import annotations

from vmm.engine.dbt.layout import offset
from vmm.engine.dbt.llvmops import CONTEXT
from vmm.engine.dbt.values import Builder


class ContextFields:
    """Pointers to fields, loads and stores.

    Parameters
    ----------
    local : compute a pointer where it is used, which code compiled with little effort has as part of its access, and
        not once at the entry.

    Members
    -------
    entry : the lines that the entry of the function has to begin with.
    """

    def __init__(self, builder: Builder, local: bool):
        self._builder = builder
        self._local = local
        self._pointers: dict[str, str] = {}
        self.entry: list[str] = []

    def pointer(self, field: str) -> str:
        return self.pointer_at(field, offset(field))

    def pointer_at(self, name: str, place: int) -> str:
        """A pointer to what lies at a distance; `name` is that of nothing else."""
        if self._local:
            return self._builder.let(f"getelementptr i8, ptr %c, i64 {place}")
        if name not in self._pointers:
            self._pointers[name] = f"%at_{name}"
            self.entry.append(f"%at_{name} = getelementptr i8, ptr %c, i64 {place}")
        return self._pointers[name]

    def gpr(self, number: int) -> str:
        return self.pointer_at(f"gpr{number}", offset("gpr") + 4 * number)

    def routine(self, name: str, number: int) -> str:
        """The entry point of a routine."""
        return self._builder.let(f"load ptr, ptr {self.pointer_at(name, offset('routines') + 8 * number)}{CONTEXT}")

    def load(self, field: str, kind: str = "i32") -> str:
        return self._builder.let(f"load {kind}, ptr {self.pointer(field)}{CONTEXT}")

    def store(self, field: str, value: str | int, kind: str = "i32") -> None:
        self._builder.emit(f"store {kind} {value}, ptr {self.pointer(field)}{CONTEXT}")
