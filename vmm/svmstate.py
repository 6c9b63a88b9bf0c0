"""What SVM adds to the state of a processor: guest mode, and the controls VMRUN took from the VMCB.

The MSRs EFER, VM_CR and VM_HSAVE_PA are among the other MSRs. AMD64 APM vol. 2, chapter 15.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from rtl.isa.exitcodes import INTERCEPT_WORDS


@dataclass(slots=True)
class SvmState:
    """Guest mode and its controls, which mean nothing outside guest mode, but for `gif`.

    Members
    -------
    guest : guest mode. gif : the global interrupt flag.
    vmcb : physical address. intercepts : the five intercept words.
    iopm, msrpm : physical addresses of the permission maps. tsc_offset : added to what the guest reads.
    vintr, vector : the two words of VINTR; V_IRQ and V_GIF are up to date. host_if : IF when VMRUN was executed.
    nested : nested paging is on. n_cr3 : root of the nested tables. host_pse : they may have 4 MiB entries.
    pause_count : intercepted PAUSEs before the one that exits. event : EVENTINJ not yet delivered, or 0.
    event_next : the EIP that it pushes if it is a software interrupt.
    """

    guest: bool = False
    gif: bool = True
    vmcb: int = 0
    asid: int = 0
    intercepts: list[int] = field(default_factory=lambda: [0] * INTERCEPT_WORDS)
    iopm: int = 0
    msrpm: int = 0
    tsc_offset: int = 0
    vintr: int = 0
    vector: int = 0
    host_if: bool = False
    nested: bool = False
    n_cr3: int = 0
    host_pse: bool = False
    pause_count: int = 0
    event: int = 0
    event_next: int = 0

    def intercepts_code(self, code: int) -> bool:
        """Whether the guest leaves for what has this exit code."""
        return bool(self.intercepts[code >> 5] >> (code & 31) & 1)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able image."""
        return {one.name: list(value) if isinstance(value := getattr(self, one.name), list) else value
                for one in fields(self)}

    def copy_from(self, other: SvmState) -> None:
        """Take over another state in place."""
        for one in fields(self):
            setattr(self, one.name, getattr(other, one.name))
        self.intercepts = list(other.intercepts)
