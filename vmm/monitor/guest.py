"""A guest on the simulated processor: its state, in the VMCB and in the monitor, and what comes for it from outside."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from rtl.isa.exitcodes import ExitCode
from rtl.isa.msrs import MSRS, Msr, PerfEvent
from rtl.isa.registers import Eflags
from rtl.isa.svm import INTERRUPT_SHADOW, SegmentField, Vmcb
from sim.stop import ArchState
from vmm.exits import Exit, ShutdownExit
from vmm.monitor.area import Area
from vmm.monitor.emulation import Emulation
from vmm.monitor.host import Host
from vmm.monitor.nested import NestedTables
from vmm.monitor.world import World
from vmm.slots import MemorySlot, SlotMemory
from vmm.state import CpuState, CpuView
from vmm.svmstate import SvmState
from vmm.vcpu import GuestDebug, Vcpu, VcpuError, refused

_APIC_BASE, _APIC_BASE_RESET = int(Msr.APIC_BASE), MSRS[Msr.APIC_BASE].reset
_ATTRIBUTES = 8 * SegmentField.ATTRIB


class HardwareGuest(Vcpu):
    """The part of `vmm.monitor.vcpu.SvmVcpu` that holds while the guest does not run; its parameters and members are
    there.
    """

    def __init__(self, host: Host, size: int, large: bool = True, memory: SlotMemory | None = None,
                 tables: int | None = None) -> None:
        super().__init__()
        self.host = host
        area = Area(size, large) if tables is None else Area(size, large, tables)
        self.world = World(host, area)
        self.control = self.world.control
        self.tsc: Callable[[], int] = lambda: self.time
        if memory is None:
            memory = SlotMemory(host.ram[:size // 4])
            memory.map(MemorySlot(0, size))
        self.memory = memory
        self._emulation = Emulation(host, memory, lambda: self.tsc(), self._counter)
        self._tables = NestedTables(host, area, memory)
        forget = memory.on_guard

        def guards_changed() -> None:
            forget()
            self._mapped = False

        memory.on_guard = guards_changed
        self.interrupted: Callable[[], bool] | None = None
        self._halted = self._shut_down = self._repeating = False
        self._nmi_pending = self._nmi_blocked = self._init_pending = False
        self._done = self._pending_debug = self._tsc_offset = 0
        self._apic = _APIC_BASE_RESET
        #: A debugger steps; the registers are such that the guest can run; the nested tables are up to date.
        self._single_step = self._looked = self._mapped = False
        #: Does with its answer the instruction that has asked for one; and the answer.
        self._finish: Callable[[int], None] | None = None
        self._given: int | None = None
        #: Exits that are due already.
        self._ready: deque[Exit] = deque()

    # registers

    def _fill(self, state: CpuView) -> None:
        """Give it all of the guest's state; VMSAVE is asked of the stub."""
        self.world.fill(state)
        state.repeating = self._repeating
        state.halted, state.shutdown, state.instructions = self._halted, self._shut_down, self.instructions
        state.tsc_offset = self._tsc_offset
        state.nmi_pending, state.nmi_blocked, state.init_pending = (
            self._nmi_pending, self._nmi_blocked, self._init_pending)
        state.pending_debug = self._pending_debug
        if self._apic != _APIC_BASE_RESET:
            state.msrs[_APIC_BASE] = self._apic

    def _state(self) -> CpuState:
        state = CpuState()
        self._fill(state)
        return state

    def report(self) -> ArchState:
        """The guest's registers, wherever it stands: also behind Paused, and while an exit waits for its answer.

        A switch between the worlds that is under way is completed first, which takes its cycles.
        """
        inside = self.world.processor_state()
        return self._state().to_dict() if inside is None else inside

    def _put(self, state: CpuView) -> None:
        unknown = [number for number in state.msrs if MSRS[Msr(number)].feature is not None and state.msrs[number]]
        if state.svm != SvmState() or unknown:
            raise VcpuError("a guest of the hardware has no SVM, and this state is of one that uses it")
        self._take(state)
        self._emulation.stop()
        self.world.flush_wanted = True

    def _take(self, state: CpuView) -> None:
        self.world.set_state(state)
        self._looked = False
        self._halted, self._shut_down, self._repeating = state.halted, state.shutdown, state.repeating
        self._done = state.instructions - self.host.guest_instructions
        self._tsc_offset, self._pending_debug = state.tsc_offset, state.pending_debug
        self._nmi_pending, self._init_pending = state.nmi_pending, state.init_pending
        self._block_nmis(state.nmi_blocked)
        self._apic = state.msrs.get(_APIC_BASE, _APIC_BASE_RESET)
        self._open = self._finish = self._given = None

    def _read_msr(self, number: int) -> int:
        self._emulation.teach(self._fill)
        return self._emulation.vcpu.cpu.read_msr(number)

    def _write_msr(self, number: int, value: int) -> None:
        self._emulation.teach(self._fill)
        self._emulation.vcpu.cpu.write_msr(number, value)
        self._put(self._emulation.state)

    def _counter(self, event: PerfEvent) -> int:
        return self.host.counters()[event.name.lower()]

    @property
    def _apic_base(self) -> int:
        return self._apic

    @property
    def instructions(self) -> int:
        return self.host.guest_instructions + self._done

    @property
    def time(self) -> int:
        return self.host.cycle + self.world.paid

    # memory

    def spill(self) -> None:
        self.host.spill()

    def refill(self) -> None:
        self.host.refill()

    def close(self) -> None:
        """Nothing goes on beside the guest."""

    # what comes from outside

    def _is_between(self) -> bool:
        return not (self.world.is_inside or self._emulation.is_active or self._open or self._finish)

    @property
    def can_save(self) -> bool:
        return super().can_save and not self._ready

    @property
    def _interruptible(self) -> bool:
        return bool(self.control.get(Vmcb.RFLAGS) & Eflags.IF) and not (
            self._pending_debug or self._shut_down or self._shadowed)

    @property
    def _takes_nmi(self) -> bool:
        return self._nmi_pending and not self._nmi_blocked

    @property
    def _shadowed(self) -> bool:
        return bool(self.control.get(Vmcb.INTERRUPT_SHADOW) & INTERRUPT_SHADOW)

    def nmi(self) -> None:
        self._nmi_pending = True
        if self._emulation.is_active:
            self._emulation.vcpu.nmi()

    def init(self) -> None:
        self._init_pending = True
        if self._emulation.is_active:
            self._emulation.vcpu.init()

    def debug(self, wanted: GuestDebug) -> None:
        if wanted.breakpoints:
            raise VcpuError("a guest of the hardware does not stop at breakpoints")
        self._single_step = wanted.single_step
        self._emulation.vcpu.debug(wanted)

    def _block_nmis(self, blocked: bool) -> None:
        """The exit of IRET says when the handler of an NMI ends."""
        self._nmi_blocked = blocked
        self.world.intercept(ExitCode.IRET, blocked)

    def _obstacle(self) -> Exit | None:
        if self._shut_down:
            return ShutdownExit()
        if self._looked:
            return None
        control = self.control
        refusal = refused(control.get(Vmcb.CR0), control.get(Vmcb.CR4), control.get(Vmcb.CS) >> _ATTRIBUTES & 0xF)
        # the guest itself cannot get there
        self._looked = refusal is None
        return refusal

    def _take_init(self) -> bool:
        taken, self._init_pending = self._init_pending, False
        return taken
