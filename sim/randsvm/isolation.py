"""The invariant of nested paging: no access in guest mode leaves the host frames that the guest's N_CR3 maps.

1. Each store, from the RTL's store tap, goes to a frame that the nested tables let the guest write. What VMRUN and
   #VMEXIT themselves write is the processor's.
2. Each frame that a guest gets from a translation, for data or code, is one that they let it read. Those are the
   reference's: the RTL has no tap for reads, but what it reads shows in the registers, which lockstep compares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rtl.isa.exitcodes import ExitCode, exit_name
from rtl.isa.retire import RetireCause

from .program import Guests

_PAGE_BITS = 12
#: What the retire port has of it.
_INVALID = ExitCode.INVALID & 0xFFFF_FFFF
_VMEXIT, _EXCEPTION = RetireCause.VMEXIT.value, RetireCause.EXCEPTION.value

Record = Sequence[int]


@dataclass
class Isolation:
    """Follows one run of `guests`; `Lockstep` shows it every retirement with its stores.

    Members
    -------
    entries : VMRUNs that reached the guest. stores, translations : how many of each under nested paging were checked.
    exits : by name, those of VMRUNs that did not included.
    """

    guests: Guests
    entries: int = 0
    stores: int = 0
    translations: int = 0
    exits: Counter[str] = field(default_factory=Counter)
    _round: int = -1
    _guest: bool = False

    def __call__(self, record: Record, stores: Sequence[Record], reached: set[int]) -> list[str]:
        """What is wrong with this retirement, one phrase each."""
        cause, eip, error = record[1], record[2], record[6]
        if cause == _VMEXIT:
            self._guest = False
            self.exits[ExitCode.INVALID.name if error == _INVALID else exit_name(error)] += 1
            return []
        if not self._guest:
            if eip == self.guests.next:
                self._round += 1
            elif eip == self.guests.vmrun and cause < _EXCEPTION:
                self._guest = True
                self.entries += 1
            return []
        frames = self.guests.frames[self._round]
        if frames is None:
            return []
        self.stores += len(stores)
        self.translations += len(reached)
        return [f"the guest reads host frame {frame:X}h, which its nested tables do not give it"
                for frame in sorted(reached - frames.read)] + [
                f"the guest writes to host frame {frame:X}h, which its nested tables do not give it"
                for store in stores for frame in _frames(store) if frame not in frames.write]


def _frames(store: Record) -> set[int]:
    """The host frames of a store: what lies beyond its word may be in another one."""
    _cycle, address, beyond, size = store[:4]
    crosses = (address & 3) + (1 << size) > 4
    return {address >> _PAGE_BITS, (beyond if crosses else address) >> _PAGE_BITS}
