"""The interrupts of a local APIC by vector, in software; rules in `rtl/irq/vectors.py`."""

from rtl.isa.apic import ApicReg
from vmm.devices.device import Value

WORDS = 8
"""Words in a bank of 256 vectors."""
_BANKS = {"isr": int(ApicReg.ISR), "tmr": int(ApicReg.TMR), "irr": int(ApicReg.IRR)}
BANK_OFFSETS = {base + 0x10 * word: (bank, 32 * word) for bank, base in _BANKS.items() for word in range(WORDS)}
"""Registers of the banks: which bank, and which of its bits is the register's first."""


class Vectors:
    """IRR, ISR and TMR, of 256 bits each, TPR and what follows from them.

    Members
    -------
    request : an interrupt is to be taken: the highest of those that wait is above the processor priority.
    """

    def __init__(self) -> None:
        self.tpr = self.isr = self.tmr = self.irr = 0
        self._enabled = True
        self.request = False

    def _changed(self) -> None:
        self.request = self.irr != 0 and self.is_above(self.irr.bit_length() - 1)

    @property
    def priority(self) -> int:
        """PPR."""
        service = (self.isr.bit_length() - 1) & 0xF0 if self.isr else 0
        return self.tpr if self.tpr >> 4 >= service >> 4 else service

    @property
    def arbitration(self) -> int:
        """APR."""
        waiting, service = ((bits.bit_length() - 1) >> 4 if bits else 0 for bits in (self.irr, self.isr))
        if self.tpr >> 4 >= waiting and self.tpr >> 4 > service:
            return self.tpr
        return max(self.tpr >> 4, waiting, service) << 4

    def is_above(self, vector: int) -> bool:
        """A vector of its class would be taken now."""
        return self._enabled and vector >> 4 > self.priority >> 4

    def enable(self, enabled: bool) -> None:
        """Whether anything may be taken."""
        self._enabled = enabled
        self._changed()

    def set_tpr(self, value: int) -> None:
        self.tpr = value & 0xFF
        self._changed()

    def accept(self, vector: int, by_level: bool) -> None:
        """A vector is requested."""
        bit = 1 << vector
        self.irr |= bit
        self.tmr = self.tmr | bit if by_level else self.tmr & ~bit
        self._changed()

    def acknowledge(self) -> int | None:
        """Take the vector whose turn it is in service; None if there is no request."""
        if not self.request:
            return None
        vector = self.irr.bit_length() - 1
        self.irr ^= 1 << vector
        self.isr |= 1 << vector
        self._changed()
        return vector

    def end(self) -> int | None:
        """The highest vector in service ends: the vector if it came by level, else None."""
        if not self.isr:
            return None
        vector = self.isr.bit_length() - 1
        self.isr ^= 1 << vector
        self._changed()
        return vector if self.tmr >> vector & 1 else None

    def read(self, offset: int) -> int:
        """A register of the banks, one of `BANK_OFFSETS`."""
        bank, shift = BANK_OFFSETS[offset]
        return int(getattr(self, bank)) >> shift & 0xFFFF_FFFF

    def save(self) -> dict[str, Value]:
        return {"tpr": self.tpr} | {
            f"{bank}{word}": getattr(self, bank) >> 32 * word & 0xFFFF_FFFF for bank in _BANKS for word in range(WORDS)}

    def load(self, state: dict[str, Value]) -> None:
        """Take over what `save` gave. Raises KeyError if a part is missing."""
        self.tpr = int(state["tpr"])
        for bank in _BANKS:
            setattr(self, bank, sum(int(state[f"{bank}{word}"]) << 32 * word for word in range(WORDS)))
        self._changed()
