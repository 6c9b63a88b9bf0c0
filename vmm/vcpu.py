"""The face of a virtual CPU, the same for every technique, and what all of them do alike. It has the shape of KVM's.

Rules:

1. Nothing happens outside of `run`. It returns one `Exit`; what the exits mean is in `vmm.exits`.
2. An exit with a question is answered before the next `run`, which does the instruction with the answer. Setting
   registers instead gives the instruction up: the next `run` begins where they say.
3. What comes from outside waits until the processor can take it, and is taken before the next instruction then: an
   injected interrupt, of which there is one at a time, an NMI, an INIT. NMIs that come while one waits are one.
4. Between two instructions, in this order: `ShutdownExit` or `FailEntryExit`, which keep the processor from running;
   `ApicBaseExit`; `InitExit`; `KickExit`; the limits; the NMI; the injected interrupt; the interrupt window; HLT;
   breakpoints.
5. Ctrl-C in `run`, as any other end of it, leaves the processor between two instructions.
6. `time` goes by in `run` alone, in the technique's own unit; what the guest does at which time does not depend on how
   the run is cut by limits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

from rtl.isa.msrs import MSRS, Msr
from rtl.isa.registers import CR4_WRITABLE, Cr0
from vmm.exits import (
    AnswerError,
    ApicBaseExit,
    Exit,
    FailEntryExit,
    HypercallExit,
    InitExit,
    InterruptWindowExit,
    KickExit,
    LimitExit,
    Question,
    is_question,
)
from vmm.faults import Fault
from vmm.registers import Registers, SystemRegisters, out_of_range
from vmm.state import CpuView
from vmm.statistics import Statistics

_CODE = 8
_DEBUG = (0, 1, 2, 3, 6, 7)
_APIC_BASE = int(Msr.APIC_BASE)
_APIC_BASE_RESET = MSRS[Msr.APIC_BASE].reset


class VcpuError(ValueError):
    """A virtual CPU cannot do what was asked; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class GuestDebug:
    """What a debugger wants. The guest sees nothing of it.

    Members
    -------
    single_step : a `DebugExit` behind each instruction, iteration of a REP instruction, and delivery of an exception.
    breakpoints : linear addresses of instructions to stop before, each time that one is reached.
    """

    single_step: bool = False
    breakpoints: Set[int] = frozenset()


def refused(cr0: int, cr4: int, cs_type: int) -> FailEntryExit | None:
    """Why nothing can be executed from such a state, if that is so."""
    if not cr0 & Cr0.PE:
        return FailEntryExit(f"real mode is not supported (CR0 is {cr0:#010x})")
    if cr4 & ~int(CR4_WRITABLE):
        return FailEntryExit(f"CR4 is {cr4:#010x}, and only bits of {int(CR4_WRITABLE):#x} exist")
    if not cs_type & _CODE:
        return FailEntryExit(f"CS holds a segment of type {cs_type:#x}, which is not code")
    return None


def _check(wrong: str | None) -> None:
    if wrong is not None:
        raise VcpuError(wrong)


