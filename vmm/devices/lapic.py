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
)
from vmm.devices.apic_timer import ApicTimer
from vmm.devices.device import Output, Value, nowhere
from vmm.devices.vectors import BANK_OFFSETS, Vectors

_LVT = {int(reg): reg.name.lower() for reg in LVT_WRITABLE}
_MASKED, _PERIODIC, _LEVEL, _ACTIVE_LOW, _REMOTE_IRR, _LOGICAL = (
    int(bit) for bit in (IrqBits.MASKED, IrqBits.PERIODIC, IrqBits.LEVEL, IrqBits.ACTIVE_LOW, IrqBits.REMOTE_IRR,
                         IrqBits.LOGICAL))
STEADY = frozenset(int(reg) for reg in (ApicReg.ID, ApicReg.VERSION, ApicReg.TPR, ApicReg.LDR, ApicReg.DFR, ApicReg.SVR,
                                        ApicReg.ICR_LOW, ApicReg.ICR_HIGH, ApicReg.LVT_TIMER, ApicReg.LVT_LINT1,
                                        ApicReg.LVT_ERROR))
"""Registers that nothing but a write changes, and whose reading changes nothing."""


class LocalApic:
    """The registers, and how interrupts come in. `advance` lets the timer live.

    Parameters
    ----------
    on_end : takes the vector of a level-triggered interrupt that has ended.

    Members
    -------
    vectors, timer : its parts.
    external : LINT0 or LINT1 asks for an acknowledge of the 8259A pair.
    is_virtual_wire : what LINT0 says passes through as it is, and LINT1 has no part in it.
    nmi, init : messages of these kinds since the owner cleared them.
    """

    STATE = ("ldr", "dfr", "svr", "esr", "errors", "icr", "icr_dest", *_LVT.values(), "lint0_remote", "lint_last")

    def __init__(self, on_end: Output = nowhere, apic_id: int = APIC_ID) -> None:
        self.apic_id = apic_id
        self._on_end = on_end
        self.vectors, self.timer = Vectors(), ApicTimer()
        self.ldr = self.esr = self.errors = self.icr = self.icr_dest = 0
        self.dfr = 0xF
        self.svr = APIC_SVR_FIRMWARE
        self.lvt = {int(reg): value for reg, value in LVT_FIRMWARE.items()}
        self.lint0_remote = self.lint_last = 0
        self.nmi = self.init = 0
        self._lvt_changed()

    # The processor's side.

    @property
    def request(self) -> bool:
        """A fixed interrupt is to be taken."""
        return self.vectors.request

    def acknowledge(self) -> int:
        """Take the vector in service; the spurious one if there is none to be taken any more."""
        vector = self.vectors.acknowledge()
        return self.svr & 0xFF if vector is None else vector

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
        if self._own_pins >> pin & 1:
            inverted = bool(self._active_low >> pin & 1)
            if not self._by_level(pin) and level ^ inverted and not before ^ inverted:
                self._local(ApicReg.LVT_LINT0 + 0x10 * pin)
            self._look_at_level()
        else:
            self.external = (self.lint_last ^ self._active_low) & self._external_pins != 0

    def _lvt_changed(self) -> None:
        """What local vectors make of the pins: those that ask for the pair's vector, those that have an interrupt of
        their own, those that are active low."""
        self._external_pins = self._own_pins = self._active_low = 0
        for pin in range(2):
            lvt = self.lvt[ApicReg.LVT_LINT0 + 0x10 * pin]
            self._active_low |= bool(lvt & _ACTIVE_LOW) << pin
            if not lvt & _MASKED:
                if lvt >> 8 & 7 == Delivery.EXTINT:
                    self._external_pins |= 1 << pin
                else:
                    self._own_pins |= 1 << pin
        self.is_virtual_wire = self._external_pins == 1 and not self._active_low & 1
        self.external = (self.lint_last ^ self._active_low) & self._external_pins != 0

    def advance(self, cycles: int) -> None:
        """Cycles go by for the timer."""
        if self.timer.advance(cycles, bool(self.lvt[ApicReg.LVT_TIMER] & _PERIODIC)):
            self._local(ApicReg.LVT_TIMER)

    def cycles_to_fire(self) -> int | None:
        """Cycles up to the end of the timer's count."""
        return self.timer.left or None

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
        return not self.vectors.request and self.vectors.is_above(vector)

    def _by_level(self, pin: int) -> bool:
        lint0 = self.lvt[ApicReg.LVT_LINT0]
        return pin == 0 and bool(lint0 & _LEVEL) and lint0 >> 8 & 7 == Delivery.FIXED

    def _look_at_level(self) -> None:
        asserted = (self.lint_last ^ self._active_low) & self._own_pins & 1
        if asserted and not self.lint0_remote and self._by_level(0):
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
                self.vectors.accept(vector, level)
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
        if offset in BANK_OFFSETS:
            return self.vectors.read(offset)
        if offset in self.lvt:
            return self.lvt[offset] | (_REMOTE_IRR if offset == ApicReg.LVT_LINT0 and self.lint0_remote else 0)
        if offset in _READERS:
            return _READERS[offset](self)
        self._record(EsrBits.ILLEGAL_REGISTER)
        return 0

    def write(self, offset: int, value: int) -> None:
        """Write a whole register."""
        if offset in self.lvt:
            if not self.svr & SVR_ENABLE:
                value |= _MASKED
            self.lvt[offset] = value & LVT_WRITABLE[ApicReg(offset)]
            self._lvt_changed()
            if offset == ApicReg.LVT_LINT0:
                self.lint0_remote &= int(self._by_level(0))
                self._look_at_level()
        elif offset in _WRITERS:
            _WRITERS[offset](self, value)
        elif offset not in _READ_ONLY and offset not in BANK_OFFSETS:
            self._record(EsrBits.ILLEGAL_REGISTER)

    def _set_svr(self, value: int) -> None:
        self.svr = value & SVR_WRITABLE
        self.vectors.enable(bool(self.svr & SVR_ENABLE))
        if not self.svr & SVR_ENABLE:
            for register in self.lvt:
                self.lvt[register] |= _MASKED
            self._lvt_changed()

    def _end(self, _value: int) -> None:
        vector = self.vectors.end()
        if vector is not None:
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

    # State.

    def save(self) -> dict[str, Value]:
        """State by the names of `STATE`."""
        values: dict[str, Value] = {
            f"{name}.{key}": value for name, part in (("vectors", self.vectors), ("timer", self.timer))
            for key, value in part.save().items()}
        for name in self.STATE:
            values[name] = self.lvt[ApicReg[name.upper()]] if name in _LVT.values() else int(getattr(self, name))
        return values

    def load(self, state: dict[str, Value]) -> None:
        """Take over what `save` gave. Raises KeyError if a part is missing."""
        for name, part in (("vectors", self.vectors), ("timer", self.timer)):
            part.load({key.removeprefix(f"{name}."): value for key, value in state.items()
                       if key.startswith(f"{name}.")})
        for name in self.STATE:
            if name in _LVT.values():
                self.lvt[int(ApicReg[name.upper()])] = int(state[name])
            else:
                setattr(self, name, int(state[name]))
        self.vectors.enable(bool(self.svr & SVR_ENABLE))
        self._lvt_changed()


