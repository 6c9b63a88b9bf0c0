"""The interpreter, doing single instructions of a guest of the hardware on the guest's state and memory."""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.cpuid import ECX_HYPERVISOR, Leaf, cpuid
from rtl.isa.msrs import PerfEvent
from vmm import hypercall
from vmm.engine.interpreter import Interpreter
from vmm.engine.vcpu import SoftwareVcpu
from vmm.exits import Exit
from vmm.memory import PAGE
from vmm.monitor.host import Host
from vmm.slots import SlotMemory
from vmm.state import EAX, EBX, ECX, EDX, CpuView


def guest_cpuid(number: int) -> Leaf:
    """The processor the guest sees: without SVM, and with the leaves of the monitor."""
    leaf = hypercall.LEAVES.get(number) or cpuid(number, svm=False)
    return Leaf(leaf.eax, leaf.ebx, leaf.ecx | ECX_HYPERVISOR, leaf.edx) if number == 1 else leaf


class GuestInterpreter(Interpreter):
    """The interpreter as the processor of such a guest."""

    svm = False

    def identify(self) -> None:
        gpr = self.state.gpr
        leaf = guest_cpuid(gpr[EAX])
        gpr[EAX], gpr[EBX], gpr[ECX], gpr[EDX] = leaf.eax, leaf.ebx, leaf.ecx, leaf.edx


class Emulation:
    """Some instructions at a time: `begin`, then `run` until `is_active` is false.

    1. `state` is the guest's while it is active, at the last instruction that is done: what is in progress begins anew.
    2. What comes from outside meanwhile is told to `vcpu`, too.

    Parameters
    ----------
    host, memory : the guest's. tsc, counter : the guest's time-stamp counter, and its counters of events.

    Members
    -------
    vcpu : who executes. is_active : it has begun, and is not done.
    is_any : the instructions are of any kind, and may forget translations, too.
    """

    def __init__(self, host: Host, memory: SlotMemory, tsc: Callable[[], int],
                 counter: Callable[[PerfEvent], int]) -> None:
        self._host, self._memory = host, memory
        self.vcpu = SoftwareVcpu(memory, GuestInterpreter)
        self.vcpu.tsc = tsc
        self.vcpu.cpu.counter = counter
        self.is_active = self.is_any = False
        self._end = self._shown = 0
        self._paging = 0, 0, 0

    @property
    def state(self) -> CpuView:
        return self.vcpu.cpu.state

    def teach(self, fill: Callable[[CpuView], None]) -> None:
        """Let it know the guest's state, which `fill` writes, and code."""
        fill(self.state)
        for page in list(self._memory.watched):
            self._memory.announce(page * PAGE, PAGE)
        self.vcpu.cpu.state_changed()

    def begin(self, fill: Callable[[CpuView], None]) -> None:
        """One instruction."""
        self._host.spill()
        self.teach(fill)
        state = self.state
        state.init_pending = False
        self._paging, self.is_any = self._tables(), False
        self._end, self._shown = self.vcpu.instructions + 1, self.vcpu.time
        self.is_active = True

    def extend(self, count: int) -> None:
        """So many instructions instead of one."""
        self.is_any = True
        self._end = self.vcpu.instructions + count

    def run(self) -> Exit:
        """As far as it goes. Raises KeyboardInterrupt, and can go on then."""
        return self.vcpu.run(max_instructions=self._end - self.vcpu.instructions)

    def settle(self) -> list[Exit]:
        """To be called behind each `run`: notes whether it is done, and gives what is still to be reported of that."""
        rest = self.vcpu.drain()
        if self.vcpu.can_save:
            self.is_active = False
            self._host.refill()
        return rest

    def stop(self) -> None:
        """What is in progress is given up."""
        self.is_active = False

    @property
    def has_gone_on(self) -> bool:
        """Whether `state` has changed since this was last asked."""
        shown, self._shown = self._shown, self.vcpu.time
        return shown != self._shown

    @property
    def outdates_translations(self) -> bool:
        """Whether the processor may know translations that do not hold any more."""
        return self.is_any or self._paging != self._tables()

    def _tables(self) -> tuple[int, int, int]:
        return self.state.cr0, self.state.cr3, self.state.cr4
