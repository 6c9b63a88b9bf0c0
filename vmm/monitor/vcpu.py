"""A virtual CPU in guest mode of the simulated processor: `vmm.vcpu.Vcpu` on SVM with nested paging."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from rtl.isa.exceptions import Vector
from rtl.isa.exitcodes import ExitCode
from rtl.isa.msrs import MSRS, Msr, PerfEvent
from rtl.isa.registers import Eflags
from rtl.isa.svm import EVENT_V, INTERRUPT_SHADOW, EventType, SegmentField, Vmcb
from vmm.engine.vcpu import SoftwareVcpu
from vmm.exits import ApicBaseExit, Exit, HltExit, LimitExit, ShutdownExit
from vmm.memory import PAGE
from vmm.monitor.area import Area
from vmm.monitor.arms import Arms, GuestInterpreter
from vmm.monitor.host import Host
from vmm.monitor.nested import NestedTables
from vmm.monitor.world import World
from vmm.slots import MemorySlot, SlotMemory
from vmm.state import CpuState, CpuView
from vmm.svmstate import SvmState
from vmm.vcpu import GuestDebug, VcpuError, refused

_APIC_BASE, _APIC_BASE_RESET = int(Msr.APIC_BASE), MSRS[Msr.APIC_BASE].reset
_M64 = (1 << 64) - 1
_EVENT_TYPE_SHIFT, _ATTRIBUTES = 8, 8 * SegmentField.ATTRIB
#: So many instructions before a limit the interpreter takes over; when an interrupt is requested, fewer are in flight.
_LAST = 16
#: Exits of the interpreter that say nothing to the owner.
_SILENT = (LimitExit, HltExit, ShutdownExit, ApicBaseExit)


class SvmVcpu(Arms):
    """The guest of a host; its memory is the host's from 0 up to the monitor's area, at the same addresses.

    1. Time is cycles of the simulated processor, transitions between the worlds included; what the monitor does takes
       none, or `world.exit_cost` at each exit. `until` is exact: in that cycle the processor gets an interrupt
       request, which makes it leave the guest at the next instruction. At least one instruction is done.
    2. Injected interrupts are virtual interrupts (V_IRQ), and the interrupt window is the exit of one. NMIs are
       injected as events, and the end of their handlers is the exit of IRET.
    3. Ports, CPUID, MSRs, HLT and hypercalls are handled by what the exit says. The interpreter executes on the guest's
       state an instruction that accesses memory where none is, or moves a string to or from a port; the last few
       before a limit of instructions; all, one by one, for a debugger. It takes no time.
    4. Pages follow the slots of memory, see `vmm.monitor.nested`.

    Parameters
    ----------
    host : the computer, with `Area.size` of RAM beyond the guest's. size : bytes of the guest's memory, whole pages.
    large : map it with 4 MiB pages where they fit. memory : the guest's, in the host's buffer; by default, one slot.
    tables : how many nested page tables there is room for; as many as a guest of 16 MiB needs, if nothing is said.

    Members
    -------
    world : the way into the guest and back. memory : the guest's physical memory, up to date after `spill`.
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
        self._emulator = SoftwareVcpu(memory, GuestInterpreter)
        self._emulator.tsc = lambda: self.tsc()
        self._emulator.cpu.counter = self._counter
        self._tables = NestedTables(host, area, memory)
        forget = memory.on_guard

        def guards_changed() -> None:
            forget()
            self._mapped = False

        memory.on_guard = guards_changed
        self._emulating = self._single_step = self._looked = False
        #: Exits still to come of an instruction that the interpreter has done.
        self._ready: deque[Exit] = deque()
        #: How far the interpreter goes, in instructions; the time of it that the guest's state is of.
        self._emulated_to = self._shown = 0
        #: What the interpreter's instruction began with; whether it is one of any kind, INVLPG perhaps.
        self._paging, self._is_any = (0, 0, 0), False

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

    def _put(self, state: CpuView) -> None:
        unknown = [number for number in state.msrs if MSRS[Msr(number)].feature is not None and state.msrs[number]]
        if state.svm != SvmState() or unknown:
            raise VcpuError("a guest of the hardware has no SVM, and this state is of one that uses it")
        self._take(state)
        self._emulating = False
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
        self._open = self._finish = None
        self._shown = self._emulator.time

    def _read_msr(self, number: int) -> int:
        self._teach()
        return self._emulator.cpu.read_msr(number)

    def _write_msr(self, number: int, value: int) -> None:
        self._teach()
        self._emulator.cpu.write_msr(number, value)
        self._put(self._emulator.cpu.state)

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
        return not (self.world.is_inside or self._emulating or self._open)

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
        if self._emulating:
            self._emulator.nmi()

    def init(self) -> None:
        self._init_pending = True
        if self._emulating:
            self._emulator.init()

    def debug(self, wanted: GuestDebug) -> None:
        if wanted.breakpoints:
            raise VcpuError("a guest of the hardware does not stop at breakpoints")
        self._single_step = wanted.single_step
        self._emulator.debug(wanted)

    def _block_nmis(self, blocked: bool) -> None:
        """The exit of IRET says when the handler of an NMI ends."""
        self._nmi_blocked = blocked
        self.world.intercept(ExitCode.IRET, blocked)

    # running

    def _go(self, max_instructions: int | None, until: int | None) -> Exit:
        """Raises Paused when the cycles of `world.pause` are over, or the user wants an end."""
        end = None if max_instructions is None else self.instructions + max_instructions
        if self._finish is not None:
            finish, self._finish = self._finish, None
            finish(self._given)
        while not self._ready:
            left = self._emulate() if self._emulating else self._visit(end, until)
            if left is not None:
                return left
        return self._ready.popleft()

    def _answer(self, value: int) -> None:
        self._given = value

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

    def _visit(self, end: int | None, until: int | None) -> Exit | None:
        """Into the guest and back, and what its exit asks for; None if that is nothing."""
        left = None if end is None else end - self.instructions
        if not self.world.is_inside:
            stop = self._before_instruction(left is not None and left <= 0 or until is not None and self.time >= until)
            if stop is not None:
                return stop
            takes_nmi = self._takes_nmi
            wakes = takes_nmi or self._pending_debug or self._vector is not None and self._interruptible
            if self._halted and not wakes:
                return HltExit()
            if self._single_step or self._pending_debug or takes_nmi and self._shadowed or (
                    left is not None and left <= _LAST):
                waits = self._vector is not None or self._window or self._nmi_pending
                self._begin_emulation()
                self._is_any = True
                if left is not None and left <= _LAST and not waits:
                    self._emulated_to = self._emulator.instructions + left
                return None
            self._prepare(takes_nmi)
        if left is not None:
            # an instruction takes a cycle at least
            earliest = self.time + max(left - _LAST, 1)
            until = earliest if until is None else min(until, earliest)
        if self.world.run(None if until is None else until - self.world.paid):
            self._vector = None
        return self._leave()

    def _prepare(self, takes_nmi: bool) -> None:
        """What the guest begins with."""
        event, vector = 0, self._vector
        if takes_nmi:
            event = Vector.NMI | EventType.NMI << _EVENT_TYPE_SHIFT | EVENT_V
            self._nmi_pending = False
            self._block_nmis(True)
        elif vector is not None and self._window and self._interruptible:
            # there is one virtual interrupt, which looks for the window
            event = vector | EventType.INTERRUPT << _EVENT_TYPE_SHIFT | EVENT_V
            self._vector = None
        if self._repeating and (event or vector is not None and self._interruptible):
            # as behind an iteration that the processor has done
            self.control.put(Vmcb.RFLAGS, self.control.get(Vmcb.RFLAGS) | Eflags.RF)
        self._repeating = False
        if self._window:
            vector = None
        if not self._mapped:
            self.world.flush_wanted |= self._tables.follow()
            self._mapped = True
        self.world.begin(vector, self._window, event, self.tsc() + self._tsc_offset)
        self._halted = False

    # the interpreter

    def _teach(self) -> None:
        """Let the interpreter know the guest's state and code."""
        emulator, memory = self._emulator, self.memory
        self._fill(emulator.cpu.state)
        for page in list(memory.watched):
            memory.announce(page * PAGE, PAGE)
        emulator.cpu.state_changed()

    def _begin_emulation(self) -> None:
        emulator = self._emulator
        self.host.spill()
        self._teach()
        emulator.cpu.state.init_pending = False
        if self._vector is not None and self._interruptible and not self._takes_nmi:
            # which is sure to be taken first
            emulator.interrupt(self._vector)
            self._vector = None
        state = emulator.cpu.state
        self._paging, self._is_any = (state.cr0, state.cr3, state.cr4), False
        self._emulated_to, self._shown = emulator.instructions + 1, emulator.time
        self._emulating = True

    def _emulate(self) -> Exit | None:
        """Do the instruction as far as it goes."""
        emulator = self._emulator
        left = emulator.run(max_instructions=self._emulated_to - emulator.instructions)
        self._ready.extend(emulator.drain())
        is_done, state = emulator.can_save, emulator.cpu.state
        if is_done:
            self._emulating = False
            self._mapped = False
            self.host.refill()
            if self._is_any or self._paging != (state.cr0, state.cr3, state.cr4):
                self.world.flush_wanted = True
        if is_done or emulator.time != self._shown:
            self._take(state)
        return None if isinstance(left, _SILENT) else left
