"""A whole computer on a virtual CPU: the devices of the PC behind its exits.

Virtual time is that of the virtual CPU. Devices are brought to the present before each access to a port, which a write
reaches when its instruction is done, and the processor runs up to the time a device could next raise an interrupt.
"""

from __future__ import annotations

from collections.abc import Callable

from vmm.devices.platform import PcPlatform
from vmm.devices.protocol import Platform
from vmm.engine.emulate import StopInfo, StopReason
from vmm.exits import (
    DebugExit,
    Exit,
    FailEntryExit,
    HltExit,
    HypercallExit,
    InterruptWindowExit,
    IoExit,
    LimitExit,
    MmioExit,
    ShutdownExit,
)
from vmm.faults import Unsupported
from vmm.hypercall import ENOSYS
from vmm.vcpu import Vcpu


class Computer:
    """The devices of `platform` around a virtual CPU of any technique.

    Members
    -------
    cpu, platform : its parts. hypercall : answers hypercalls. asleep : time spent in HLT, by which
        the devices are ahead of the virtual CPU.
    """

    def __init__(self, cpu: Vcpu, platform: Platform | None = None):
        self.cpu = cpu
        self.platform: Platform = platform or PcPlatform()
        self.asleep = self.platform.cycles - cpu.time
        self.hypercall: Callable[[HypercallExit], int] = lambda _call: -ENOSYS

    def run(self, max_instructions: int | None = None) -> StopInfo:
        """Run until the guest ends the run, nothing can go on, or that many instructions have completed.

        Raises
        ------
        Unsupported
            The guest wants a mode that there is not.
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
            if platform.intr and cpu.can_interrupt:
                cpu.interrupt(platform.ack())
            elif platform.intr:
                cpu.request_interrupt_window()
            wait = platform.next_event()
            stop = self._serve(cpu.run(None if end is None else end - cpu.instructions,
                                       None if wait is None else cpu.time + wait))
            if stop is not None:
                return stop

    def _catch_up(self) -> None:
        """Let the devices live as long as the processor has."""
        late = self.cpu.time + self.asleep - self.platform.cycles
        if late:
            self.platform.advance(late)

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
            case HltExit():
                return self._sleep()
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
