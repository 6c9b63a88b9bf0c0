"""The golden model: one processor, one instruction at a time, exactly as the architecture says.

Rules:

1. `step` does one of: one instruction, one iteration of a REP instruction, or the delivery of a pending debug trap or
   of the exception the instruction raised. It says which in a `Retired`.
2. INT n, INT3, INTO and ICEBP retire as INSTRUCTION with the delivery as part of it. HLT retires as HALT, and so does
   every step while halted, with length 0 then.
3. External interrupts come only through `deliver_interrupt`, at a boundary where `can_interrupt` holds; NMIs that
   wait (`state.nmi_pending`) through `accept_nmi`, where `nmi_allowed` holds.
4. `burst` is the same at speed: it stops after the first instruction that could change what an outside observer must
   react to (a port access, IF, a segment, a mode), after an exception, or at its limit.
5. The instruction counter counts INSTRUCTION and HALT (with length), once per REP instruction.
6. `burst` also stops before an instruction at one of `breakpoints`, but never before its first step: who stands at a
   breakpoint goes on from it. `at_breakpoint` tells. The guest sees nothing of this; `step` takes no notice.
7. Ports and memory may raise `Unfinished`, which comes out of whatever was called: what was in progress has not begun,
   `step` or `deliver_interrupt` begins it again, and everything before it is done and counted.
"""

from __future__ import annotations

from collections.abc import Set
from contextlib import suppress
from enum import Enum

from rtl.isa.exceptions import Vector
from rtl.isa.registers import Dr6, Eflags
from rtl.isa.retire import RetireCause
from vmm.engine.access import IoPorts
from vmm.engine.boundary import Boundaries
from vmm.engine.codecache import CS, Code, CodeCache
from vmm.engine.debug import CodeBreakpoint
from vmm.engine.retired import Retired
from vmm.faults import Fault, Unfinished, VmExit
from vmm.memory import PhysicalMemory
from vmm.paging.mmu import DEFAULT_CAPACITY, SoftMmu
from vmm.semantics.arithmetic import quotient, remainder
from vmm.semantics.ops import Mode
from vmm.state import PARITY, SHADOW_MOV_SS, SHADOW_NONE, CpuView
from vmm.statistics import Statistics

_TF, _RF, _IF, _BS = int(Eflags.TF), int(Eflags.RF), int(Eflags.IF), int(Dr6.BS)


class Stop(Enum):
    """Why `run` returned."""

    LIMIT = "instruction limit"
    HALT = "halted"
    SHUTDOWN = "shutdown"
    BREAKPOINT = "breakpoint"


