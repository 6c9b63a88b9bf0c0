"""Why a virtual CPU stopped running: a sum of types, whatever technique runs the guest.

Rules:

1. An exit with a *question* (a read of a port or of a device's memory, a hypercall) has to be answered before the next
   `run`. The instruction is not done yet: EIP is still its address, and `run` first does it with the answer.
2. Behind any other exit the instruction is done and EIP is that of the next one, but for `FailEntryExit`.
3. A port access has 1, 2 or 4 bytes, a memory access 1 to 4; what an instruction accesses beyond that gives several
   exits, in the order of the accesses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, TypeGuard


class AnswerError(ValueError):
    """An exit was answered wrongly, or not at all; the message is one sentence."""


@dataclass(slots=True)
class _Access:
    """`value` is what is written; for a read it is None until `answer`."""

    size: int
    is_write: bool
    value: int | None

    @property
    def is_answered(self) -> bool:
        return self.value is not None

    def answer(self, value: int) -> None:
        """Give what a read reads.

        Raises
        ------
        AnswerError
            It is a write, or the value does not fit.
        """
        if self.is_write:
            raise AnswerError(f"{self} is a write and takes no answer")
        if not 0 <= value < 1 << 8 * self.size:
            raise AnswerError(f"{value:#x} is no answer to {self}: it does not fit in {self.size} bytes")
        self.value = value


@dataclass(slots=True)
class IoExit(_Access):
    """IN, OUT, INS or OUTS."""

    port: int

    def __str__(self) -> str:
        return f"the {'write to' if self.is_write else 'read from'} port {self.port:#x}"


@dataclass(slots=True)
class MmioExit(_Access):
    """An access to physical memory where no slot is, or a write to a read-only slot."""

    address: int

    def __str__(self) -> str:
        return f"the {'write to' if self.is_write else 'read from'} memory at {self.address:#x}"


@dataclass(slots=True)
class HypercallExit:
    """VMMCALL: EAX, then EBX, ECX, EDX, ESI, EDI, at privilege level `cpl`. The answer goes to EAX."""

    number: int
    arguments: tuple[int, int, int, int, int]
    cpl: int
    result: int | None = None

    def __str__(self) -> str:
        return f"hypercall {self.number:#x}"

    @property
    def is_answered(self) -> bool:
        return self.result is not None

    def answer(self, result: int) -> None:
        """Give the result, a negative errno for an error.

        Raises
        ------
        AnswerError
            It is not a number of 32 bits, signed or unsigned.
        """
        if not -1 << 31 <= result < 1 << 32:
            raise AnswerError(f"{result:#x} is no answer to {self}: it does not fit in 32 bits")
        self.result = result & 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class HltExit:
    """HLT. Only an interrupt wakes the processor; until then every `run` ends with this exit."""


@dataclass(frozen=True, slots=True)
class InterruptWindowExit:
    """The processor takes an interrupt now, as was asked for."""


class DebugCause(Enum):
    """What a debugger asked for."""

    BREAKPOINT = "breakpoint"
    STEP = "single step"


@dataclass(frozen=True, slots=True)
class DebugExit:
    """Before an instruction at a breakpoint, or behind each one. `address` is linear, of the next instruction."""

    cause: DebugCause
    address: int


@dataclass(frozen=True, slots=True)
class ShutdownExit:
    """A triple fault. Every further `run` ends with this exit until the registers are set."""


@dataclass(frozen=True, slots=True)
class InitExit:
    """An INIT resets the processor. There is no real mode to begin anew in, so that its state is as it was."""


@dataclass(frozen=True, slots=True)
class ApicBaseExit:
    """IA32_APIC_BASE, which is `value` now, has changed, by the guest or from outside. It is its reset value at first.

    Bit 11 says whether there is a local APIC.
    """

    value: int


@dataclass(frozen=True, slots=True)
class KickExit:
    """Somebody asked for an end by `kick`."""


@dataclass(frozen=True, slots=True)
class LimitExit:
    """As many instructions as were allowed are done, or it is as late as was asked for."""


@dataclass(frozen=True, slots=True)
class FailEntryExit:
    """The guest cannot be run from the present state, or wants a mode that there is not; `reason` is one sentence."""

    reason: str


Question: TypeAlias = IoExit | MmioExit | HypercallExit
Exit: TypeAlias = (Question | HltExit | InterruptWindowExit | DebugExit | InitExit | ApicBaseExit | ShutdownExit
                   | KickExit | LimitExit | FailEntryExit)


def is_question(exit_: Exit) -> TypeGuard[Question]:
    """Whether the exit waits for its answer."""
    return isinstance(exit_, (IoExit, MmioExit, HypercallExit)) and not exit_.is_answered
