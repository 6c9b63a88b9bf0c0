"""Reads of devices in the middle of native code, as far as a device answers at any time."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from vmm.engine.dbt.layout import Fields
from vmm.faults import Fault, Unfinished
from vmm.lowering.program import BAIL

_Load = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p)


class DeviceReads:
    """The routine `layout.LOAD_DEVICE` of one processor: a read whose page is translated, and is none of RAM.

    1. What raises `Unfinished` wants the present, or an answer from outside: the instruction is left to the
       interpreter.
    2. What does not, such as the identity of the local APIC, which kernels read all the time, is the value.

    Parameters
    ----------
    state : of the processor. translate, read : linear to physical addresses, and the memory there.
    fail : is told of whatever else is raised.

    Members
    -------
    routine : the entry point.
    """

    def __init__(self, state: Fields, translate: Callable[[int, bool, bool], int], read: Callable[[int, int], int],
                 fail: Callable[[BaseException], None]):
        self._state, self._translate, self._memory_read, self._fail = state, translate, read, fail
        self._callback = _Load(self._load)
        self.routine = ctypes.cast(self._callback, ctypes.c_void_p).value or 0

    def _load(self, _context: int, linear: int, size: int, user: int, _results: int) -> int:
        try:
            self._state.results[0] = self._memory_read(self._translate(linear, False, bool(user)), size)
        except (Fault, Unfinished):
            return BAIL
        except BaseException as error:
            self._fail(error)
            return BAIL
        return 0
