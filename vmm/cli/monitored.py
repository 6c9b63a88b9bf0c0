"""A guest in guest mode of the RTL processor, behind the face all machines share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from rtl.isa.devices import DeviceConfig
from sim import rtlmachine
from sim.bootinfo import Module
from sim.image import Image
from sim.interrupts import deferred_interrupt
from sim.machine import ConsoleSink, MachineError, check_ram_size
from sim.rtlhost import RtlHost
from sim.savefile import SavedState
from sim.stop import ArchState, Reason, Stop
from sim.symbols import SymbolTable
from sim.typedstop import typed_stop
from vmm.cli.software import REASONS, pass_on
from vmm.computer import Computer
from vmm.devices.platform import PcPlatform
from vmm.faults import Unsupported
from vmm.hypercall import Hypercalls
from vmm.monitor.area import AREA_BYTES
from vmm.monitor.report import ExitStatistics
from vmm.monitor.vcpu import SvmVcpu
from vmm.monitor.world import Paused
from vmm.registers import Registers
from vmm.vcpu import VcpuError


class Monitored:
    """`sim.machine.Machine` made of an RTL computer, the hosted monitor, and the devices in software.

    Its cycles are those of the processor, transitions included, those that the guest has slept through, and
    `exit_cost` for each exit.

    Parameters
    ----------
    engine, ram_bytes, console : as for `RtlMachine`; the computer has some RAM more, which the guest does not see.
    host : the computer, if it is there already; it is reset. large : map the guest's memory with 4 MiB pages where they
        fit. exit_cost : cycles that what the monitor does at an exit is said to take.

    Members
    -------
    on_slice : called several times a second while the machine runs.
    """

    def __init__(self, *, engine: str = "native", ram_bytes: int = 16 << 20, console: ConsoleSink | None = None,
                 host: rtlmachine.RtlMachine | None = None, large: bool = True, exit_cost: int = 0) -> None:
        check_ram_size(ram_bytes)
        if host is None:
            host = rtlmachine.RtlMachine(engine=engine, ram=np.zeros((ram_bytes + AREA_BYTES) // 4, dtype=np.uint32))
        else:
            host.reset()
            ram_bytes = host.ram.nbytes - AREA_BYTES
        self.machine = host
        self.large = large
        self.exit_cost = exit_cost
        self.host = RtlHost(host)
        self.ram = self.host.ram[:ram_bytes // 4]
        self.console = console or (lambda _data: None)
        self._begin_guest()

    def _begin_guest(self) -> None:
        ram_bytes = self.ram.nbytes
        self.vcpu = SvmVcpu(self.host, ram_bytes, self.large)
        self.vcpu.world.exit_cost = self.exit_cost
        self.platform = PcPlatform(replace(DeviceConfig(), ram_bytes=ram_bytes))
        self.computer = Computer(self.vcpu, self.platform)
        self._begin = self.computer.asleep
        self.computer.hypercall = Hypercalls(self._read, self.platform.console_out.extend).answer
        self.symbols = SymbolTable()

    def reset(self) -> None:
        """Back to cycle 0, with RAM cleared and a new guest."""
        self.machine.reset()
        self._begin_guest()

    @property
    def on_slice(self) -> Callable[[], None]:
        return self._on_slice

    @on_slice.setter
    def on_slice(self, told: Callable[[], None]) -> None:
        def slice_() -> None:
            pass_on(self.platform, self.console)
            told()

        self._on_slice = told
        self.host.on_slice = slice_

    def _read(self, address: int, size: int) -> bytes:
        self.vcpu.spill()
        return bytes(self.vcpu.memory.host_bytes(address, size))

    def load(self, image: Image, command_line: str = "", modules: Sequence[Module] = ()) -> None:
        """Place the image and set the registers it starts with. Raises ImageError if it does not fit."""
        boot = image.place(self.ram, command_line, modules)
        self.symbols = image.symbols
        self.vcpu.registers = Registers(eax=boot.eax, ebx=boot.ebx, eip=boot.eip)

    @property
    def cycle(self) -> int:
        return self.vcpu.time + self.computer.asleep

    @property
    def instructions(self) -> int:
        return self.vcpu.instructions

    @property
    def exits(self) -> ExitStatistics:
        return self.vcpu.world.costs

    def counters(self) -> dict[str, int]:
        """Those of the processor; `halted` is what the guest slept, `transition_cycles` went for the world switches."""
        return self.host.counters() | {
            "cycles": self.cycle, "instructions": self.instructions, "halted": self.computer.asleep - self._begin,
            "transition_cycles": self.exits.cycles, "monitor_cycles": self.vcpu.world.paid}

    def state(self) -> ArchState:
        """The guest's registers; a switch between the worlds that is under way is completed first."""
        return self.vcpu.report()

    def set_state(self, state: ArchState) -> None:
        """Raises MachineError if it is a state of a guest that uses SVM itself."""
        with _refusal():
            self.vcpu.load(state)

    def memory_image(self) -> np.ndarray:
        self.host.spill()
        return self.ram.copy()

    @property
    def breakpoints(self) -> Set[int]:
        return frozenset()

    @breakpoints.setter
    def breakpoints(self, addresses: Set[int]) -> None:
        if addresses:
            raise MachineError("A guest under svm does not stop at breakpoints")

    def save(self) -> SavedState:
        """All of the guest's computer, for this or any other machine; nothing of the monitor.

        A guest that runs leaves for it at its next instruction, which takes the cycles of one exit. Raises MachineError
        if that is where it wants something that there is not.
        """
        self.vcpu.world.pause = lambda: None
        try:
            image = self.computer.save()
        except Unsupported as error:
            raise MachineError(f"The guest cannot be saved: {error}") from None
        pass_on(self.platform, self.console)
        self.vcpu.spill()
        return SavedState(self.cycle, image["cpu"], image["devices"], self.ram.copy())

    def hand_over(self) -> SavedState | Stop:
        return self.save()

    def restore(self, saved: SavedState) -> None:
        """Go on from a saved state. Raises MachineError if it has another amount of RAM, or its guest uses SVM."""
        saved.check_ram(self.ram)
        self.reset()
        self.ram[:] = saved.ram
        with _refusal():
            self.computer.load({"cpu": saved.cpu, "devices": saved.devices})
        self._begin = self.computer.asleep
        if saved.said:
            self.console(saved.said)

    def leave(self) -> bool:
        """Nothing is at work when the process ends."""
        return False

    def run(self, max_cycles: int | None = None) -> Stop:
        end = None if max_cycles is None else self.cycle + max_cycles
        return self._run(lambda: None if end is None else end - self.cycle) or self._stop(Reason.CYCLE_LIMIT)

    def advance(self, cycles: int) -> Stop | None:
        """Run so many cycles of the processor; a stop if there is a reason. The guest's sleep takes none of them."""
        end = self.host.cycle + cycles
        return self._run(lambda: end - self.host.cycle)

    def _run(self, pause: Callable[[], int | None]) -> Stop | None:
        """Run to the end of the guest; None if the cycles are over before."""
        self.vcpu.world.pause = pause
        with deferred_interrupt() as self.vcpu.interrupted:
            try:
                info = self.computer.run()
            except Paused:
                return None
            except KeyboardInterrupt:
                return self._stop(Reason.USER_INTERRUPT)
            except Unsupported as error:
                return self._stop(Reason.UNSUPPORTED, detail=str(error))
            finally:
                self.vcpu.interrupted = None
        return self._stop(REASONS[info.reason], info.value)

    def _stop(self, reason: Reason, value: int | None = None, detail: str = "") -> Stop:
        pass_on(self.platform, self.console)
        # a switch may have to be completed before there is a state
        cycle, instructions, state = self.cycle, self.instructions, self.state()
        self.host.spill()
        return typed_stop(reason, cycle, instructions, state, self.symbols,
                          self.vcpu.memory.blob, value, detail)


@contextmanager
def _refusal() -> Iterator[None]:
    """The virtual CPU says why it does not take a state."""
    try:
        yield
    except VcpuError as error:
        raise MachineError(f"The guest cannot go on under svm: {error}") from None
