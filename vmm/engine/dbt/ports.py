"""Port accesses in the middle of native code: Python does them, and native code goes on.

Rules:

1. They are offered if whoever has the ports can `proceed`: say for how many steps native code may go on behind an
   access, this one included, before Python has to look at the machine; 0 if it must at once.
2. Before the access the steps done so far are counted, so that devices see the time of the access.
3. What Python raises meanwhile ends the run of native code, and is raised behind it. An access that was not made yet
   is then not made: the instruction is still to come.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

from vmm.engine.access import IoPorts
from vmm.engine.dbt.layout import PORTS, Fields
from vmm.lowering.program import BAIL

_In = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
_Out = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p)


class ProceedingPorts(IoPorts, Protocol):
    """Ports of a machine in which native code may go on."""

    def proceed(self) -> int: ...


class Ports:
    """The routines `layout.PORTS` of one processor.

    Parameters
    ----------
    state : of the processor. io : the ports. count : called with the steps that native code has done.

    Members
    -------
    routines : entry points by name; none if they are not offered.
    granted : steps that native code may do, those included that it has done and that are not counted yet.
    error : what an access has raised, or None.
    """

    def __init__(self, state: Fields, io: Any, count: Callable[[int], None]):
        self._state, self._count = state, count
        self._io: ProceedingPorts = io
        self._callbacks = (_In(self._read), _Out(self._write)) if hasattr(io, "proceed") else ()
        self.routines = {name: ctypes.cast(callback, ctypes.c_void_p).value or 0
                         for name, callback in zip(PORTS, self._callbacks, strict=False)}
        self.granted = 0
        self.error: BaseException | None = None

    def _read(self, _context: int, port: int, size: int, _results: int) -> int:
        def read() -> None:
            self._state.results[0] = self._io.read(port, size)

        return self._access(read)

    def _write(self, _context: int, port: int, size: int, value: int, _results: int) -> int:
        return self._access(lambda: self._io.write(port, size, value))

    def _access(self, what: Callable[[], None]) -> int:
        """The status of the routine that makes this access."""
        is_done = False
        try:
            self._come_to_the_present()
            what()
            is_done = True
            self._cut(self._io.proceed() - 1)
        except BaseException as error:
            self.error = error
            if not is_done:
                return BAIL
            self._cut(0)
        return 0

    def _come_to_the_present(self) -> None:
        """The budget is past the instruction."""
        done = self.granted - self._state.budget - 1
        self.granted -= done
        self._count(done)

    def _cut(self, steps: int) -> None:
        """Let native code go on for no more than so many steps."""
        excess = self._state.budget - max(steps, 0)
        if excess > 0:
            self._state.budget -= excess
            self.granted -= excess