class Vcpu(ABC):
    """One virtual CPU. Techniques derive from it; what they have to provide is abstract.

    Members
    -------
    registers, system_registers, debug_registers : values; assign one to set all of it. DR0-DR3, DR6, DR7 are in order.
        VcpuError is raised for what a register has no room for.
    instructions : completed so far, a REP instruction once. time : steps of a software engine, cycles of the RTL.
    injected : the vector of the injected interrupt that waits, or None.
    can_interrupt : whether an external interrupt, injected now, would be taken before the next instruction.
    can_save : whether the CPU stands between two instructions, and no exit waits for its answer.
    tsc : clocks of RDTSC, but for what the guest has set; assign a function.
    """

    tsc: Callable[[], int]

    def __init__(self) -> None:
        self._vector: int | None = None
        self._window = False
        self._open: Question | None = None
        self._apic_base_told = _APIC_BASE_RESET
        self._kicked = False
        self._counts: Counter[str] = Counter()

    # registers

    @property
    def registers(self) -> Registers:
        return Registers.of(self._state())

    @registers.setter
    def registers(self, values: Registers) -> None:
        _check(values.out_of_range())
        state = self._state()
        if values.eip != state.eip:
            state.halted = state.repeating = False
        state.shutdown = False
        values.put(state)
        self._put(state)

    @property
    def system_registers(self) -> SystemRegisters:
        return SystemRegisters.of(self._state())

    @system_registers.setter
    def system_registers(self, values: SystemRegisters) -> None:
        _check(values.out_of_range())
        state = self._state()
        state.shutdown = False
        values.put(state)
        self._put(state)

    @property
    def debug_registers(self) -> tuple[int, ...]:
        state = self._state()
        return tuple(state.dr[number] for number in _DEBUG)

    @debug_registers.setter
    def debug_registers(self, values: tuple[int, ...]) -> None:
        _check(out_of_range({f"DR{number}": value for number, value in zip(_DEBUG, values, strict=True)}))
        state = self._state()
        for number, value in zip(_DEBUG, values, strict=True):
            state.dr[number] = value
        self._put(state)

    def msr(self, number: int) -> int:
        """Read a model-specific register. Raises VcpuError if there is none of this number."""
        try:
            return self._read_msr(number)
        except Fault:
            raise VcpuError(f"there is no MSR {number:#x} to read") from None

    def set_msr(self, number: int, value: int) -> None:
        """Write one. Raises VcpuError if there is none, or it does not take the value."""
        try:
            self._write_msr(number, value)
        except Fault:
            writable = MSRS[Msr(number)].writable if number in MSRS else None
            raise VcpuError(f"there is no MSR {number:#x} to write" if writable is None else
                            f"MSR {number:#x} does not take {value:#x}, only bits of {writable:#x}") from None

    @property
    @abstractmethod
    def instructions(self) -> int: ...

    @property
    @abstractmethod
    def time(self) -> int: ...

    # memory

    @abstractmethod
    def spill(self) -> None:
        """To be called before the host looks at guest memory: what the processor holds of it goes there."""

    @abstractmethod
    def refill(self) -> None:
        """To be called after the host has changed guest memory: the processor holds nothing older of it."""

    # what comes from outside

    @property
    def injected(self) -> int | None:
        return self._vector

    @property
    def can_interrupt(self) -> bool:
        return self._vector is None and self._is_between() and self._interruptible

    def interrupt(self, vector: int) -> None:
        """Inject an external interrupt. Raises VcpuError if one waits already, or there is no such vector."""
        if not 0 <= vector < 256:
            raise VcpuError(f"interrupt vectors are 0 to 255, not {vector}")
        if self._vector is not None:
            raise VcpuError(f"interrupt {vector:#x} cannot be injected while {self._vector:#x} waits")
        self._vector = vector

    def request_interrupt_window(self) -> None:
        """Let `run` end as soon as an interrupt could be taken, with an `InterruptWindowExit`."""
        self._window = True

    @abstractmethod
    def nmi(self) -> None:
        """A non-maskable interrupt comes."""

    @abstractmethod
    def init(self) -> None:
        """An INIT comes."""

    def kick(self) -> None:
        """Let `run`, the one in progress or else the next, end with a `KickExit` soon; for any thread, or a signal."""
        self._kicked = True

    @abstractmethod
    def debug(self, wanted: GuestDebug) -> None:
        """What a debugger wants from now on. Raises VcpuError if the technique has nothing like it."""

    # all of it

    @property
    def can_save(self) -> bool:
        return self._open is None and self._is_between()

    def save(self) -> dict[str, Any]:
        """All of the processor's state, for `load` of any virtual CPU, and for any other machine.

        An injected interrupt that waits is in it as `interrupt`, which only virtual CPUs know. Raises VcpuError unless
        `can_save`.
        """
        if not self.can_save:
            raise VcpuError("the state cannot be saved in the middle of an instruction; run on with a limit of 0")
        return self._state().to_dict() | ({} if self._vector is None else {"interrupt": self._vector})

    def load(self, image: dict[str, Any]) -> None:
        """Take over what `save` gave. Raises KeyError if a part is missing."""
        state = self._state()
        state.load_dict(image)
        self._vector = image.get("interrupt")
        self._put(state)

    def statistics(self) -> Statistics:
        """What was done in order to execute the guest, and how often `run` ended with which exit."""
        return Statistics(exits=dict(self._counts))

    @abstractmethod
    def close(self) -> None:
        """End what goes on beside the guest; to be called when it is not run any more."""

    # running

    def run(self, max_instructions: int | None = None, until: int | None = None) -> Exit:
        """Run the guest.

        Parameters
        ----------
        max_instructions : complete no more of them. until : go on no longer than to that time.

        Raises
        ------
        AnswerError
            The last exit was a question, and has no answer.
        """
        question = self._open
        if question is not None:
            value = question.result if isinstance(question, HypercallExit) else question.value
            if value is None:
                raise AnswerError(f"{question} has to be answered before the next run")
            self._open = None
            self._answer(value)
        left = self._go(max_instructions, until)
        self._counts[type(left).__name__.removesuffix("Exit")] += 1
        if is_question(left):
            self._open = left
        return left

    def _before_instruction(self, is_over: bool) -> Exit | None:
        """With what `run` ends between two instructions, if nothing is to be delivered; `is_over` says that a limit is
        reached."""
        wrong = self._obstacle()
        if wrong is not None:
            return wrong
        if self._apic_base != self._apic_base_told:
            self._apic_base_told = self._apic_base
            return ApicBaseExit(self._apic_base_told)
        if self._take_init():
            return InitExit()
        if self._kicked:
            self._kicked = False
            return KickExit()
        if is_over:
            return LimitExit()
        if self._window and self.can_interrupt:
            self._window = False
            return InterruptWindowExit()
        return None

    # what a technique provides

    @abstractmethod
    def _state(self) -> CpuView:
        """The state, or a copy."""

    @abstractmethod
    def _put(self, state: CpuView) -> None:
        """What `_state` gave was changed from outside: it is the state now, and what was in progress is given up."""

    @abstractmethod
    def _read_msr(self, number: int) -> int:
        """Raises Fault."""

    @abstractmethod
    def _write_msr(self, number: int, value: int) -> None:
        """Raises Fault."""

    @abstractmethod
    def _go(self, max_instructions: int | None, until: int | None) -> Exit:
        """To the next exit."""

    @abstractmethod
    def _answer(self, value: int) -> None:
        """The last exit has its answer."""

    @abstractmethod
    def _is_between(self) -> bool:
        """Whether no instruction or delivery is in progress."""

    @property
    @abstractmethod
    def _interruptible(self) -> bool:
        """Whether the processor takes external interrupts, if it is between two instructions."""

    @property
    @abstractmethod
    def _apic_base(self) -> int:
        """IA32_APIC_BASE."""

    @abstractmethod
    def _obstacle(self) -> Exit | None:
        """What keeps the processor from running at all."""

    @abstractmethod
    def _take_init(self) -> bool:
        """Whether an INIT waits and resets the processor now; it does not wait any more then."""
