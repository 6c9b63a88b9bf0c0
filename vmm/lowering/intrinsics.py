"""What routines written for native code call to reach the host: plain Python here, one instruction there."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TypeVar

Routine = TypeVar("Routine", bound=Callable[..., object])
_KINDS = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32, 8: ctypes.c_uint64}


#: What is known of routines in native code beyond their source: LLVM attributes by function.
ATTRIBUTES: dict[object, str] = {}


def rarely(function: Routine) -> Routine:
    """Keep a routine out of line: it is the slow way of something common."""
    ATTRIBUTES[function] = "noinline cold "
    return function


class Bail(Exception):
    """Native code cannot go on: the routine returns `BAIL`. Nothing visible may have changed before it is raised."""


def host_read(address: int, size: int) -> int:
    """1, 2, 4 or 8 bytes of host memory, zero-extended; 8 bytes are a signed integer in native code."""
    return _KINDS[size].from_address(address).value


def host_write(address: int, size: int, value: int) -> None:
    """Write the low 1, 2, 4 or 8 bytes of a value."""
    _KINDS[size].from_address(address).value = value
