"""Types of the subset, and how their values are held.

A value is a tuple of LLVM scalars, its *leaves*: integers are i64, truth values i1, records and lists are pointers to
storage, an optional value is its leaves and an i1, a tuple the leaves of its items one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: A list has room for this many items. The longest one is a frame with the parameters of a call gate.
CAPACITY = 40


@dataclass(frozen=True)
class Type:
    """A type. `leaves` are the LLVM types of a value, `stored` the types of what its pointers lead to, in order.

    Those of a type that is not made of others are in `_LEAVES`; if it has none, there is no value at run time.
    """

    @property
    def leaves(self) -> tuple[str, ...]:
        return _LEAVES.get(type(self), ())

    @property
    def stored(self) -> tuple[Type, ...]:
        return (self,) if type(self) in _STORED else ()


@dataclass(frozen=True)
class Int(Type):
    """A signed 64-bit integer."""


@dataclass(frozen=True)
class Bool(Type):
    """A truth value."""


@dataclass(frozen=True)
class Nothing(Type):
    """The type of None."""


@dataclass(frozen=True)
class Enumeration(Type):
    """A member of an Enum that is not an integer, held as its index in the order of definition."""

    cls: type


@dataclass(frozen=True)
class Maybe(Type):
    """A value or None."""

    of: Type

    @property
    def leaves(self) -> tuple[str, ...]:
        return (*self.of.leaves, "i1")

    @property
    def stored(self) -> tuple[Type, ...]:
        return self.of.stored


@dataclass(frozen=True)
class Product(Type):
    """A tuple."""

    items: tuple[Type, ...]

    @property
    def leaves(self) -> tuple[str, ...]:
        return tuple(leaf for item in self.items for leaf in item.leaves)

    @property
    def stored(self) -> tuple[Type, ...]:
        return tuple(kind for item in self.items for kind in item.stored)


@dataclass(frozen=True)
class Record(Type):
    """An instance of a class with a memory layout, by reference. Methods and properties come from `cls`."""

    cls: type


@dataclass(frozen=True)
class Choice(Type):
    """One of several records: the index of the one it is, then a pointer for each."""

    members: tuple[Record, ...]

    @property
    def leaves(self) -> tuple[str, ...]:
        return ("i64", *("ptr" for _ in self.members))

    @property
    def stored(self) -> tuple[Type, ...]:
        return self.members


@dataclass(frozen=True)
class List(Type):
    """A list with a fixed capacity, by reference: its length, then the leaves of its items as i64."""

    of: Type

    @property
    def words(self) -> int:
        """Leaves of one item."""
        return len(self.of.leaves)


@dataclass(frozen=True)
class Array(Type):
    """An array of a ctypes structure, by reference."""

    ctype: Any


@dataclass(frozen=True)
class Event(Type):
    """A `Fault`, by value: vector, error code and CR2, the latter two or None."""


@dataclass(frozen=True)
class Object(Type):
    """One of the objects there is only one of; `name` is its path from `self`, which has none."""

    name: str
    cls: type


@dataclass(frozen=True)
class Static(Type):
    """Anything known when compiling that is no value of the other types: a function, a class, a container."""


_LEAVES: dict[type[Type], tuple[str, ...]] = {
    Int: ("i64",), Bool: ("i1",), Enumeration: ("i64",), Record: ("ptr",), List: ("ptr",), Array: ("ptr",),
    Event: ("i64", "i64", "i1", "i64", "i1")}
_STORED = (Record, List)

NO_CONSTANT = object()


@dataclass(frozen=True)
class Value:
    """A value of a type: its leaves, and the Python object itself where it is known when compiling."""

    type: Type
    leaves: tuple[str, ...] = ()
    const: Any = NO_CONSTANT

    @property
    def known(self) -> bool:
        return self.const is not NO_CONSTANT


INT, BOOL, NOTHING = Int(), Bool(), Nothing()
NONE = Value(NOTHING, (), None)
