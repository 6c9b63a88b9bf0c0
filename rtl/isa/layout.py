"""Structures that are hardware shape and Python value at once.

A `Struct` of this package is an Amaranth `data.Struct`. Its `from_bits` and `const` return a constant that has the
structure's own methods, so that `Descriptor.from_bits(x).scaled_limit()` is an integer and the same call on a signal is
a value. Methods are therefore written with operators that mean the same on both (`==`, `&`, `|`), `select` and `join`.
"""

from types import MethodType
from typing import Any

from amaranth.hdl import Cat, Const, Mux, Value
from amaranth.lib import data

__all__ = ["Struct", "join", "mask", "select"]


def select(condition: Any, then: Any, otherwise: Any) -> Any:
    """`then` if `condition` else `otherwise`, on integers or on hardware values."""
    if isinstance(condition, Value):
        return Mux(condition, then, otherwise)
    return then if condition else otherwise


def join(*parts: tuple[Any, int]) -> Any:
    """Values side by side, lowest first, each with its width in bits; on integers or on hardware values."""
    if any(isinstance(value, Value) for value, _ in parts):
        return Cat(value if isinstance(value, Value) else Const(value, width) for value, width in parts)
    result = shift = 0
    for value, width in parts:
        result |= value << shift
        shift += width
    return result


class _Constant(data.Const):
    """A constant that finds the methods of its structure."""

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.shape(), name, None)
        if callable(method):
            return MethodType(method, self)
        return super().__getattr__(name)


class Struct(data.Struct):
    """Base of the structures of this package."""

    @classmethod
    def from_bits(cls, bits: int) -> _Constant:
        """The structure that has this bit pattern."""
        return _Constant(cls, bits)

    @classmethod
    def const(cls, init: Any) -> _Constant:
        """The structure whose named fields have these values, and whose others are zero."""
        if isinstance(init, _Constant):
            return init
        return _Constant(cls, cls.as_shape().const(init or {}).as_bits())

    @classmethod
    def build(cls, **fields: int) -> int:
        """The bit pattern of the structure whose named fields have these values, and whose others are zero."""
        return cls.const(fields).as_bits()


def mask(struct: type[Struct], *names: str) -> int:
    """The bits that the named fields occupy, as a plain integer."""
    fields = [struct.as_shape()[name] for name in names]
    return sum(((1 << field.width) - 1) << field.offset for field in fields)
