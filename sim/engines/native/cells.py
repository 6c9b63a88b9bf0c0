"""Values in a buffer of nodes or rows, as functions that read and write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from .netlist import Sig
from .words import ones, store_bits

Reader = Callable[[], int]
Writer = Callable[[int], object]


class Cells:
    """A buffer in which each word lies at a multiple of its size, as `lay_out` places them.

    Parameters
    ----------
    buffer : bytes; it has to stay where it is.
    nodes : offset and width of each node that has a place there.
    """

    def __init__(self, buffer: np.ndarray, nodes: Mapping[int, tuple[int, int]]) -> None:
        self._bytes = buffer.data.cast("B")
        whole = self._bytes[:len(self._bytes) // 8 * 8]
        self._views: dict[int, memoryview[int]] = {
            1: self._bytes, 2: whole.cast("H"), 4: whole.cast("I"), 8: whole.cast("Q")}
        self._nodes = nodes

    def holds(self, sig: Sig) -> bool:
        """Whether all of a signal is a constant or has a place."""
        return all(chunk.node < 0 or chunk.node in self._nodes for chunk in sig)

    def word(self, offset: int, width: int) -> tuple[Reader, Writer]:
        """A word; what is written has no bits above the width."""
        size = store_bits(width) // 8
        if size in self._views:
            view, index = self._views[size], offset // size
            return partial(view.__getitem__, index), partial(view.__setitem__, index)
        place = self._bytes[offset:offset + size]

        def write(value: int) -> None:
            place[:] = value.to_bytes(size, "little")

        return lambda: int.from_bytes(place, "little"), write

    def reader(self, sig: Sig) -> Reader:
        """Reads a signal of which `holds` is true."""
        parts: list[tuple[Reader, int, int, int, int]] = []
        constant = position = 0
        for chunk in sig:
            if chunk.node < 0:
                constant |= chunk.offset << position
            else:
                read, _write = self.word(*self._nodes[chunk.node])
                parts.append((read, chunk.offset, ones(chunk.width), ones(chunk.repeat), position))
            position += chunk.bits
        if len(sig) == len(parts) == 1:
            read, shift, mask, copies, _position = parts[0]
            if copies == 1 and not shift and mask == ones(self._nodes[sig[0].node][1]):
                return read
        return partial(_joined, constant, parts)

    def writer(self, sig: Sig) -> Writer:
        """Writes what of a signal has a place."""
        parts: list[tuple[Reader, Writer, int, int, int]] = []
        position = 0
        for chunk in sig:
            if chunk.node in self._nodes:
                parts.append((*self.word(*self._nodes[chunk.node]), chunk.offset, ones(chunk.width), position))
            position += chunk.bits
        return partial(_spread, parts)


def _joined(value: int, parts: list[tuple[Reader, int, int, int, int]]) -> int:
    for read, shift, mask, copies, position in parts:
        value |= (read() >> shift & mask) * copies << position
    return value


def _spread(parts: list[tuple[Reader, Writer, int, int, int]], value: int) -> None:
    for read, write, shift, mask, position in parts:
        write(read() & ~(mask << shift) | (value >> position & mask) << shift)
