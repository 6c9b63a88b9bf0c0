"""Local APIC in software; rules in `rtl/irq/lapic.py`."""

from collections.abc import Callable

from rtl.isa.apic import (
    APIC_ID,
    APIC_SVR_FIRMWARE,
    APIC_VERSION,
    FIRST_VECTOR,
    ICR_WRITABLE,
    LVT_FIRMWARE,
    LVT_WRITABLE,
    SVR_ENABLE,
    SVR_WRITABLE,
    ApicReg,
    Delivery,
    EsrBits,
    IrqBits,
    Shorthand,
    divide_shift,
)
from vmm.devices.device import Output, Value, nowhere

WORDS = 8
_BANKS = {"isr": int(ApicReg.ISR), "tmr": int(ApicReg.TMR), "irr": int(ApicReg.IRR)}
_LVT = {int(reg): reg.name.lower() for reg in LVT_WRITABLE}
_MASKED, _PERIODIC, _LEVEL, _ACTIVE_LOW, _REMOTE_IRR, _LOGICAL = (
    int(bit) for bit in (IrqBits.MASKED, IrqBits.PERIODIC, IrqBits.LEVEL, IrqBits.ACTIVE_LOW, IrqBits.REMOTE_IRR,
                         IrqBits.LOGICAL))
_TIMER_REGISTERS = frozenset((ApicReg.TIMER_INITIAL, ApicReg.TIMER_CURRENT, ApicReg.TIMER_DIVIDE))
STEADY = frozenset(int(reg) for reg in (ApicReg.ID, ApicReg.VERSION, ApicReg.TPR, ApicReg.LDR, ApicReg.DFR, ApicReg.SVR,
                                        ApicReg.ICR_LOW, ApicReg.ICR_HIGH, ApicReg.LVT_TIMER, ApicReg.LVT_LINT1,
                                        ApicReg.LVT_ERROR))
"""Registers that nothing but a write changes, and whose reading changes nothing."""


