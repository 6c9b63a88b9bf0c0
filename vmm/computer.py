"""A whole computer on a virtual CPU: the devices of the PC behind its exits.

Virtual time is that of the virtual CPU. Devices are brought to the present before each access to a port, which a write
reaches when its instruction is done, and the processor runs up to the time a device could next raise an interrupt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rtl.isa.apic import APIC_BASE_ENABLE
from rtl.isa.msrs import Msr
from vmm.devices.platform import PcPlatform
from vmm.devices.protocol import Platform
from vmm.engine.emulate import StopInfo, StopReason
from vmm.exits import (
    ApicBaseExit,
    DebugExit,
    Exit,
    FailEntryExit,
    HltExit,
    HypercallExit,
    InitExit,
    InterruptWindowExit,
    IoExit,
    KickExit,
    LimitExit,
    MmioExit,
    ShutdownExit,
)
from vmm.faults import Unsupported
from vmm.hypercall import ENOSYS
from vmm.vcpu import Vcpu


class Computer:
    """The devices of `platform` around a virtual CPU of any technique, whose time-stamp counter shows virtual time.

    Members
    -------
    cpu, platform : its parts. hypercall : answers hypercalls. asleep : time spent in HLT, by which
        the devices are ahead of the virtual CPU.
    """

    def __init__(self, cpu: Vcpu, platform: Platform | None = None):
        self.cpu = cpu
        self.platform: Platform = platform or PcPlatform()
        self.asleep = self.platform.cycles - cpu.time
        cpu.tsc = lambda: cpu.time + self.asleep
        self.hypercall: Callable[[HypercallExit], int] = lambda _call: -ENOSYS

    def run(self, max_instructions: int | None = None) -> StopInfo:
        """Run until the guest ends the run, nothing can go on, or that many instructions have completed; or a kick.

        Raises
        ------
        Unsupported
            The registers are of a mode that there is not.
        """
        cpu, platform = self.cpu, self.platform
        end = None if max_instructions is None else cpu.instructions + max_instructions
        while True:
            self._catch_up()
            stop = self._requested_stop()
            if stop is None and end is not None and cpu.instructions >= end:
                stop = StopInfo(StopReason.LIMIT)
            if stop is not None:
                return stop
            self._signal()
            wait = platform.next_event()
            stop = self._serve(cpu.run(None if end is None else end - cpu.instructions,
                                       None if wait is None else cpu.time + wait))
            if stop is not None:
                return stop

    def save(self) -> dict[str, Any]:
        """State of processor and devices, for any machine; RAM is the caller's.

        What is in progress completes first, and at least one instruction then. Raises Unsupported as `run` does.
        """
        while not self.cpu.can_save or self.cpu.injected is not None:
            self._serve(self.cpu.run(until=self.cpu.time + 1))
        self._catch_up()
        self._signal_edges()
        return {"cpu": self.cpu.save(), "devices": self.platform.save()}

    def load(self, image: dict[str, Any]) -> None:
        """Take over what `save` of any machine gave; RAM is the caller's. Raises KeyError if a part is missing."""
        self.platform.load(image["devices"])
        self.asleep = self.platform.cycles - self.cpu.time
        self.cpu.load(image["cpu"])
        self.platform.enable_apic(bool(self.cpu.msr(Msr.APIC_BASE) & APIC_BASE_ENABLE))

    def _catch_up(self) -> None:
        """Let the devices live as long as the processor has."""
        late = self.cpu.time + self.asleep - self.platform.cycles
        if late:
            self.platform.advance(late)

    def _signal(self) -> None:
        """Tell the processor what has come for it."""
        cpu, platform = self.cpu, self.platform
        self._signal_edges()
        if platform.intr and cpu.can_interrupt:
            cpu.interrupt(platform.ack())
        elif platform.intr:
            cpu.request_interrupt_window()

    def _signal_edges(self) -> None:
        """NMI and INIT, which the processor remembers."""
        if self.platform.take_nmi():
            self.cpu.nmi()
        if self.platform.take_init():
            self.cpu.init()

    def _requested_stop(self) -> StopInfo | None:
        platform = self.platform
        if platform.exit_value is not None:
            value, platform.exit_value = platform.exit_value, None
            return StopInfo(StopReason.GUEST_EXIT, value)
        if platform.reset_requested:
            platform.reset_requested = False
            return StopInfo(StopReason.RESET)
        return None

    def _serve(self, left: Exit) -> StopInfo | None:
        """Do what an exit asks for; how the run ends, if it does."""
        match left:
            case IoExit(is_write=True, value=int(value)):
                self._catch_up()
                self.platform.write(left.port, left.size, value)
            case IoExit():
                self._catch_up()
                left.answer(self.platform.read(left.port, left.size))
            case MmioExit(is_write=True, value=int(value)):
                self._catch_up()
                self.platform.write_memory(left.address, left.size, value)
            case MmioExit():
                self._catch_up()
                left.answer(self.platform.read_memory(left.address, left.size))
            case HypercallExit():
                left.answer(self.hypercall(left))
            case LimitExit() | InterruptWindowExit():
                pass
            case ApicBaseExit(value):
                self._catch_up()
                self.platform.enable_apic(bool(value & APIC_BASE_ENABLE))
            case InitExit():
                self.platform.reset_requested = True
            case HltExit():
                return self._sleep()
            case KickExit():
                return StopInfo(StopReason.LIMIT)
            case DebugExit():
                return StopInfo(StopReason.BREAKPOINT)
            case ShutdownExit():
                return StopInfo(StopReason.SHUTDOWN)
            case FailEntryExit(reason):
                raise Unsupported(reason)
            case _:
                raise TypeError(f"unknown exit {left!r}")
        return None

    def _sleep(self) -> StopInfo | None:
        """Time goes by to the next event, if there is one and the processor would take its interrupt."""
        self._catch_up()
        wait = self.platform.next_event()
        if not self.cpu.can_interrupt or wait is None and not self.platform.intr:
            return StopInfo(StopReason.HALT_FOREVER)
        if not self.platform.intr:
            self.asleep += wait or 0
        return None
