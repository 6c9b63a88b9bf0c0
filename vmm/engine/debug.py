"""Debug registers, breakpoints, single step (SDM vol. 3B, 17.2-17.3).

Rules:

1. Data and I/O breakpoints are traps: they set `state.pending_debug`, which is delivered at the next boundary.
2. Instruction breakpoints are faults, masked for one instruction by EFLAGS.RF or a load of SS before it; an instruction
   breakpoint has length 0 (one byte); other lengths match as one byte too. The code has been fetched by then, as the
   accessed bits of page tables show, but what is wrong with that comes behind the breakpoint.
3. An access matches a breakpoint when they share a byte of the aligned block DR7 describes.
4. DR4 and DR5 are DR6 and DR7 while CR4.DE is 0, and #UD when it is 1. I/O breakpoints need CR4.DE.
"""

from __future__ import annotations

from rtl.isa.exceptions import Vector
from rtl.isa.registers import (
    BREAKPOINT_LENGTHS,
    DR6_FIXED,
    DR6_WRITABLE,
    DR7_FIXED,
    DR7_WRITABLE,
    BreakpointType,
    Cr4,
    Dr6,
    Dr7,
)
from vmm.engine.taskswitch import Tasks
from vmm.faults import Fault

_DE, _GD = int(Cr4.DE), int(Dr7.GD)
_EXECUTE, _WRITE, _IO, _ACCESS = (
    kind.value
    for kind in (BreakpointType.EXECUTE, BreakpointType.WRITE, BreakpointType.IO, BreakpointType.ACCESS))


class CodeBreakpoint(Fault):
    """The #DB fault of an instruction breakpoint, the one fault that pushes RF as it is."""

    def __init__(self) -> None:
        super().__init__(Vector.DB)


class DebugUnit(Tasks):
    """The debug registers of one processor."""

    def _debug_register(self, number: int) -> int:
        state = self.state
        if number in (4, 5):
            if state.cr4 & _DE:
                raise Fault(Vector.UD)
            number += 2
        if state.dr[7] & _GD:
            state.dr[6] |= int(Dr6.BD)
            raise Fault(Vector.DB)
        return number

    def check_debug(self, number: int) -> None:
        """Whether a debug register may be moved from or to."""
        self._debug_register(number)

    def read_debug(self, number: int) -> int:
        return self.state.dr[self._debug_register(number)]

    def write_debug(self, number: int, value: int) -> None:
        number = self._debug_register(number)
        if number == 6:
            value = value & int(DR6_WRITABLE) | DR6_FIXED
        elif number == 7:
            value = value & int(DR7_WRITABLE) | DR7_FIXED
        self.state.dr[number] = value
        self.debug_changed()

    def debug_changed(self) -> None:
        """Take the slow path for data accesses while a breakpoint could match."""
        self._watching = any(kind in (_WRITE, _ACCESS) for _, kind, _ in self._armed())
        self.choose_paths()

    def _armed(self) -> list[tuple[int, int, int]]:
        """Enabled breakpoints: number, type, length."""
        dr7 = self.state.dr[7]
        return [
            (n, dr7 >> 16 + 4 * n & 3, BREAKPOINT_LENGTHS[dr7 >> 18 + 4 * n & 3])
            for n in range(4) if dr7 >> 2 * n & 3
        ]

    @property
    def has_code_breakpoints(self) -> bool:
        return any(kind == _EXECUTE for _, kind, _ in self._armed())

    def code_breakpoints(self, linear: int) -> int:
        """DR6 bits of the instruction breakpoints at an address."""
        return sum(
            1 << n for n, kind, _ in self._armed() if kind == _EXECUTE and self.state.dr[n] == linear)

    def _matches(self, address: int, size: int, kinds: tuple[int, ...]) -> int:
        hits = 0
        for n, kind, length in self._armed():
            start = self.state.dr[n] & ~(length - 1)
            if kind in kinds and address < start + length and start < address + size:
                hits |= 1 << n
        return hits

    def watch(self, linear: int, size: int, write: bool) -> None:
        self.state.pending_debug |= self._matches(linear, size, (_WRITE, _ACCESS) if write else (_ACCESS,))

    def watch_port(self, port: int, size: int) -> None:
        if self.state.cr4 & _DE:
            self.state.pending_debug |= self._matches(port, size, (_IO,))
