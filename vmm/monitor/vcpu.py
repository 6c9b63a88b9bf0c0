"""A virtual CPU in guest mode of the simulated processor: `vmm.vcpu.Vcpu` on SVM with nested paging."""

from __future__ import annotations

from collections.abc import Callable

from rtl.isa.exceptions import Vector
from rtl.isa.registers import Eflags
from rtl.isa.svm import EVENT_V, EventType, Vmcb
from sim.interrupts import deferred_interrupt
from vmm.exits import ApicBaseExit, Exit, FailEntryExit, HltExit, LimitExit, ShutdownExit
from vmm.monitor.arms import Arms
from vmm.monitor.world import Paused

_EVENT_TYPE_SHIFT = 8
#: So many instructions before a limit the interpreter takes over; when an interrupt is requested, fewer are in flight.
_LAST = 16
#: Exits of the interpreter that say nothing to the owner.
_SILENT = (LimitExit, HltExit, ShutdownExit, ApicBaseExit)
#: Exits with which a run ends again, if nothing else happens.
_REPEATED = (HltExit, ShutdownExit, FailEntryExit, LimitExit)


class SvmVcpu(Arms):
    """The guest of a host; its memory is the host's from 0 up to the monitor's area, at the same addresses.

    1. Time is cycles of the simulated processor, transitions between the worlds included; what the monitor does takes
       none, or `world.exit_cost` at each exit. `until` is exact: in that cycle the processor gets an interrupt
       request, which makes it leave the guest at the next instruction. At least one instruction is done, or an
       iteration of one with REP.
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
    interrupted : asked whether the user wants an end, of somebody who notes Ctrl-C; without, it is noted here.
    """

    def _go(self, max_instructions: int | None, until: int | None) -> Exit:
        """Raises KeyboardInterrupt as any virtual CPU, and Paused when the cycles of `world.pause` are over."""
        if self.interrupted is not None:
            return self._heeding(self.interrupted, max_instructions, until)
        with deferred_interrupt() as interrupted:
            return self._heeding(interrupted, max_instructions, until)

    def _heeding(self, interrupted: Callable[[], bool], max_instructions: int | None, until: int | None) -> Exit:
        """The next exit, unless the user wants an end before it."""
        self.host.interrupted = lambda: self._kicked or interrupted()
        left = None
        try:
            left = self._to_exit(max_instructions, until, interrupted)
        except Paused:
            if not interrupted():
                raise
        if left is not None and not interrupted():
            return left
        if left is not None and not isinstance(left, _REPEATED):
            self._ready.appendleft(left)
        raise KeyboardInterrupt

    def _to_exit(self, max_instructions: int | None, until: int | None, interrupted: Callable[[], bool]) -> Exit | None:
        end = None if max_instructions is None else self.instructions + max_instructions
        if self._finish is not None and self._given is not None:
            finish, value, self._finish, self._given = self._finish, self._given, None, None
            finish(value)
        while not self._ready:
            if interrupted():
                return None
            left = self._emulate() if self._emulation.is_active else self._visit(end, until)
            if left is not None:
                return left
        return self._ready.popleft()

    def _answer(self, value: int) -> None:
        self._given = value

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
            if self._single_step or self._pending_debug or takes_nmi and self._shadowed or left is not None and (
                    left <= _LAST or self._repeating):
                waits = self._vector is not None or self._window or self._nmi_pending
                self._begin_emulation()
                self._emulation.extend(left if left is not None and left <= _LAST and not waits else 1)
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

    def _emulate(self) -> Exit | None:
        """Do the instruction as far as it goes."""
        emulation = self._emulation
        try:
            left = emulation.run()
        finally:
            self._ready.extend(emulation.settle())
            if not emulation.is_active:
                self._mapped = False
                self.world.flush_wanted |= emulation.outdates_translations
            if emulation.has_gone_on or not emulation.is_active:
                self._take(emulation.state)
        return None if isinstance(left, _SILENT) else left
