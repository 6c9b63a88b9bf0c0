"""Constructs of the subset do the same as Python and as native code; what leaves it is refused with its place."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

from vmm.faults import Fault, Unsupported
from vmm.lowering.binding import Binding
from vmm.lowering.build import Library
from vmm.lowering.program import BAIL, FAULT, OK, lower
from vmm.lowering.source import Unlowerable

SQUARES = tuple(n * n for n in range(16))
PRIMES = (2, 3, 5, 7)


class Way(Enum):
    LEFT = "left"
    RIGHT = "right"


class Cell(ctypes.Structure):
    _fields_ = [("tag", ctypes.c_uint16), ("age", ctypes.c_int32), ("valid", ctypes.c_bool)]


class Memory(ctypes.Structure):
    _fields_ = [
        ("hits", ctypes.c_uint32), ("total", ctypes.c_int64), ("cells", Cell * 24), ("grid", (ctypes.c_uint8 * 4) * 4),
        ("fault_vector", ctypes.c_uint32), ("fault_error", ctypes.c_uint32), ("fault_has_error", ctypes.c_uint8),
        ("fault_cr2", ctypes.c_uint32), ("fault_has_cr2", ctypes.c_uint8),
    ]


@dataclass
class Pair:
    """A record."""

    low: int
    high: int = 7

    @property
    def sum(self) -> int:
        return self.low + self.high

    def swap(self) -> None:
        self.low, self.high = self.high, self.low


@dataclass(frozen=True)
class Found:
    place: int


@dataclass(frozen=True)
class Missing:
    reason: int


START = Pair(3, 4)


def halve(value: int) -> int | None:
    return None if value & 1 else value >> 1


class Sample(Memory):
    """Every construct once."""

    verbose = False

    def arithmetic(self, a: int, b: int) -> int:
        low = (a & 0xFFFF) + (b ^ 0x55) - ~a
        low += a // (b & 7 | 1) + a % (b & 7 | 1) * 3
        low |= a >> (b & 63) | (a & 0xFF) << (b & 15)
        return max(low, a, -b) - min(a, b) + abs(b)

    def logic(self, a: int, b: int) -> bool:
        return (0 <= a < b or not a & 1) and a in (1, 2, *PRIMES) or bool(b & 2) and (a & 4) != 0

    def choice(self, a: int, b: int) -> int:
        odd = a & 1 or b & 6
        way = Way.LEFT if a < b else Way.RIGHT
        if way is Way.LEFT:
            return odd + SQUARES[a & 15]
        elif way in (Way.RIGHT,) and b > 5:
            return odd - 1
        return -odd

    def optional(self, a: int, b: int) -> int:
        half = halve(a)
        if half is None:
            return -1
        other = halve(half)
        return half if other is None else other + b

    def loops(self, a: int, b: int) -> int:
        total = 0
        for k in range(a & 7, 20, 3):
            if k == b & 15:
                continue
            for prime in PRIMES:
                if prime == 5:
                    break
                total += prime * k
            if total > 300:
                break
        while total > 50:
            total -= 7 + (a & 1)
        for k in range(3, 0, -1):
            total = total * 3 + k
        for number, cell in enumerate(self.cells[:3]):
            total += number * cell.tag
        return total

    def records(self, a: int, b: int) -> int:
        pair, other = Pair(a), START
        alias = pair
        alias.swap()
        pair.low += b
        return pair.sum * 3 + pair.low + other.sum

    def union(self, a: int, b: int) -> int:
        found = self.search(a & 31)
        if isinstance(found, Missing):
            return -found.reason
        return found.place + b

    def search(self, tag: int) -> Found | Missing:
        for number in range(24):
            if self.cells[number].tag == tag and self.cells[number].valid:
                return Found(number)
        return Missing(tag)

    def fields(self, a: int, b: int) -> int:
        cell = self.cells[a % 24]
        cell.tag, cell.age, cell.valid = a, b, a > b
        self.grid[a & 3][b & 3] = a
        self.hits += a
        self.total -= b
        if self.verbose:
            print(a)
        for other in self.cells:
            other.age += 1
        return cell.tag + cell.age + self.grid[b & 3][a & 3] + self.hits

    def faults(self, a: int, b: int) -> int:
        try:
            self.total = b
            return self.risky(a)
        except Fault as fault:
            if fault.error is not None:
                fault.error |= 1
            if fault.vector == 13:
                raise
            if fault.vector == 14:
                raise Fault(8, 0) from None
            return -1

    def risky(self, a: int) -> int:
        if a & 3 == 1:
            raise Fault(10 + (a >> 2 & 7), a & 0xFF)
        if a & 3 == 2:
            raise Fault(14, None, a & 0xFFFF)
        return a

    def gives_up(self, a: int, b: int) -> int:
        try:
            if a & 1:
                raise Unsupported("odd")
            if b & 1:
                return self.callback()
        except Fault:
            return 1
        return 0

    callback: Callable[[], int]


BINDING = Binding(Sample, Memory, constants={"verbose": False}, not_native=frozenset(("callback",)))
CONSTRUCTS = ("arithmetic", "logic", "choice", "optional", "loops", "records", "union", "fields", "faults")


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(lower((*CONSTRUCTS, "gives_up"), BINDING), 1)


def _numbers(rng: random.Random) -> tuple[int, int]:
    a, b = (rng.choice((rng.randrange(-9, 20), rng.getrandbits(31), rng.getrandbits(16))) for _ in range(2))
    return a, b


def _sample(rng: random.Random) -> Sample:
    sample = Sample()
    for cell in sample.cells:
        cell.tag, cell.age, cell.valid = rng.randrange(32), rng.randrange(-5, 5), rng.random() < 0.7
    return sample


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_construct_does_the_same(library: Library, construct: str) -> None:
    rng = random.Random(construct)
    for _ in range(100):
        a, b = _numbers(rng)
        python, native = _sample(rng), Sample()
        ctypes.memmove(ctypes.addressof(native), ctypes.addressof(python), ctypes.sizeof(Memory))
        status, words = library.call(construct, native, a, b)
        try:
            expected: Any = getattr(python, construct)(a, b)
        except Fault as fault:
            assert status == FAULT
            assert (native.fault_vector, bool(native.fault_has_error), bool(native.fault_has_cr2)) == (
                fault.vector, fault.error is not None, fault.cr2 is not None)
            assert not native.fault_has_error or native.fault_error == fault.error
            assert not native.fault_has_cr2 or native.fault_cr2 == fault.cr2
            continue
        assert (status, words[0]) == (OK, int(expected)), (a, b)
        size = Memory.fault_vector.offset
        assert bytes(native)[:size] == bytes(python)[:size]


def test_giving_up_passes_all_handlers(library: Library) -> None:
    assert [library.call("gives_up", Sample(), a, b)[0] for a, b in ((0, 0), (1, 0), (0, 1))] == [OK, BAIL, BAIL]


def test_lists() -> None:
    class Lists(Memory):
        def folded(self, a: int, b: int) -> int:
            values = [a, b, *(1, 2)]
            if b & 1:
                values.append(a + b)
            values = [5, *values[::-1]]
            result = 0
            for value in values:
                result = result * 3 + (value & 0xFF)
            pieces = [(a & 7, 1), (b & 7, 2)]
            for value, weight in pieces:
                result += value * weight
            return result + len(values) + len([k * a for k in range(4)])

        def overflows(self, count: int) -> int:
            values = [0]
            for k in range(count):
                values.append(k)
            return len(values)

    built = Library(lower(("folded", "overflows"), Binding(Lists, Memory)), 1)
    for a, b in ((3, 4), (250, 1), (7, 9)):
        assert built.call("folded", Lists(), a, b)[1][0] == Lists().folded(a, b)
    assert [built.call("overflows", Lists(), count)[0] for count in (39, 40)] == [OK, BAIL]


class Wrong(Memory):
    def no_annotation(self, a) -> int:  # type: ignore[no-untyped-def]
        return a

    def with_statement(self) -> None:
        with open("x"):
            pass

    def dictionary(self) -> int:
        return {1: 2}[1]

    def unknown_attribute(self) -> int:
        return self.missing  # type: ignore[attr-defined,no-any-return]

    def recursive(self, a: int) -> int:
        return self.recursive(a)

    def two_types(self, a: int) -> int:
        value = a > 1
        value = a
        return value


@pytest.mark.parametrize("method, message", (
    ("no_annotation", "parameter a has no annotation"),
    ("with_statement", "With is not in the subset"),
    ("dictionary", "Dict is not in the subset"),
    ("unknown_attribute", "Wrong.missing is neither a constant, a field of the context nor an object"),
    ("recursive", "Wrong.recursive calls itself"),
    ("two_types", "Int() where Bool() is wanted"),
))
def test_what_leaves_the_subset_is_refused(method: str, message: str) -> None:
    with pytest.raises(Unlowerable) as error:
        lower((method,), Binding(Wrong, Memory))
    assert message in str(error.value)
    if method not in ("recursive",):
        assert "test_subset.py:" in str(error.value)