_READERS: dict[int, Callable[[LocalApic], int]] = {
    ApicReg.ID: lambda apic: apic.apic_id << 24,
    ApicReg.VERSION: lambda apic: APIC_VERSION,
    ApicReg.TPR: lambda apic: apic.vectors.tpr,
    ApicReg.APR: lambda apic: apic.vectors.arbitration,
    ApicReg.PPR: lambda apic: apic.vectors.priority,
    ApicReg.EOI: lambda apic: 0,
    ApicReg.LDR: lambda apic: apic.ldr << 24,
    ApicReg.DFR: lambda apic: apic.dfr << 28 | 0x0FFF_FFFF,
    ApicReg.SVR: lambda apic: apic.svr,
    ApicReg.ESR: lambda apic: apic.esr,
    ApicReg.ICR_LOW: lambda apic: apic.icr,
    ApicReg.ICR_HIGH: lambda apic: apic.icr_dest << 24,
    ApicReg.TIMER_INITIAL: lambda apic: apic.timer.initial,
    ApicReg.TIMER_CURRENT: lambda apic: apic.timer.current,
    ApicReg.TIMER_DIVIDE: lambda apic: apic.timer.divide,
}


def _field(name: str, shift: int, mask: int) -> Callable[[LocalApic, int], None]:
    return lambda apic, value: setattr(apic, name, value >> shift & mask)


_WRITERS: dict[int, Callable[[LocalApic, int], None]] = {
    ApicReg.TPR: lambda apic, value: apic.vectors.set_tpr(value),
    ApicReg.EOI: LocalApic._end,
    ApicReg.LDR: _field("ldr", 24, 0xFF),
    ApicReg.DFR: _field("dfr", 28, 0xF),
    ApicReg.SVR: LocalApic._set_svr,
    ApicReg.ESR: LocalApic._set_esr,
    ApicReg.ICR_LOW: LocalApic._command,
    ApicReg.ICR_HIGH: _field("icr_dest", 24, 0xFF),
    ApicReg.TIMER_INITIAL: lambda apic, value: apic.timer.set_initial(value),
    ApicReg.TIMER_DIVIDE: lambda apic, value: apic.timer.set_divide(value),
}
_READ_ONLY = frozenset(int(reg) for reg in (ApicReg.ID, ApicReg.VERSION, ApicReg.APR, ApicReg.PPR,
                                            ApicReg.TIMER_CURRENT))
