"""The face of a virtual CPU, the same for every technique.

Rules:

1. Nothing happens outside of `run`. It returns one `Exit`; what the exits mean is in `vmm.exits`.
2. An exit with a question is answered before the next `run`, which does the instruction with the answer. Setting
   registers instead gives the instruction up: the next `run` begins where they say.
3. An injected interrupt waits until the processor can take it, and is taken before the next instruction then.
4. `time` goes by in `run` alone, in the technique's own unit; what the guest does at which time does not depend on how
   the run is cut by limits.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any, Protocol

from vmm.exits import Exit
from vmm.registers import Registers, SystemRegisters
from vmm.statistics import Statistics


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


class Vcpu(Protocol):
    """One virtual CPU.

    Members
    -------
    registers, system_registers, debug_registers : values; assign one to set all of it. DR0-DR3, DR6, DR7 are in order.
    instructions : completed so far, a REP instruction once. time : steps of a software engine, cycles of the RTL.
    can_interrupt : whether an external interrupt would be taken before the next instruction.
    """

    @property
    def registers(self) -> Registers: ...

    @registers.setter
    def registers(self, values: Registers) -> None: ...

    @property
    def system_registers(self) -> SystemRegisters: ...

    @system_registers.setter
    def system_registers(self, values: SystemRegisters) -> None: ...

    @property
    def debug_registers(self) -> tuple[int, ...]: ...

    @debug_registers.setter
    def debug_registers(self, values: tuple[int, ...]) -> None: ...

    def msr(self, number: int) -> int:
        """Read a model-specific register. Raises VcpuError if there is none of this number."""

    def set_msr(self, number: int, value: int) -> None:
        """Write one. Raises VcpuError if there is none, or it does not take the value."""

    @property
    def instructions(self) -> int: ...

    @property
    def time(self) -> int: ...

    @property
    def can_interrupt(self) -> bool: ...

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

    def interrupt(self, vector: int) -> None:
        """Inject an external interrupt. Raises VcpuError if one waits already, or there is no such vector."""

    def request_interrupt_window(self) -> None:
        """Let `run` end as soon as an interrupt could be taken, with an `InterruptWindowExit`."""

    def debug(self, wanted: GuestDebug) -> None:
        """What a debugger wants from now on."""

    def save(self) -> dict[str, Any]:
        """All of the processor's state, for `load` of any virtual CPU. Raises VcpuError while an exit waits for its
        answer, or its write has not been reported yet."""

    def load(self, image: dict[str, Any]) -> None:
        """Take over what `save` gave. Raises KeyError if a part is missing."""

    def statistics(self) -> Statistics:
        """What was done in order to execute the guest, and how often `run` ended with which exit."""
