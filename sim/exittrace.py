"""The entries and exits of guests, one line each, read from the retire port and the stores of the RTL computer.

A #VMEXIT is a retirement of its own, and what it says of its cause are stores to the VMCB. VMRUN retires as any other
instruction; no other stores to the places of EIP, ESP and EAX in one page, which is that of the host save area.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtl.isa.exitcodes import ExitCode, exit_name
from rtl.isa.retire import RetireCause
from rtl.isa.svm import Vmcb

from .design import RETIRE, STORE
from .exitinfo import describe_event, describe_exit
from .rtlmachine import RtlMachine

_INSTRUCTION, _VMEXIT, _HALT = (
    cause.value for cause in (RetireCause.INSTRUCTION, RetireCause.VMEXIT, RetireCause.HALT))
_M32 = 0xFFFF_FFFF
#: Fields of a VMCB that tell of an exit; wide ones are two words.
_WIDE = {"info1": Vmcb.EXITINFO1, "info2": Vmcb.EXITINFO2, "event": Vmcb.EXITINTINFO}
_SAVED = (Vmcb.RIP, Vmcb.RSP, Vmcb.RAX)
_FIELDS = np.array([Vmcb.EXITCODE + 4, *(field + half for field in _WIDE.values() for half in (0, 4)), *_SAVED],
                   dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class Entry:
    """VMRUN: the guest begins.

    Members
    -------
    cycle : in which VMRUN retires. eip : of the guest. vmcb : its address.
    switch : cycles of the way into the guest.
    """

    cycle: int
    eip: int
    vmcb: int
    switch: int

    def text(self) -> str:
        return f"{self.cycle:>14} vmrun   {'':<13} eip {self.eip:08X}  vmcb {self.vmcb:08X}  switch {self.switch}"

    def to_dict(self) -> dict[str, Any]:
        return {"event": "vmrun", "cycle": self.cycle, "eip": self.eip, "vmcb": self.vmcb, "switch": self.switch}


@dataclass(frozen=True, slots=True)
class Exit:
    """#VMEXIT: the guest is left.

    Members
    -------
    cycle : in which it is done. code : EXITCODE. eip, ecx : of the guest, or of a VMRUN that fails. vmcb : its address.
    info1, info2, event : EXITINFO1, EXITINFO2, EXITINTINFO.
    guest : cycles since its VMRUN up to the last instruction that retired, with waits in HLT; instructions : so many.
    switch : cycles since then.
    """

    cycle: int
    code: int
    eip: int
    ecx: int
    vmcb: int
    info1: int
    info2: int
    event: int
    guest: int
    instructions: int
    switch: int

    @property
    def name(self) -> str:
        return exit_name(self.code)

    def detail(self) -> str:
        """What EXITINFO1, EXITINFO2 and EXITINTINFO mean."""
        event = describe_event(self.event)
        parts = [describe_exit(self.code, self.info1, self.info2, self.ecx), f"in {event}" if event else ""]
        return "; ".join(part for part in parts if part)

    def text(self) -> str:
        detail = self.detail()
        return (f"{self.cycle:>14} vmexit  {self.name:<13} eip {self.eip:08X}  info1 {self.info1:x}  "
                f"info2 {self.info2:x}  guest {self.guest}  switch {self.switch}" + (f"  {detail}" if detail else ""))

    def to_dict(self) -> dict[str, Any]:
        return {"event": "vmexit", "cycle": self.cycle, "reason": self.name, "code": self.code, "eip": self.eip,
                "vmcb": self.vmcb, "info1": self.info1, "info2": self.info2, "int_info": self.event,
                "guest": self.guest, "instructions": self.instructions, "switch": self.switch,
                "detail": self.detail()}


class ExitTrace:
    """Follows a computer from where it stands, in whatever way it is run.

    1. Cycles are those of the simulated processor.
    2. A guest that runs already has no VMRUN; its first exit counts from here.

    Parameters
    ----------
    machine : the computer; its `on_records` is taken. told : gets each entry and exit, in order.
    """

    def __init__(self, machine: RtlMachine, told: Callable[[Entry | Exit], object]) -> None:
        self._machine, self._engine = machine, machine.engine
        self._told = told
        self._last = self._engine.cycle  #: of the last retirement
        self._begun, self._instructions = self._last, 0
        self._eax = 0
        self._halted = False
        for tap in (RETIRE, STORE):
            self._engine.set_tap(tap, True)
        self._stores: np.ndarray = self._engine.drain_tap(STORE)
        machine.on_records = self.collect

    def close(self) -> None:
        """Tell what is left, and follow no more."""
        self.collect()
        self._machine.on_records = lambda: None
        for tap in (RETIRE, STORE):
            self._engine.set_tap(tap, False)

    def collect(self) -> None:
        """Tell what has happened since the last call."""
        # Who looks at the state of a machine lets a copy of it run on.
        records, stores = (tap[tap["cycle"] < self._engine.cycle]
                           for tap in (self._engine.drain_tap(name) for name in (RETIRE, STORE)))
        stores = stores[np.isin(stores["paddr"] & 0xFFF, _FIELDS)]
        self._stores = np.concatenate([self._stores, stores])
        begin = 0
        for place in sorted({*np.flatnonzero(records["cause"] == _VMEXIT).tolist(), *self._entries(records)}):
            self._pass(records[begin:place])
            self._switch(records[place])
            begin = place + 1
        self._pass(records[begin:])
        # Stores come before their instruction retires, and after what retires before.
        self._stores = self._stores[self._stores["cycle"] > self._last]

    def _entries(self, records: np.ndarray) -> list[int]:
        """Places of VMRUN among the records."""
        found = []
        for saved in self._stores[self._stores["paddr"] & 0xFFF == Vmcb.RAX]:
            place = int(np.searchsorted(records["cycle"], saved["cycle"], "right"))
            if place < len(records) and records[place]["cause"] == _INSTRUCTION:
                begin = records[place - 1]["cycle"] if place else self._last
                mine = self._stores[(self._stores["cycle"] > begin) & (self._stores["cycle"] <= saved["cycle"])]
                if {int(saved["paddr"]) & ~0xFFF | field for field in _SAVED} <= set(mine["paddr"].tolist()):
                    found.append(place)
        return found

    def _pass(self, records: np.ndarray) -> None:
        """Instructions without a switch."""
        if len(records):
            last = records[-1]
            self._instructions += len(records)
            self._last, self._eax, self._halted = int(last["cycle"]), int(last["eax"]), int(last["cause"]) == _HALT

    def _switch(self, record: np.void) -> None:
        cycle = int(record["cycle"])
        if record["cause"] == _VMEXIT:
            self._told(self._exit(record, cycle))
        else:
            self._told(Entry(cycle, int(record["next_eip"]), self._eax, cycle - self._last))
            self._begun, self._instructions = cycle, 0
        self._last, self._halted = cycle, False

    def _exit(self, record: np.void, cycle: int) -> Exit:
        vmcb, stores = int(record["eax"]), self._stores
        mine = stores[(stores["cycle"] > self._last) & (stores["cycle"] <= cycle)
                      & (stores["paddr"] >> 12 == vmcb >> 12)]
        words = {int(store["paddr"]) & 0xFFF: int(store["data"]) for store in mine}
        wide = {name: words.get(field, 0) | words.get(field + 4, 0) << 32 for name, field in _WIDE.items()}
        # Nothing retires while a guest waits in HLT.
        left = int(mine[0]["cycle"]) if self._halted and len(mine) else self._last
        code, eip = int(record["error"]), words.get(Vmcb.RIP, int(record["eip"]))
        if code == _M32:
            # VMEXIT_INVALID: there was no guest.
            code, self._begun, self._instructions = ExitCode.INVALID, left, 0
        return Exit(cycle, code, eip, int(record["ecx"]), vmcb, guest=left - self._begun,
                    instructions=self._instructions, switch=cycle - left, **wide)


def as_text(event: Entry | Exit) -> str:
    """A line for people."""
    return event.text()


def as_json(event: Entry | Exit) -> str:
    """A line for programs."""
    return json.dumps(event.to_dict())
