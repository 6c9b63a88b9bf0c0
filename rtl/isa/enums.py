"""Amaranth's enumerations, which are also hardware shapes, under names that type checkers understand.

Amaranth's own classes take `shape=` through their metaclass, and a type checker sees plain integers where there are
members.
"""

from typing import TYPE_CHECKING

__all__ = ["Enum", "IntEnum", "IntFlag"]

if TYPE_CHECKING:
    import enum

    class Enum(enum.Enum):
        def __init_subclass__(cls, *, shape: int | None = None) -> None: ...

    class IntEnum(enum.IntEnum):
        def __init_subclass__(cls, *, shape: int | None = None) -> None: ...

    IntFlag = enum.IntFlag
else:
    from amaranth.lib.enum import Enum, IntEnum, IntFlag