class LocalApic:
    """The registers, and the interrupts that wait or are in service.

    `advance` lets the timer live; `external`, `request` and `vector` are those of the present.

    Parameters
    ----------
    on_end : takes the vector of a level-triggered interrupt that has ended.

    Members
    -------
    nmi, init : messages of these kinds since the owner cleared them.
    """

    STATE = ("tpr", "ldr", "dfr", "svr", *(f"{bank}{word}" for bank in _BANKS for word in range(WORDS)),
             "esr", "errors", "icr", "icr_dest", *_LVT.values(), "lint0_remote", "lint_last", "initial", "divide",
             "left")

    def __init__(self, on_end: Output = nowhere, apic_id: int = APIC_ID) -> None:
        self.apic_id = apic_id
        self._on_end = on_end
        self.tpr = self.ldr = self.esr = self.errors = self.icr = self.icr_dest = 0
        self.dfr = 0xF
        self.svr = APIC_SVR_FIRMWARE
        self.isr, self.tmr, self.irr = 0, 0, 0
        self.lvt = {int(reg): value for reg, value in LVT_FIRMWARE.items()}
        self.lint0_remote = self.lint_last = 0
        self.initial = self.divide = self.left = 0
        self.nmi = self.init = 0

    # The processor's side.

    @property
    def processor_priority(self) -> int:
        service = (self.isr.bit_length() - 1) & 0xF0 if self.isr else 0
        return self.tpr if self.tpr >> 4 >= service >> 4 else service

    @property
    def request(self) -> bool:
        """A fixed interrupt is to be taken."""
        return bool(self.irr) and self._is_above(self.irr.bit_length() - 1)

    def _is_above(self, vector: int) -> bool:
        return bool(self.svr & SVR_ENABLE) and vector >> 4 > self.processor_priority >> 4

    def acknowledge(self) -> int:
        """Take the vector in service; the spurious one if there is none to be taken any more."""
        if not self.request:
            return self.svr & 0xFF
        vector = self.irr.bit_length() - 1
        self.irr ^= 1 << vector
        self.isr |= 1 << vector
        return vector

    @property
    def external(self) -> bool:
        """LINT0 or LINT1 asks for an acknowledge of the 8259A pair."""
        return bool(self._asserted(0) and self._lint_mode(0) == Delivery.EXTINT
                    or self._asserted(1) and self._lint_mode(1) == Delivery.EXTINT)

    def local_interrupt(self, register: int) -> tuple[int, int, bool] | None:
        """Mode and vector of a local vector, and whether its pin is active low; None if it is masked."""
        lvt = self.lvt[register]
        return None if lvt & _MASKED else (lvt >> 8 & 7, lvt & 0xFF, bool(lvt & _ACTIVE_LOW))

    # Messages, pins and time.

    def is_meant(self, dest: int, logical: bool) -> bool:
        if not logical:
            return dest in (self.apic_id, 0xFF)
        if self.dfr == 0xF:
            return bool(dest & self.ldr)
        return dest >> 4 in (self.ldr >> 4, 0xF) and bool(dest & self.ldr & 0xF)

    def message(self, vector: int, mode: int, level: bool, dest: int, logical: bool) -> None:
        """An interrupt from an I/O APIC."""
        if self.is_meant(dest, logical):
            self._deliver(vector, mode, level)

    def set_pin(self, pin: int, level: int) -> None:
        """LINT0 or LINT1 changes, or stays, at `level`."""
        before = self.lint_last >> pin & 1
        self.lint_last = self.lint_last & ~(1 << pin) | level << pin
        lvt = self.lvt[ApicReg.LVT_LINT0 + 0x10 * pin]
        if not lvt & _MASKED:
            inverted = bool(lvt & _ACTIVE_LOW)
            if not self._by_level(pin) and level ^ inverted and not before ^ inverted:
                self._local(ApicReg.LVT_LINT0 + 0x10 * pin)
            self._look_at_level()

    def advance(self, cycles: int) -> None:
        """Cycles go by for the timer."""
        if not self.left:
            return
        if cycles < self.left:
            self.left -= cycles
            return
        timer, period = self.lvt[ApicReg.LVT_TIMER], self.initial << divide_shift(self.divide)
        self.left = period - (cycles - self.left) % period if timer & _PERIODIC and period else 0
        self._local(ApicReg.LVT_TIMER)

    def cycles_to_fire(self) -> int | None:
        """Cycles up to the end of the timer's count."""
        return self.left or None

    def timer_would_raise(self) -> bool:
        """`request` is low, and would be high if the timer's count ended."""
        timer = self.local_interrupt(ApicReg.LVT_TIMER)
        return timer is not None and self.would_raise(*timer[:2])

    def would_raise(self, mode: int, vector: int) -> bool:
        """`request` is low and would be high if this interrupt came, or it is an NMI."""
        if mode > Delivery.LOWEST:
            return mode in (Delivery.NMI, Delivery.INIT)
        if vector < FIRST_VECTOR:
            return not self.lvt[ApicReg.LVT_ERROR] & _MASKED
        return not self.request and self._is_above(vector)

    def _asserted(self, pin: int) -> bool:
        lvt = self.lvt[ApicReg.LVT_LINT0 + 0x10 * pin]
        return not lvt & _MASKED and bool(self.lint_last >> pin & 1) != bool(lvt & _ACTIVE_LOW)

    def _lint_mode(self, pin: int) -> int:
        return self.lvt[ApicReg.LVT_LINT0 + 0x10 * pin] >> 8 & 7

    def _by_level(self, pin: int) -> bool:
        return pin == 0 and bool(self.lvt[ApicReg.LVT_LINT0] & _LEVEL) and self._lint_mode(0) == Delivery.FIXED

    def _look_at_level(self) -> None:
        if not self.lint0_remote and self._by_level(0) and self._asserted(0):
            self.lint0_remote = 1
            self._local(ApicReg.LVT_LINT0)

    def _local(self, register: int) -> None:
        """The interrupt of a local vector, unless masked. The timer's and the error's are fixed."""
        lvt = self.lvt[register]
        if not lvt & _MASKED:
            self._deliver(lvt & 0xFF, lvt >> 8 & 7, register == ApicReg.LVT_LINT0 and self._by_level(0))

    def _deliver(self, vector: int, mode: int, level: bool) -> None:
        if mode in (Delivery.FIXED, Delivery.LOWEST):
            if vector < FIRST_VECTOR:
                self._record(EsrBits.RECEIVED_ILLEGAL_VECTOR)
            elif self.svr & SVR_ENABLE:
                bit = 1 << vector
                self.irr |= bit
                self.tmr = self.tmr | bit if level else self.tmr & ~bit
        elif mode == Delivery.NMI:
            self.nmi = 1
        elif mode == Delivery.INIT:
            self.init = 1

    def _record(self, error: int) -> None:
        first, self.errors = not self.errors, self.errors | error
        if first:
            self._local(ApicReg.LVT_ERROR)

    # Registers.

    def read(self, offset: int) -> int:
        """The register at an offset, a multiple of 4."""
        bank = offset & 0xF80
        if offset & 0xF:
            pass
        elif bank in (ApicReg.ISR, ApicReg.TMR) or bank == ApicReg.IRR:
            bits = self.isr if bank == ApicReg.ISR else self.tmr if bank == ApicReg.TMR else self.irr
            return bits >> 2 * (offset & 0x70) & 0xFFFF_FFFF
        elif offset in self.lvt:
            return self.lvt[offset] | (_REMOTE_IRR if offset == ApicReg.LVT_LINT0 and self.lint0_remote else 0)
        elif offset in _READERS:
            return _READERS[offset](self)
        self._record(EsrBits.ILLEGAL_REGISTER)
        return 0

    def write(self, offset: int, value: int) -> None:
        """Write a whole register."""
        if offset in self.lvt:
            if not self.svr & SVR_ENABLE:
                value |= _MASKED
            self.lvt[offset] = value & LVT_WRITABLE[ApicReg(offset)]
            if offset == ApicReg.LVT_LINT0:
                self.lint0_remote &= int(self._by_level(0))
                self._look_at_level()
        elif offset in _WRITERS:
            _WRITERS[offset](self, value)
        elif offset & 0xF or offset not in _READ_ONLY:
            self._record(EsrBits.ILLEGAL_REGISTER)

    def _current(self) -> int:
        return -(-self.left >> divide_shift(self.divide))

    def _arbitration(self) -> int:
        waiting, service = ((bits.bit_length() - 1) >> 4 if bits else 0 for bits in (self.irr, self.isr))
        if self.tpr >> 4 >= waiting and self.tpr >> 4 > service:
            return self.tpr
        return max(self.tpr >> 4, waiting, service) << 4

    def _set_svr(self, value: int) -> None:
        self.svr = value & SVR_WRITABLE
        if not self.svr & SVR_ENABLE:
            for register in self.lvt:
                self.lvt[register] |= _MASKED

    def _end(self, _value: int) -> None:
        if not self.isr:
            return
        vector = self.isr.bit_length() - 1
        self.isr ^= 1 << vector
        if self.tmr >> vector & 1:
            if vector == self.lvt[ApicReg.LVT_LINT0] & 0xFF:
                self.lint0_remote = 0
                self._look_at_level()
            self._on_end(vector)

    def _set_esr(self, _value: int) -> None:
        self.esr, self.errors = self.errors, 0

    def _command(self, value: int) -> None:
        self.icr = value & ICR_WRITABLE
        vector, mode, shorthand = value & 0xFF, value >> 8 & 7, value >> 18 & 3
        if mode in (Delivery.FIXED, Delivery.LOWEST) and vector < FIRST_VECTOR:
            self._record(EsrBits.SEND_ILLEGAL_VECTOR)
            return
        if shorthand == Shorthand.NONE:
            meant = self.is_meant(self.icr_dest, bool(value & _LOGICAL))
        else:
            meant = shorthand != Shorthand.OTHERS and mode == Delivery.FIXED
        if meant and (mode != Delivery.INIT or value & IrqBits.ASSERT):
            self._deliver(vector, mode, False)

    def _set_initial(self, value: int) -> None:
        self.initial = value
        self.left = value << divide_shift(self.divide)

    def _set_divide(self, value: int) -> None:
        count, self.divide = self._current(), value & 0xB
        self.left = count << divide_shift(self.divide)

    # State.

    def save(self) -> dict[str, Value]:
        """State by the names of `STATE`."""
        values: dict[str, Value] = {}
        for name in self.STATE:
            bank, word = name[:-1], name[-1:]
            if bank in _BANKS:
                values[name] = getattr(self, bank) >> 32 * int(word) & 0xFFFF_FFFF
            elif name in _LVT.values():
                values[name] = self.lvt[ApicReg[name.upper()]]
            else:
                values[name] = int(getattr(self, name))
        return values

    def load(self, state: dict[str, Value]) -> None:
        """Take over what `save` gave. Raises KeyError if a part is missing."""
        for bank in _BANKS:
            setattr(self, bank, sum(int(state[f"{bank}{word}"]) << 32 * word for word in range(WORDS)))
        for name in self.STATE:
            if name in _LVT.values():
                self.lvt[int(ApicReg[name.upper()])] = int(state[name])
            elif name[:-1] not in _BANKS:
                setattr(self, name, int(state[name]))


