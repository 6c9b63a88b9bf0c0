"""Memory layout of records: ctypes structures, given or made from the fields of a dataclass."""

from __future__ import annotations

import ctypes
import dataclasses
import enum
import typing
from collections.abc import Mapping
from typing import Any

from vmm.lowering.source import Unlowerable


@dataclasses.dataclass(frozen=True)
class Field:
    """Where a field is: bytes from the start of the record, and its ctype."""

    offset: int
    ctype: Any


class Layouts:
    """Layout of every class used as a record.

    Parameters
    ----------
    given : the structure that holds the fields of a class. Other dataclasses get one of i64 and bool fields.
    """

    def __init__(self, given: Mapping[type, type[ctypes.Structure]]):
        self._structures: dict[type, type[ctypes.Structure]] = dict(given)
        self._classes: dict[type, type] = {}
        for cls, structure in given.items():
            self._classes.setdefault(structure, cls)

    def structure(self, cls: type) -> type[ctypes.Structure]:
        """The layout of a class.

        Raises
        ------
        Unlowerable
            It is neither a structure nor a dataclass of integers.
        """
        if cls not in self._structures:
            self._structures[cls] = cls if issubclass(cls, ctypes.Structure) else _from_dataclass(cls)
        return self._structures[cls]

    def canonical(self, cls: type) -> type:
        """The class whose methods a record has, for a class or its structure."""
        return self._classes.get(cls, cls)

    def size(self, cls: type) -> int:
        return ctypes.sizeof(self.structure(cls))

    def field(self, cls: type, name: str) -> Field | None:
        return field(self.structure(cls), name)


def field(structure: type[ctypes.Structure], name: str) -> Field | None:
    """A field of a structure, or None."""
    for base in structure.__mro__:
        for entry in base.__dict__.get("_fields_", ()):
            if entry[0] == name:
                return Field(getattr(structure, name).offset, entry[1])
    return None


def _from_dataclass(cls: type) -> type[ctypes.Structure]:
    if not dataclasses.is_dataclass(cls):
        raise Unlowerable(f"{cls.__qualname__} is neither a ctypes structure nor a dataclass")
    fields: list[tuple[str, Any]] = []
    for name, hint in typing.get_type_hints(cls).items():
        if hint is bool:
            fields.append((name, ctypes.c_bool))
        elif hint is int or isinstance(hint, type) and issubclass(hint, enum.Enum):
            fields.append((name, ctypes.c_int64))
        else:
            raise Unlowerable(f"{cls.__qualname__}.{name} is no integer, but {hint!r}")
    return type(cls.__name__, (ctypes.Structure,), {"_fields_": fields})
