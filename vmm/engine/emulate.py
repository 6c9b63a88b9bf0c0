"""A whole emulated computer: the interpreter, RAM, and the software twins of the devices.

Virtual time: one instruction, or one iteration of a REP instruction, or one delivery, is `cycles_per_step` clocks.
Devices are brought to the present before every access to a port or to a device in memory; between accesses the
processor runs up to the time a device could next raise an interrupt. Results therefore do not depend on how a run is
cut into pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import numpy as np

from rtl.isa.exitcodes import ExitCode
from rtl.isa.platform import REGION
from rtl.isa.retire import RetireCause
from vmm.devices.platform import PcPlatform
from vmm.devices.protocol import Platform
from vmm.engine.interpreter import Interpreter, Retired
from vmm.faults import Unfinished
from vmm.memory import PhysicalMemory, Region
from vmm.paging.mmu import DEFAULT_CAPACITY

#: Steps to run when no device will ever raise an interrupt.
SLICE = 1 << 30
_DEVICES_IN_MEMORY = ("IO_APIC", "LOCAL_APIC")


class StopReason(Enum):
    """Why a machine stopped."""

    GUEST_EXIT = "guest exit"
    HALT_FOREVER = "halted with nothing that could wake it"
    SHUTDOWN = "triple fault"
    RESET = "reset requested"
    BREAKPOINT = "breakpoint"
    LIMIT = "instruction limit"


@dataclass(frozen=True, slots=True)
class StopInfo:
    """`value` is what the guest wrote to the exit port, for GUEST_EXIT."""

    reason: StopReason
    value: int | None = None


class EmulatedMachine:
    """A computer that executes by interpretation.

    Parameters
    ----------
    ram : bytes of RAM, or the buffer.
    cycles_per_step : clocks of virtual time per step.
    processor : what executes: the interpreter or the translator.

    Members
    -------
    cpu, memory, platform : its parts.
    sink : a port to which bytes may be written later and several at once, and who takes them then; or None.
    """

    def __init__(self, ram: int | np.ndarray, *, platform: Platform | None = None, cycles_per_step: int = 1,
                 tlb_capacity: int = DEFAULT_CAPACITY, processor: Callable[..., Interpreter] = Interpreter):
        self.memory = PhysicalMemory(ram)
        self.platform: Platform = platform or PcPlatform()
        self.sink: tuple[int, Callable[[bytes], None]] | None = getattr(self.platform, "sink", None)
        self.cpu = processor(self.memory, self, tlb_capacity)
        self._connect()
        self._cycles_per_step = cycles_per_step
        self._port_used = False
        #: Whether the processor has counted its steps up to the instruction it does.
        self._exact = False
        self._steps_passed = 0
        for name in _DEVICES_IN_MEMORY:
            base = REGION[name].base
            self.memory.map_region(
                Region(base, REGION[name].size, partial(self._load, base), partial(self._store, base)))

    def _connect(self) -> None:
        """Give the processor what it uses of the machine besides ports and memory."""
        self.cpu.clock = self._clock
        self.cpu.on_apic_enable = self._enable_apic

    def _enable_apic(self, enabled: bool) -> None:
        self._catch_up()
        self._port_used = True
        self.platform.enable_apic(enabled)

    def _clock(self) -> int:
        self._catch_up()
        return self.platform.cycles

    def _catch_up(self) -> None:
        """Let the devices live through the steps the processor has done."""
        steps = self.cpu.steps
        if steps != self._steps_passed:
            self.platform.advance((steps - self._steps_passed) * self._cycles_per_step)
            self._steps_passed = steps

    def read(self, port: int, size: int) -> int:
        """A port access of the processor."""
        self._catch_up()
        self._port_used = True
        return self.platform.read(port, size)

    def write(self, port: int, size: int, value: int) -> None:
        self._catch_up()
        self._port_used = True
        self.platform.write(port, size, value)

    def proceed(self) -> int:
        """For how many steps native code may go on behind a port access, that included; 0 if the run must be looked at.
        """
        platform, state = self.platform, self.cpu.state
        self._latch()
        if platform.exit_value is not None or platform.reset_requested or state.nmi_pending or state.init_pending:
            return 0
        return self._grant()

    def _grant(self) -> int:
        """Tell the processor whether an interrupt is wanted; the steps until a device could next want one."""
        self.cpu.line = self.platform.intr
        wait = self.platform.next_event()
        return SLICE if wait is None else -(-wait // self._cycles_per_step)

    def _load(self, base: int, offset: int, size: int) -> int:
        """A read of the processor from a device in memory."""
        value = self.platform.steady(base + offset, size)
        if value is None:
            self._come_to_the_present()
            value = self.platform.read_memory(base + offset, size)
        return value

    def _store(self, base: int, offset: int, size: int, value: int) -> None:
        self._come_to_the_present()
        self.platform.write_memory(base + offset, size, value)

    def _come_to_the_present(self) -> None:
        """For an access to a device in memory, which comes from anywhere: at full speed the processor finds out that
        there is one, and then does the instruction again when its steps are counted."""
        if not self._exact:
            raise Unfinished
        self._catch_up()
        self._port_used = True

    def _exactly(self, what: Callable[[], Retired]) -> Retired:
        """Do one instruction or delivery that may access devices in memory."""
        self._exact = True
        try:
            return what()
        finally:
            self._exact = False

    def run(self, max_instructions: int) -> StopInfo:
        """Run until the guest ends the run, nothing can go on, or that many instructions have completed.

        It also ends before an instruction at one of `cpu.breakpoints`, unless that is where the run begins.
        """
        state, platform = self.cpu.state, self.platform
        end = state.instructions + max_instructions
        while state.instructions < end:
            self._catch_up()
            stop = self._requested_stop()
            if stop is not None:
                return stop
            if self._event() is not None:
                pass
            elif self.cpu.is_idle:
                wait = platform.next_event()
                if wait is None or not self.cpu.can_interrupt:
                    return StopInfo(StopReason.HALT_FOREVER)
                self._sleep(wait)
            else:
                self._run_to_event(end)
            if self.cpu.at_breakpoint:
                self._catch_up()
                return self._requested_stop() or StopInfo(StopReason.BREAKPOINT)
        self._catch_up()
        return self._requested_stop() or StopInfo(StopReason.LIMIT)

    def step(self) -> Retired:
        """One step, interrupts included; in HLT, time goes by until the next event."""
        self._catch_up()
        taken = self._event()
        if taken is not None:
            return taken
        retired = self._exactly(self.cpu.step)
        if retired.cause is RetireCause.HALT and retired.length == 0:
            self._sleep(self.platform.next_event() or 1)
        return retired

    def _event(self) -> Retired | None:
        """Take what comes from outside, if something does and the processor lets it in."""
        cpu, state = self.cpu, self.cpu.state
        self._latch()
        if state.init_pending and cpu.init_exits:
            return self._exactly(lambda: cpu.interrupt_exit(ExitCode.INIT))
        if state.nmi_pending and cpu.nmi_allowed:
            return self._exactly(cpu.accept_nmi)
        if self.platform.intr and cpu.can_interrupt:
            return self._exactly(lambda: cpu.accept(self.platform.ack))
        return None

    def _latch(self) -> None:
        """NMI and INIT are edges, which the processor remembers."""
        if self.platform.take_nmi():
            self.cpu.state.nmi_pending = True
        if self.platform.take_init():
            self.cpu.state.init_pending = True

    def save(self) -> dict[str, Any]:
        """State of processor and devices; RAM is `memory.ram`."""
        self._catch_up()
        self._latch()
        return {"cpu": self.cpu.state.to_dict(), "devices": self.platform.save()}

    def load(self, image: dict[str, Any]) -> None:
        """Take over what `save` gave, on this or another machine; RAM is the caller's.

        Raises
        ------
        KeyError
            A part is missing.
        """
        self.platform.load(image["devices"])
        self.cpu.state.load_dict(image["cpu"])
        self.cpu.state_changed()
        self.platform.enable_apic(self.cpu.apic_enabled)
        self._steps_passed = self.cpu.steps

    def _sleep(self, cycles: int) -> None:
        """Time goes by in HLT."""
        self.platform.advance(cycles)

    def _requested_stop(self) -> StopInfo | None:
        platform = self.platform
        if platform.exit_value is not None:
            value, platform.exit_value = platform.exit_value, None
            return StopInfo(StopReason.GUEST_EXIT, value)
        if self.cpu.state.shutdown:
            return StopInfo(StopReason.SHUTDOWN)
        self._latch()
        if platform.reset_requested or self.cpu.state.init_pending and self.cpu.init_resets:
            platform.reset_requested = self.cpu.state.init_pending = False
            return StopInfo(StopReason.RESET)
        return None

    def _run_to_event(self, end: int) -> None:
        """Run to the next event of a device, to a port access, or to a change that lets an interrupt in."""
        cpu, state = self.cpu, self.cpu.state
        last = cpu.steps + self._grant()
        could = cpu.can_interrupt
        has_breakpoints = bool(cpu.breakpoints)
        self._port_used = False
        while cpu.steps < last and state.instructions < end:
            try:
                cpu.burst(min(last - cpu.steps, end - state.instructions))
            except Unfinished:
                self._exactly(cpu.step)
                return
            if self._port_used or state.halted or state.shutdown or cpu.can_interrupt and not could \
                    or (state.nmi_pending or state.init_pending) and (cpu.nmi_allowed or cpu.init_resets):
                return
            if has_breakpoints and cpu.at_breakpoint:
                return