_READERS: dict[int, Callable[[LocalApic], int]] = {
    ApicReg.ID: lambda apic: apic.apic_id << 24,
    ApicReg.VERSION: lambda apic: APIC_VERSION,
    ApicReg.TPR: lambda apic: apic.tpr,
    ApicReg.APR: LocalApic._arbitration,
    ApicReg.PPR: lambda apic: apic.processor_priority,
    ApicReg.EOI: lambda apic: 0,
    ApicReg.LDR: lambda apic: apic.ldr << 24,
    ApicReg.DFR: lambda apic: apic.dfr << 28 | 0x0FFF_FFFF,
    ApicReg.SVR: lambda apic: apic.svr,
    ApicReg.ESR: lambda apic: apic.esr,
    ApicReg.ICR_LOW: lambda apic: apic.icr,
    ApicReg.ICR_HIGH: lambda apic: apic.icr_dest << 24,
    ApicReg.TIMER_INITIAL: lambda apic: apic.initial,
    ApicReg.TIMER_CURRENT: LocalApic._current,
    ApicReg.TIMER_DIVIDE: lambda apic: apic.divide,
}


def _field(name: str, shift: int, mask: int) -> Callable[[LocalApic, int], None]:
    return lambda apic, value: setattr(apic, name, value >> shift & mask)


_WRITERS: dict[int, Callable[[LocalApic, int], None]] = {
    ApicReg.TPR: _field("tpr", 0, 0xFF),
    ApicReg.EOI: LocalApic._end,
    ApicReg.LDR: _field("ldr", 24, 0xFF),
    ApicReg.DFR: _field("dfr", 28, 0xF),
    ApicReg.SVR: LocalApic._set_svr,
    ApicReg.ESR: LocalApic._set_esr,
    ApicReg.ICR_LOW: LocalApic._command,
    ApicReg.ICR_HIGH: _field("icr_dest", 24, 0xFF),
    ApicReg.TIMER_INITIAL: LocalApic._set_initial,
    ApicReg.TIMER_DIVIDE: LocalApic._set_divide,
}
_READ_ONLY = frozenset(int(reg) for reg in (ApicReg.ID, ApicReg.VERSION, ApicReg.APR, ApicReg.PPR,
                                            ApicReg.TIMER_CURRENT)) | frozenset(
    bank + 0x10 * word for bank in _BANKS.values() for word in range(WORDS))
