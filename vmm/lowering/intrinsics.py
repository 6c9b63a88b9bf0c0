"""What routines written for native code call to reach the host: plain Python here, one instruction there."""

from __future__ import annotations

import ctypes

_KINDS = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32, 8: ctypes.c_uint64}


class Bail(Exception):
    """Native code cannot go on: the routine returns `BAIL`. Nothing visible may have changed before it is raised."""


def host_read(address: int, size: int) -> int:
    """1, 2, 4 or 8 bytes of host memory, zero-extended; 8 bytes are a signed integer in native code."""
    return _KINDS[size].from_address(address).value


def host_write(address: int, size: int, value: int) -> None:
    """Write the low 1, 2, 4 or 8 bytes of a value."""
    _KINDS[size].from_address(address).value = value
