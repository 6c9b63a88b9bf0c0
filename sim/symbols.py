"""Names of addresses, from the symbol table of an image."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

#: A symbol without a size is believed to reach this far.
_REACH = 0x1_0000
_OFFSET = re.compile(r"(.+)\+([0-9A-Fa-f]{1,8})h")


@dataclass(frozen=True, order=True, slots=True)
class Symbol:
    """A named range of addresses; ``size`` is 0 when the image does not say."""

    address: int
    size: int
    name: str


@dataclass(frozen=True)
class SymbolTable:
    """Symbols by address.

    1. ``describe(address)`` is "name", "name+1Ah", or "" when no symbol covers the address.
    2. Of several symbols at one address the one with a size wins, then the first in alphabetical order.
    3. ``address_of(text)`` takes what ``describe`` gives, "name" or "name+1Ah", and is None for an unknown name.
    """

    symbols: tuple[Symbol, ...] = ()
    _starts: tuple[int, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(cls, symbols: Iterable[Symbol]) -> SymbolTable:
        best: dict[int, Symbol] = {}
        for symbol in sorted(symbols, key=lambda one: (one.address, one.size == 0, one.name)):
            best.setdefault(symbol.address, symbol)
        ordered = tuple(best[address] for address in sorted(best))
        return cls(ordered, tuple(symbol.address for symbol in ordered))

    def find(self, address: int) -> Symbol | None:
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        symbol = self.symbols[index]
        return symbol if address - symbol.address < (symbol.size or _REACH) else None

    def describe(self, address: int) -> str:
        symbol = self.find(address)
        if symbol is None:
            return ""
        offset = address - symbol.address
        return f"{symbol.name}+{offset:X}h" if offset else symbol.name

    def address_of(self, text: str) -> int | None:
        match = _OFFSET.fullmatch(text)
        name, offset = (match[1], int(match[2], 16)) if match else (text, 0)
        return next((symbol.address + offset for symbol in self.symbols if symbol.name == name), None)