class Interpreter(Boundaries):
    """One IA-32 processor.

    Parameters
    ----------
    memory : physical memory; the interpreter hooks its `on_write`.
    io : the I/O space, or None for a machine without devices.
    tlb_capacity : see `vmm.paging.mmu`.
    state, mmu : where to keep the architectural state, and who translates; of its own by default.

    Members
    -------
    record : while set, steps list their memory writes in `Retired.writes`.
    clock, counter : replaceable sources of RDTSC and of the performance counters.
    steps : instructions, iterations of REP instructions and deliveries done, exact whenever a port is accessed.
    line : set by whoever owns the interrupt controller before `burst`: an interrupt waits for IF.
    """

    line = False

    def __init__(self, memory: PhysicalMemory, io: IoPorts | None = None, tlb_capacity: int = DEFAULT_CAPACITY,
                 state: CpuView | None = None, mmu: SoftMmu | None = None):
        super().__init__(memory, io, tlb_capacity, state, mmu)
        self.clock = self.default_clock
        self.counter = self.default_counter
        self._namespace = {
            "S": self.state, "R": self.state.gpr, "H": self, "Fault": Fault, "PARITY": PARITY,
            "M8": memory.bytes, "M16": memory.bytes.cast("H"), "M32": memory.words,
            "ldu": self.load, "ldw": self.load_for_write, "stu": self.store, "seg": self.linear, "probe": self.probe,
            "quotient": quotient, "remainder": remainder,
            "RG": self.mmu.reads[0].get, "WG": self.mmu.writes[0].get,
        }
        self._cache = CodeCache(self, self._namespace)
        memory.on_guard = self.flush_translations
        self._stale = True
        self._breakpoints: frozenset[int] = frozenset()
        self.steps = 0

    @property
    def breakpoints(self) -> frozenset[int]:
        """Linear addresses of instructions to stop before; assign a set to change them."""
        return self._breakpoints

    @breakpoints.setter
    def breakpoints(self, addresses: Set[int]) -> None:
        self._break_at(frozenset(addresses))

    def _break_at(self, addresses: frozenset[int]) -> None:
        self._breakpoints = addresses
        self._cache.break_at(addresses)
        self._stale = True

    @property
    def at_breakpoint(self) -> bool:
        """Whether the next instruction lies at a breakpoint. A REP instruction between its iterations does not."""
        state = self.state
        return bool(self._breakpoints) and not (state.halted or state.shutdown or state.repeating) and (
            state.segments[CS].base + state.eip & 0xFFFF_FFFF) in self._breakpoints

    def segments_changed(self) -> None:
        self._stale = True

    def leave(self) -> bool:
        """Before the process ends: keep what is kept; whether something is still at work that cannot be stopped."""
        return False

    def statistics(self) -> Statistics:
        """What the engine did in order to execute."""
        mmu = self.mmu
        return Statistics(steps=self.steps, misses=mmu.misses, walks=mmu.walks, lookups=mmu.lookups)

    def close(self) -> None:
        """End what runs beside the guest. There is nothing here."""

    def state_changed(self) -> None:
        """To be called after `state` was changed from outside: everything derived from it is dropped."""
        self.flush_translations()
        self.world_changed()

    def _select(self) -> None:
        self._select_code(self.mode())

    def _select_code(self, mode: Mode) -> None:
        """Go on under this mode."""
        self._stale = False
        user = self.state.cpl == 3
        self._namespace["RG"] = self.mmu.reads[user].get
        self._namespace["WG"] = self.mmu.writes[user].get
        self._cache.select(mode)

    @property
    def can_interrupt(self) -> bool:
        """Whether an external interrupt may be delivered before the next step."""
        if self.svm_in_use:
            return self.interrupt_allowed
        state = self.state
        return bool(state.system_flags & _IF) and state.shadow == SHADOW_NONE and not (
            state.pending_debug or state.shutdown)

    @property
    def is_idle(self) -> bool:
        """Whether the processor halts until something comes from outside."""
        return self.state.halted and not self.state.pending_debug and not self.virtual_interrupt

    def step(self) -> Retired:
        state = self.state
        self.writes = []
        if self._stale:
            self._select()
        if state.shutdown:
            return Retired(RetireCause.SHUTDOWN, state.eip)
        if self.attention:
            try:
                done = self.guest_event()
            except VmExit as reason:
                return self.vmexit(reason)
            if done is not None:
                return done
        if state.pending_debug and state.shadow != SHADOW_MOV_SS:
            return self._debug_trap()
        if state.halted:
            return Retired(RetireCause.HALT, state.eip)
        start, flags, held = state.eip, state.system_flags, state.pending_debug
        # SDM vol. 3A, 6.8.3: no instruction breakpoint behind a load of SS, as if RF were set.
        shadow = state.shadow
        watched = state.dr[7] & 0xFF and not flags & _RF and shadow != SHADOW_MOV_SS
        state.shadow = SHADOW_NONE
        self.diverted = self.committed = False
        code: Code | None = None
        try:
            if watched:
                self._check_code_breakpoints()
            code = self._cache.lookup(start)
            state.system_flags &= ~_RF
            eip = code.run(start)
        except Fault as fault:
            state.pending_debug = held
            self.length = code.length if code else 0
            # RF falls when an instruction is complete, or begins to raise an interrupt.
            before = flags & ~_RF if self.diverted or self.delivering else flags
            if not self.committed:
                state.system_flags |= before & _RF
            try:
                return self._deliver(fault, True)
            except Unfinished:
                state.system_flags, state.shadow = flags, shadow
                raise
            except VmExit as reason:
                if not self.committed:
                    state.system_flags, state.shadow = before, shadow
                return self.vmexit(reason)
        except Unfinished:
            state.system_flags, state.shadow, state.pending_debug = flags, shadow, held
            raise
        except VmExit as reason:
            # INT n has cleared RF when its delivery is cut short.
            if not self.committed:
                state.system_flags, state.shadow = flags & ~_RF if self.delivering else flags, shadow
            self.length = code.length if code else 0
            return self.vmexit(reason)
        self.steps += 1
        state.eip = eip
        cause = RetireCause.INSTRUCTION
        state.repeating = code.repeats and eip == start
        if state.repeating:
            cause = RetireCause.ITERATION
            state.system_flags |= flags & _RF
            state.shadow = shadow
        else:
            state.instructions += 1
            if state.halted:
                cause = RetireCause.HALT
        if flags & _TF and not self.diverted and state.shadow != SHADOW_MOV_SS:
            state.pending_debug |= _BS
        return Retired(cause, start, code.length, writes=self.writes)

    def _check_code_breakpoints(self) -> None:
        hits = self.code_breakpoints(self.state.segments[CS].base + self.state.eip & 0xFFFF_FFFF)
        if hits:
            # It has been fetched by then, as page tables show. A fault of that comes behind the breakpoint.
            with suppress(Fault, VmExit):
                self._cache.lookup(self.state.eip)
            self.state.dr[6] |= hits
            raise CodeBreakpoint

    def _debug_trap(self) -> Retired:
        state = self.state
        held, state.pending_debug = state.pending_debug, 0
        before, state.dr[6] = state.dr[6], state.dr[6] | held
        try:
            return self._deliver(Fault(Vector.DB), state.repeating)
        except Unfinished:
            state.pending_debug, state.dr[6] = held, before
            raise
        except VmExit as reason:
            return self.vmexit(reason)

    def burst(self, limit: int) -> None:
        """Run up to `limit` steps: one context, up to and including the first system instruction or delivery."""
        state = self.state
        if self._stale:
            self._select()
        if state.system_flags & (_TF | _RF) or state.shadow or state.pending_debug or state.halted or state.shutdown \
                or self._record or state.dr[7] & 0xFF or self.attention:
            self.step()
            return
        if state.repeating:
            # unless it has overwritten itself, a REP instruction goes on
            self._one_slow(limit)
            return
        fast = self._cache.fast
        eip, done = state.eip, 0
        try:
            for done in range(limit):  # noqa: B007 - the count is wanted after the loop
                eip = fast[eip](eip)
            done = limit
        except KeyError:
            pass
        except (Fault, VmExit) as event:
            state.eip = eip
            state.instructions += done
            self.steps += done
            self._interrupted(event)
            return
        except Unfinished:
            state.eip = eip
            state.instructions += done
            self.steps += done
            raise
        state.eip = eip
        state.instructions += done
        self.steps += done
        if done < limit and not (done and self.at_breakpoint):
            self._one_slow(limit - done)

    def _interrupted(self, event: Fault | VmExit) -> None:
        """The instruction at EIP, which has been fetched, faults or is intercepted."""
        code = self._cache.known(self.state.eip)
        self.length = code.length if code else 0
        try:
            if isinstance(event, Fault):
                self._deliver(event, True)
            else:
                self.vmexit(event)
        except VmExit as reason:
            self.vmexit(reason)

    def _one_slow(self, limit: int) -> None:
        """One instruction that the fast path does not have; up to `limit` iterations of a REP instruction."""
        code = self._cache.known(self.state.eip)
        if code is None or not code.bulk:
            self.step()
            return
        state, run = self.state, code.run
        eip = target = state.eip
        done = 0
        try:
            while done < limit and target == eip and self._cache.known(eip) is code:
                target = run(eip)
                done += 1
        except (Fault, VmExit) as event:
            self.steps += done
            self._interrupted(event)
            return
        except Unfinished:
            self.steps += done
            state.repeating = state.repeating or done > 0
            raise
        self.steps += done
        state.eip, state.repeating = target, target == eip
        state.instructions += target != eip

    def run(self, max_instructions: int) -> Stop:
        """Run without external interrupts until something stops the processor, or the count is reached."""
        state = self.state
        end = state.instructions + max_instructions
        while state.instructions < end:
            if state.shutdown:
                return Stop.SHUTDOWN
            if self.is_idle:
                return Stop.HALT
            self.burst(end - state.instructions)
            if self.at_breakpoint:
                return Stop.BREAKPOINT
        return Stop.LIMIT
