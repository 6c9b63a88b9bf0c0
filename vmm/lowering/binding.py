"""What a routine's surroundings are in native code, and what the lowering of one routine asks of the whole program."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from vmm.lowering.layout import Field, Layouts
from vmm.lowering.types import Type


@dataclass(frozen=True)
class Binding:
    """What the names of a routine mean in native code.

    Members
    -------
    cls : class of `self`; methods are found through it.
    context : the structure `self` is in native code. An attribute of `self` is the field of that name.
    records : structures that hold the instances of classes, with fields of the same names.
    objects : attributes that are objects of their own, with their classes. Their attributes are looked for like those
        of `self`: constants, fields of the context, what their class defines, objects.
    fields : attribute path, such as "mmu.walks", to the name of a field of the context, where the two differ.
    constants : attribute path to a value known when compiling.
    ignored : attribute paths that are only written, to no effect.
    not_native : paths of methods, such as "task_switch" and "io.read", whose calls bail. So do calls of functions and
        methods that are not written in Python.
    """

    cls: type
    context: type[ctypes.Structure]
    records: Mapping[type, type[ctypes.Structure]] = field(default_factory=dict)
    objects: Mapping[str, type] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    not_native: frozenset[str] = frozenset()


class Callee(Protocol):
    """A routine as its callers see it; see `Routine`."""

    convention: str
    symbol: str
    may_fail: bool
    returned: list[str]


class Module(Protocol):
    """The program a routine belongs to."""

    binding: Binding
    layouts: Layouts

    def context_field(self, name: str) -> Field | None:
        """A field of the context, such as those of the pending fault."""

    def is_native(self, function: Any) -> bool:
        """Whether a function can be lowered at all."""

    def routine(self, function: Callable[..., Any], free: tuple[Type, ...]) -> Callee:
        """The lowering of a function for given types of its parameters without annotation."""

    def constant_record(self, value: Any) -> str:
        """The address of a constant instance of a record class."""

    def constant_table(self, kind: str, items: Sequence[str]) -> str:
        """The address of an array of constants."""
