"""The processor that translates: the interpreter's face, native code behind `burst`.

Code goes through tiers. A block is interpreted while it is cold, compiled on its own when it has been seen a few
times, and when its counter runs out the loops and functions reachable from it are compiled together as a region.
Whatever native code cannot do, the inherited interpreter does for one instruction.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from rtl.isa.registers import Cr0, Eflags
from rtl.isa.retire import RetireCause
from vmm.engine.access import IoPorts
from vmm.engine.dbt import native, runtime
from vmm.engine.dbt.armed import ArmedBreakpoints
from vmm.engine.dbt.compiler import Compiled, Compiler, Effort
from vmm.engine.dbt.diskcache import DiskCache, pack, unpack
from vmm.engine.dbt.frontend import PAGE
from vmm.engine.dbt.layout import SINK, Exit
from vmm.engine.dbt.ports import Ports
from vmm.engine.dbt.rewritten import Version
from vmm.engine.dbt.stepping import Stepping
from vmm.engine.dbt.thresholds import Thresholds
from vmm.engine.dbt.tiers import TextBuilder, Tiers
from vmm.engine.dbt.unit import Rest, Unit
from vmm.engine.interpreter import Retired
from vmm.engine.interrupt import Source
from vmm.faults import Fault, Unfinished
from vmm.memory import PhysicalMemory
from vmm.paging.mmu import DEFAULT_CAPACITY
from vmm.semantics.ops import Mode
from vmm.state import SHADOW_NONE
from vmm.statistics import Statistics

_PG = int(Cr0.PG)
_TF, _RF = int(Eflags.TF), int(Eflags.RF)
_Raise = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *[ctypes.c_int64] * 7, ctypes.c_void_p)
_EXTERNAL = list(Source).index(Source.EXTERNAL)
_Enter = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class Translator(ArmedBreakpoints):
    """One IA-32 processor that translates.

    Parameters
    ----------
    memory, io, tlb_capacity : see `Interpreter`; the TLB has room for everything. thresholds : when code is compiled.
    cache : where to find what was compiled before, and to leave what is compiled now.

    Members
    -------
    line : set by whoever owns the interrupt controller before `burst`: an interrupt waits for IF.
    """

    def __init__(self, memory: PhysicalMemory, io: IoPorts | None = None, tlb_capacity: int = DEFAULT_CAPACITY,
                 thresholds: Thresholds | None = None, cache: DiskCache | None = None):
        super().__init__(memory, io, tlb_capacity, thresholds)
        self.translations.on_watch = self.mmu.forget_writes
        self.translations.on_overwrite = lambda page: self._cache.written(page * PAGE, PAGE)
        # not all that has ports has one that only collects
        sink: tuple[int | None, Callable[[bytes], object]] = getattr(io, "sink", None) or (None, bytes)
        self._sink, self._fetch = sink
        self._own = self._raise_at = 0
        self._raise: Callable[..., int]
        self._modes: dict[int, Mode] = {}
        self._stepping = Stepping(self._namespace)
        self._native_steps, self._exits = 0, [0] * len(Exit)
        self.compiler = Compiler()
        self.disk = cache
        self._kept: set[str] = set()
        names = ["enter", "exit", "lookup", "dispatch", "bail", *runtime.ACCESSORS]
        code = self._code_of("runtime", lambda: self.compiler.compile(runtime.text(), Effort.PLAIN, names), names, True)
        self._enter = _Enter(code["enter"])
        self._results = ctypes.addressof(self.native.results)
        state = self.native
        state.exit, state.lookup, state.dispatch = code["exit"], code["lookup"], code["dispatch"]
        for name, place in runtime.PLACES.items():
            state.routines[place] = code.get(name, code["bail"])
        self._ports = Ports(state, io, self._count_native)
        self.bail = code["bail"]
        self.port_routines = {runtime.PLACES[name]: routine for name, routine in self._ports.routines.items()}
        for place, routine in self.port_routines.items():
            state.routines[place] = routine
        memory.on_write = self._written
        self._cache.on_cover = self.translations.cover
        self._cache.adopts = False
        self.mmu.on_flush = self._flushed
        self.tiers = Tiers(self.compiler, self.translations, self.thresholds.hot, self.thresholds.background,
                           self._compile_routines)
        self._fetch_translations()

    def statistics(self) -> Statistics:
        found = super().statistics()
        store, tiers = self.translations, self.tiers
        found.native_steps, found.deliveries = self._native_steps, self.native.deliveries
        found.blocks, found.chains, found.invalidations = store.blocks, store.chains, store.invalidations
        found.warm, found.regions, found.refused = tiers.warm, tiers.regions, tiers.failures
        found.compile_seconds = self.compiler.seconds
        found.native_exits = {reason.name.lower(): self._exits[reason] for reason in Exit if self._exits[reason]}
        return found

    def close(self) -> None:
        """Compile nothing more, and leave on disk what has been compiled."""
        self.tiers.close()
        self._keep_translations()

    def leave(self) -> bool:
        """`close` for a process that ends: does not wait for LLVM, and says whether it is still at work.

        It cannot be interrupted; the process must then end without taking anything down.
        """
        self.tiers.stop()
        self._keep_translations()
        return self.tiers.busy

    def _keep_translations(self) -> None:
        if self.disk is not None and self.compiler.modules > self._own:
            with self.translations.lock:
                body = pack(list(self.translations.pool), self._sink)
            self.disk.put("guest", body)

    def _fetch_translations(self) -> None:
        """Take over what an earlier run has left."""
        body = None if self.disk is None else self.disk.get("guest")
        if body is None:
            return
        for translation in unpack(body, self._sink):
            module = translation.module
            if not module.symbols:
                module.symbols = self.compiler.load(module.object_code, list(module.names)).symbols
            with self.translations.lock:
                self.translations.pool.add(translation)

    def _code_of(self, kind: str, build: Callable[[], Compiled], names: list[str], lasts: bool) -> dict[str, int]:
        """Code of the translator itself; what `lasts` is left for the next run, and not made if an earlier one did."""
        stored = None if self.disk is None else self.disk.get(kind)
        if stored is not None:
            self._kept.add(kind)
            return self.compiler.load(stored, names).symbols
        compiled = build()
        self._own += 1
        if self.disk is not None and lasts:
            self.disk.put(kind, compiled.object_code)
        return compiled.symbols

    def _compile_routines(self, build: TextBuilder, effort: Effort) -> None:
        """Put the machine's own routines, compiled, in the place of those that bail."""
        if "routines" in self._kept:
            return
        names = list(runtime.MACHINE)
        code = self._code_of("routines", lambda: build(native.text, names, effort), names, effort is Effort.HOT)
        for name, place in code.items():
            self.native.routines[runtime.PLACES[name]] = place

    # what the interpreter's other parts tell

    @property
    def line(self) -> bool:
        return bool(self.native.line)

    @line.setter
    def line(self, raised: bool) -> None:
        self.native.line = raised

    def _select(self) -> None:
        super()._select()
        self._present = self.mode()
        state = self.native
        state.mode = native.mode_key(self._present, state.cpl == 3, bool(state.cr0 & _PG))
        self._modes[state.mode] = self._present
        self.translations.table.set_tag()

    def _reselect(self, before: int) -> None:
        """`_select` behind native code, which has told the mode; it was `before`."""
        state = self.native
        if state.mode == before or self._stale:
            return
        mode = self._modes.get(state.mode)
        if mode is None or state.mode == native.NO_MODE:
            self._select()
            return
        self._present = mode
        self._select_code(mode)

    def _written(self, address: int, size: int) -> None:
        self._cache.written(address, size)
        self.translations.written(address, size)

    def _flushed(self, page: int | None) -> None:
        self._cache.forget_linear(page)
        self.translations.table.new_generation()
        # paging may have been switched on or off, which is part of the mode
        self._stale = self._stale or page is None

    def deliver_interrupt(self, vector: int) -> Retired:
        """As the interpreter does it, natively unless something about it is out of the ordinary."""
        state = self.native
        start, place = state.eip, runtime.PLACES["raise_fault"]
        if self._raise_at != state.routines[place]:
            self._raise_at = state.routines[place]
            self._raise = _Raise(self._raise_at)
        mode = state.mode
        if self._is_watched or self._raise(
                self.context.address, vector, 0, 0, 0, 0, state.repeating, _EXTERNAL, self._results):
            return super().deliver_interrupt(vector)
        state.halted = state.repeating = False
        state.shadow = SHADOW_NONE
        self.steps += 1
        self._reselect(mode)
        delivered, error, has_error, _cr2, _has_cr2, present = state.results[:6]
        if not present:
            return Retired(RetireCause.SHUTDOWN, start)
        if delivered == vector and not has_error:
            return Retired(RetireCause.INTERRUPT, start, 0, vector)
        return Retired(RetireCause.EXCEPTION, start, 0, delivered, error if has_error else None)

    # running

    @property
    def _special(self) -> bool:
        """Whether the next instruction is one that the interpreter must see."""
        return bool(self.native.system_flags & _RF) or self.native.halted or self._is_watched

    @property
    def _is_watched(self) -> bool:
        """Whether something may come of the next instruction, or instead of it, that native code does not look for."""
        state = self.native
        return bool(state.system_flags & _TF or state.shadow or state.pending_debug or state.shutdown
                    or state.nmi_pending and not state.nmi_blocked
                    or self._record or self.svm_in_use)

    def burst(self, limit: int) -> None:
        state = self.native
        if self._stale:
            self._select()
        if state.mode == native.NO_MODE or self._special:
            super().burst(limit)
            return
        # an interrupt may have come since native code left through a chain slot
        state.slot = 0
        self.translations.settle()
        first = True
        while limit > 0:
            if not first and self._breakpoints and self.at_breakpoint:
                return
            first = False
            unit = self._at(state.eip)
            if unit is None:
                super().burst(1)
                return
            if state.repeating and not unit.block.repeats:
                # a REP instruction has overwritten itself
                state.repeating = False
            if isinstance(unit, Rest) or not unit.code:
                before, wanted = self.steps, min(limit, unit.instructions)
                dropped = self.translations.invalidations
                is_plain = self._interpret(unit, wanted)
                limit -= self.steps - before
                if is_plain:
                    continue
                if self._stale or self.steps - before < wanted or unit.is_system or self._special:
                    return
                if isinstance(unit, Version) or self.translations.invalidations != dropped:
                    # it may have changed itself, and ended in an instruction that somebody must look at
                    return
                continue
            reason = self._run(unit.code, limit)
            limit = state.budget
            if self._stale:
                self._select()
            if reason == Exit.MISSING or reason == Exit.HOT:
                if reason == Exit.HOT:
                    self._grow()
                if state.system_flags & _RF:
                    # the rest of a REP instruction is the interpreter's; the way there is led all the same
                    self._at(state.eip)
                    return
            elif reason == Exit.FAULT:
                self._deliver(self._pending_fault(), True)
                return
            elif reason == Exit.ATTENTION:
                return
            else:
                # the last instructions before the budget ends, or one that is not for native code
                if not state.beside:
                    self._look_beside()
                if limit and reason == Exit.BUDGET:
                    self._finish(limit)
                elif limit:
                    super().burst(1)
                return

    def _finish(self, limit: int) -> None:
        """The last instructions before something is due, of the block native code has come to."""
        state = self.native
        unit = None if self._special else self.translations.find(state.mode, self._fetched_from(), state.eip)
        if unit is None or unit.versions is not None:
            super().burst(limit)
        else:
            self._interpret(unit, min(limit, unit.instructions))

    def _fetched_from(self) -> int:
        """Where the next instruction lies if the tables have that, else a place where none is."""
        place = self._place_of_code(self.native.eip)
        return -1 if place is None else place

    def _interpret(self, unit: Unit | Rest | Version, limit: int) -> bool:
        """The next instructions of a block, up to `limit`, as the interpreter does them.

        Whether they all were ordinary ones, and nothing has to be looked at behind them.
        """
        if isinstance(unit, Version) or unit.block.second is not None:
            # what its bytes are now, only a fetch can tell
            super().burst(limit)
            return False
        state, store = self.native, self.translations
        block, first = (unit.block, 0) if isinstance(unit, Unit) else (unit.block, unit.number)
        dropped, eip, done, watching = store.invalidations, state.eip, 0, self._watching
        try:
            for step in self._stepping.steps(block, self._present)[first:first + limit]:
                eip = step(eip)
                done += 1
                if store.invalidations != dropped or watching and state.pending_debug:
                    break
        except Fault as fault:
            self._count(eip, done)
            state.pending_debug = 0
            self._deliver(fault, True)
            return False
        except Unfinished:
            self._count(eip, done)
            state.pending_debug = 0
            raise
        self._count(eip, done)
        if store.invalidations != dropped or watching and state.pending_debug:
            return False
        if done < limit:
            super().burst(limit - done)
        return done == limit

    def _count(self, eip: int, done: int) -> None:
        """Ordinary instructions have been done, and EIP has come there."""
        self.native.eip = eip
        self.native.instructions += done
        self.steps += done

    def _run(self, code: int, limit: int) -> int:
        state = self.native
        ports, mode = self._ports, state.mode
        state.budget = ports.granted = limit
        state.extra = state.slot = 0
        reason: int = self._enter(self.context.address, code)
        self._count_native(ports.granted - state.budget)
        self._exits[reason] += 1
        state.instructions -= state.extra
        if state.flushed:
            state.flushed = 0
            self._cache.forget_linear(None)
        self._reselect(mode)
        if ports.error is not None:
            error, ports.error = ports.error, None
            raise error
        return reason

    def _count_native(self, done: int) -> None:
        """Native code has done steps, and Python is there again."""
        state = self.native
        self.steps += done
        self._native_steps += done
        state.instructions += done
        if 0 < state.sunk <= SINK:
            self._fetch(bytes(state.sink[:state.sunk]))
            state.sunk = 0

    def _pending_fault(self) -> Fault:
        state = self.native
        return Fault(state.fault_vector, state.fault_error if state.fault_has_error else None,
                     state.fault_cr2 if state.fault_has_cr2 else None)
