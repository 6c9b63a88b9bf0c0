"""Structures that are Python value and hardware shape.

A `Struct` lists its fields as annotations, lowest bit first. `Descriptor.from_bits(x)` has them as integers; hardware
asks for `shape(Descriptor)`, an Amaranth `data.Struct` whose values have the same fields and the same methods. So
`Descriptor.from_bits(x).scaled_limit()` is an integer, and the same call on a signal is a value. Methods are therefore
written with operators that mean the same on both (`==`, `&`, `|`), `select` and `join`.

An enumeration is a shape as it is, as wide as its members need.

Amaranth is imported when the first shape is asked for: what executes guests in software needs none.
"""

from functools import cache
from types import FunctionType
from typing import Any, ClassVar, Self

__all__ = ["Struct", "join", "mask", "select", "shape"]


def select(condition: Any, then: Any, otherwise: Any) -> Any:
    """`then` if `condition` else `otherwise`, on integers or on hardware values."""
    if isinstance(condition, int):
        return then if condition else otherwise
    from amaranth.hdl import Mux

    return Mux(condition, then, otherwise)


def join(*parts: tuple[Any, int]) -> Any:
    """Values side by side, lowest first, each with its width in bits; on integers or on hardware values."""
    if all(isinstance(value, int) for value, _ in parts):
        result = offset = 0
        for value, width in parts:
            result |= value << offset
            offset += width
        return result
    from amaranth.hdl import Cat, Const

    return Cat(Const(value, width) if isinstance(value, int) else value for value, width in parts)


class Struct:
    """Base of the structures of this package: bits with named fields.

    Members
    -------
    widths : bits of each field, lowest first.
    """

    __slots__ = ("_bits",)
    _bits: int
    widths: ClassVar[dict[str, int]]

    def __init_subclass__(cls) -> None:
        cls.widths = dict(cls.__annotations__)
        for name in cls.widths:
            setattr(cls, name, _field(*_place(cls, name)))

    @classmethod
    def from_bits(cls, bits: int) -> Self:
        """The structure that has this bit pattern."""
        struct = cls()
        struct._bits = bits
        return struct

    @classmethod
    def build(cls, **fields: int) -> int:
        """The bit pattern of the structure whose named fields have these values, and whose others are zero.

        Raises
        ------
        ValueError
            There is no such field, or the value does not fit.
        """
        bits = 0
        for name, value in fields.items():
            if name not in cls.widths:
                raise ValueError(f"{cls.__name__} has no field '{name}'")
            offset, ones = _place(cls, name)
            if value & ~ones:
                raise ValueError(f"{value:X}h does not fit into field '{name}' of {cls.__name__}")
            bits |= value << offset
        return bits

    def as_bits(self) -> int:
        return self._bits


def _field(offset: int, ones: int) -> property:
    return property(lambda self: self._bits >> offset & ones)


def _place(struct: type[Struct], name: str) -> tuple[int, int]:
    """Offset of a field, and the greatest value it can have."""
    names = list(struct.widths)
    return sum(struct.widths[before] for before in names[:names.index(name)]), (1 << struct.widths[name]) - 1


def mask(struct: type[Struct], *names: str) -> int:
    """The bits that the named fields occupy, as a plain integer."""
    return sum(ones << offset for offset, ones in (_place(struct, name) for name in names))


@cache
def shape(struct: type[Struct]) -> Any:
    """The structure for hardware, one Amaranth `data.Struct` per structure. Its constants are of the structure."""
    from amaranth.lib import data

    def const(cls: Any, init: Any) -> Any:
        return data.Const(cls, init.as_bits()) if isinstance(init, struct) else cls.as_shape().const(init)

    methods = {name: member for name, member in vars(struct).items() if isinstance(member, FunctionType)}
    return type(data.Struct)(struct.__name__, (data.Struct,), {
        **methods, "__module__": struct.__module__, "__doc__": struct.__doc__, "__annotations__": dict(struct.widths),
        "from_bits": classmethod(lambda cls, bits: struct.from_bits(bits)), "const": classmethod(const)})
