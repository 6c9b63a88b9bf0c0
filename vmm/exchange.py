"""Accesses of a processor that somebody outside has to do, one at a time.

A processor does an instruction at once, and cannot wait in its middle. So the instruction that asks for something is
given up (`Unfinished`) and done again from its start when the answer is there. Rules:

1. While nobody records, every request gives up: at full speed a processor only finds out that there is one.
2. While recording, a read gives up and is `wanted`; a write is noted in `posted` and the instruction goes on.
3. What the instruction asked before is known when it is done again: reads are answered, writes are not repeated. If it
   takes another way than before, the rest of what is known is forgotten.
4. What it writes to RAM before such a read is written twice. No instruction reads that back, except a task switch
   between task-state segments that do not lie in RAM.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from vmm.faults import Unfinished

#: The most one request of memory is about.
_WORD = 4


class Space(Enum):
    """Where a request goes."""

    PORT = 0
    MEMORY = 1
    MONITOR = 2


@dataclass(slots=True)
class Request:
    """An access; `value` is what is written, or the answer of a read."""

    space: Space
    is_write: bool
    address: int
    size: int
    value: int = 0

    @property
    def key(self) -> tuple[Space, bool, int, int]:
        return self.space, self.is_write, self.address, self.size


class Exchange:
    """The requests of one processor.

    Members
    -------
    wanted : the read that has no answer yet. posted : writes to be done by somebody, oldest first.
    """

    def __init__(self) -> None:
        self.wanted: Request | None = None
        self.posted: deque[Request] = deque()
        self._known: list[Request] = []
        self._place = 0
        self._recording = False

    @property
    def is_unfinished(self) -> bool:
        """Whether an instruction has been given up that has asked for something already."""
        return bool(self._known)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Do one instruction or delivery; when it is done, what it asked for is forgotten."""
        self._place, self._recording = 0, True
        try:
            yield
        finally:
            self._recording = False
        self._known.clear()

    def answer(self, value: int) -> None:
        """Give what the wanted read reads."""
        assert self.wanted is not None
        self.wanted.value = value
        self._known.append(self.wanted)
        self.wanted = None

    def forget(self) -> None:
        """Give up for good what was in progress; writes posted stay."""
        self.wanted = None
        self._known.clear()

    def check(self) -> None:
        """What a write in parts asks before its first."""
        if not self._recording:
            raise Unfinished

    def request(self, request: Request) -> int:
        """Ask for something.

        Raises
        ------
        Unfinished
            Not now.
        """
        self.check()
        known = self._known
        if self._place < len(known):
            if known[self._place].key == request.key:
                self._place += 1
                return known[self._place - 1].value
            del known[self._place:]
        if not request.is_write:
            self.wanted = request
            raise Unfinished
        self.posted.append(request)
        known.append(request)
        self._place += 1
        return 0


class Ports:
    """The I/O space of a processor whose accesses are requests."""

    def __init__(self, exchange: Exchange):
        self._exchange = exchange

    def read(self, port: int, size: int) -> int:
        return self._exchange.request(Request(Space.PORT, False, port, size))

    def write(self, port: int, size: int, value: int) -> None:
        self._exchange.request(Request(Space.PORT, True, port, size, value & (1 << 8 * size) - 1))


class Devices:
    """Physical memory outside of slots, likewise."""

    def __init__(self, exchange: Exchange):
        self._exchange = exchange

    def check(self) -> None:
        self._exchange.check()

    def read(self, address: int, size: int) -> int:
        value = 0
        for offset in range(0, size, _WORD):
            part = Request(Space.MEMORY, False, address + offset, min(size - offset, _WORD))
            value |= self._exchange.request(part) << 8 * offset
        return value

    def write(self, address: int, size: int, value: int) -> None:
        for offset in range(0, size, _WORD):
            count = min(size - offset, _WORD)
            part = value >> 8 * offset & (1 << 8 * count) - 1
            self._exchange.request(Request(Space.MEMORY, True, address + offset, count, part))
