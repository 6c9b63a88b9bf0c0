"""The guest's breakpoints: what they keep from native code, so that everything else stays native.

Rules:

1. The instruction at an armed address is the interpreter's, which looks for it.
2. The data tables have no page for an access that an armed breakpoint there may match. Such accesses are a routine's of
   the machine, which bails if one does match. Instructions are fetched from such a page all the same.
3. While a breakpoint on ports is armed the interpreter makes all accesses to them.
4. The interpreter's own fast paths are the data tables, and need not be given up.
"""

from __future__ import annotations

from rtl.isa.registers import BreakpointType
from vmm.engine.dbt.layout import SINK
from vmm.engine.dbt.promotion import Promotion


class ArmedBreakpoints(Promotion):
    """The part of a translating processor that knows its debug registers.

    Members
    -------
    port_routines : entry points of the routines that access ports, by place; `bail` stands in for them.
    """

    port_routines: dict[int, int]
    bail: int
    _code: frozenset[int] = frozenset()
    _ports_armed = False

    def debug_changed(self) -> None:
        super().debug_changed()
        code, pages, ports = set(), dict[int, bool](), False
        for number, kind, _length in self._armed():
            address: int = self.native.dr[number]
            if kind == BreakpointType.EXECUTE.value:
                code.add(address)
            elif kind == BreakpointType.IO.value:
                ports = True
            else:
                page = address >> 12
                pages[page] = pages.get(page, False) or kind == BreakpointType.ACCESS.value
        if pages != self.tlb.armed or code != self._code:
            self._code = frozenset(code)
            self.tlb.arm(pages)
            self._bar()
        if ports is not self._ports_armed:
            self._arm_ports(ports)

    def choose_paths(self) -> None:
        super().choose_paths()
        self.tlb.set_fast(True, not self._record)

    def _break_at(self, addresses: frozenset[int]) -> None:
        super()._break_at(addresses)
        self._bar()
        self.translations.clear()

    def _bar(self) -> None:
        self._barred = self._breakpoints | self._code
        self.translations.bar(self._barred, frozenset(page for page, reads in self.tlb.armed.items() if reads))

    def _arm_ports(self, armed: bool) -> None:
        self._ports_armed = armed
        state = self.native
        for place, routine in self.port_routines.items():
            state.routines[place] = self.bail if armed else routine
        state.sunk = SINK + 1 if armed else 0
