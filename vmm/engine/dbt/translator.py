"""The processor that translates: the interpreter's face, native code behind `burst`.

Code goes through tiers. A block is interpreted while it is cold, compiled on its own when it has been seen a few
times, and when its counter runs out the loops and functions reachable from it are compiled together as a region.
Whatever native code cannot do, the inherited interpreter does for one instruction.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from rtl.isa.msrs import Msr
from rtl.isa.registers import Cr0, Eflags
from vmm.engine.access import IoPorts
from vmm.engine.dbt import runtime
from vmm.engine.dbt.codestore import CodeStore, Rest, Unit
from vmm.engine.dbt.compiler import CompileError, Compiler, Effort
from vmm.engine.dbt.frontend import PAGE, Block, cut
from vmm.engine.dbt.layout import Context, Exit, Kind
from vmm.engine.dbt.recipes import Recipes
from vmm.engine.dbt.region import Region, Setting
from vmm.engine.interpreter import Interpreter
from vmm.faults import Fault
from vmm.memory import PhysicalMemory
from vmm.paging.mmu import DEFAULT_CAPACITY

_PG = int(Cr0.PG)
_SPECIAL = int(Eflags.TF | Eflags.RF)
_MIRRORED = {int(Msr.SYSENTER_CS): "sysenter_cs", int(Msr.SYSENTER_ESP): "sysenter_esp",
             int(Msr.SYSENTER_EIP): "sysenter_eip"}
_Refill = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)
_Enter = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When code moves up.

    Members
    -------
    warm : times a block is interpreted. hot : times it runs compiled on its own. entered : times a block is entered
        in its middle before its end is a block of its own. region_instructions : the size of a region.
    """

    warm: int = 3
    entered: int = 50
    hot: int = 2000
    region_instructions: int = 400


class Translator(Interpreter):
    """One IA-32 processor that translates.

    Parameters
    ----------
    memory, io, tlb_capacity : see `Interpreter`. thresholds : when code is compiled.

    Members
    -------
    line : set by whoever owns the interrupt controller before `burst`: an interrupt waits for IF.
    """

    def __init__(self, memory: PhysicalMemory, io: IoPorts | None = None, tlb_capacity: int = DEFAULT_CAPACITY,
                 thresholds: Thresholds | None = None):
        self.context = Context(int(memory.ram.ctypes.data), memory.size, _MIRRORED)
        self.native = self.context.state
        super().__init__(memory, io, tlb_capacity, self.native)
        self.thresholds = thresholds or Thresholds()
        self.compiler = Compiler()
        self._runtime = self.compiler.compile(
            runtime.text(), Effort.HOT, ["enter", "exit", "lookup", "dispatch", *runtime.ACCESSORS], [])
        code = self._runtime.functions
        self._enter = _Enter(code["enter"])
        self.native.exit, self.native.lookup, self.native.dispatch = code["exit"], code["lookup"], code["dispatch"]
        self._routines = runtime.accessors()
        for name, place in self._routines.items():
            self.native.routines[place] = code[name]
        self._refill_callback = _Refill(self._refill)
        self.native.refill = ctypes.cast(self._refill_callback, ctypes.c_void_p).value or 0
        self.store = CodeStore(self.context, memory, self.mmu)
        self._filled: list[tuple[Kind, int]] = []
        self._names = 0
        self.store.on_watch = self._forget_writes
        memory.on_write = self._written
        self.mmu.on_flush = self._flushed

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
        if self._present.flat >> 1 & 1:
            mode = (self._present.flat | self._present.code32 << 6 | self._present.stack32 << 7
                    | (state.cpl == 3) << 8 | bool(state.cr0 & _PG) << 9)
        else:
            mode = runtime.NO_MODE
        state.mode = mode
        self.store.set_tag()

    def _written(self, address: int, size: int) -> None:
        self._cache.written(address, size)
        self.store.written(address, size)

    def _flushed(self, page: int | None) -> None:
        self._cache.forget_linear(page)
        self._forget(page)
        self._stale = True

    def _forget(self, page: int | None) -> None:
        """Drop what the data tables have of a page, or everything."""
        tables = self.context.tables
        if page is None:
            for kind, filled in self._filled:
                tables[kind][filled] = 0
            self._filled.clear()
        else:
            for kind in Kind:
                tables[kind][page] = 0
        self.store.new_generation()

    def _forget_writes(self) -> None:
        kept = []
        for kind, page in self._filled:
            if kind >= Kind.WRITE:
                self.context.tables[kind][page] = 0
            else:
                kept.append((kind, page))
        self._filled = kept

    def _refill(self, _context: int, linear: int, kind: int) -> int:
        """Called by native code for an access that missed."""
        write, user = kind >= Kind.WRITE, bool(kind & 1)
        try:
            physical = self.mmu.translate(linear, write, user)
        except Fault:
            return 0
        frame, page = physical >> 12, linear >> 12
        if not self.memory.is_plain(frame):
            return 0
        if write and self.store.watches(frame):
            kind += Kind.WATCHED - Kind.WRITE
        self.context.tables[kind][page] = self.native.ram + (frame - page << 12) & (1 << 64) - 1
        self._filled.append((Kind(kind), page))
        return 1

    # running

    def burst(self, limit: int) -> None:
        state = self.native
        if self._stale:
            self._select()
        if state.mode == runtime.NO_MODE or state.system_flags & _SPECIAL or state.shadow or state.pending_debug \
                or state.halted or state.shutdown or self._record or state.dr[7] & 0xFF:
            super().burst(limit)
            return
        while limit > 0:
            unit = self._at(state.eip)
            if unit is None:
                super().burst(1)
                return
            if isinstance(unit, Rest) or not unit.code:
                before = self.steps
                super().burst(min(limit, unit.instructions))
                limit -= self.steps - before
                if self._stale or state.halted or state.shutdown or state.system_flags & _SPECIAL or state.shadow \
                        or state.pending_debug or isinstance(unit, Unit) and unit.block.is_system:
                    return
                continue
            reason = self._run(unit.code, limit)
            limit = state.budget
            if reason == Exit.MISSING:
                continue
            if reason == Exit.HOT:
                self._grow(state.eip)
            elif reason == Exit.BUDGET:
                if limit:
                    super().burst(limit)
                return
            elif reason == Exit.FAULT:
                self._deliver(self._pending_fault(), True)
                return
            elif reason == Exit.ATTENTION:
                return
            else:
                if limit:
                    super().burst(1)
                return

    def _run(self, code: int, limit: int) -> int:
        state = self.native
        state.budget, state.extra, state.slot = limit, 0, 0
        mode = state.mode
        reason = self._enter(self.context.address, code)
        spent = limit - state.budget
        self.steps += spent
        state.instructions += spent - state.extra
        if state.mode != mode:
            self._stale = True
            self._select()
        return reason

    def _pending_fault(self) -> Fault:
        state = self.native
        return Fault(state.fault_vector, state.fault_error if state.fault_has_error else None,
                     state.fault_cr2 if state.fault_has_cr2 else None)

    def _at(self, eip: int) -> Unit | Rest | None:
        """What is known of the code at EIP, compiled if it is time; None if it cannot be fetched or decoded."""
        state = self.native
        slot, state.slot = state.slot, 0
        try:
            physical = self.mmu.translate(eip, False, state.cpl == 3)
        except Fault:
            return None
        unit = self.store.find(state.mode, physical)
        if unit is None:
            rest = self.store.rest(state.mode, physical)
            if rest is not None and rest.seen < self.thresholds.entered:
                rest.seen += 1
                return rest
            block = self._block(eip, physical)
            if block is None:
                return None
            unit = self.store.add(state.mode, block)
        if not unit.code and not unit.refused:
            unit.seen += 1
            if unit.seen >= self.thresholds.warm:
                self._compile(unit, {unit.block.eip: unit.block}, Effort.WARM)
        if slot and unit.code:
            self.store.link(unit, slot)
        return unit

    def _block(self, eip: int, physical: int) -> Block | None:
        if eip in self._breakpoints or not self.memory.is_plain(physical >> 12):
            return None
        room = PAGE - (physical & 0xFFF)
        code = self.memory.blob(physical, room)
        second = None
        if room < 15:
            try:
                second = self.mmu.translate(eip + room & 0xFFFF_FFFF, False, self.native.cpl == 3)
                if self.memory.is_plain(second >> 12):
                    code += self.memory.blob(second, 14)
                else:
                    second = None
            except Fault:
                pass
        return cut(eip, physical, code, second, self._present.code32, self._breakpoints)

    def _setting(self, effort: Effort) -> Setting:
        state = self.native
        return Setting(self._present, state.cpl == 3, bool(state.cr0 & _PG), effort is Effort.HOT,
                       effort is Effort.WARM, self._routines)

    def _compile(self, unit: Unit, blocks: dict[int, Block], effort: Effort) -> None:
        self._names += 1
        name = f"t{self._names}"
        recipes, slots = Recipes(), []
        region = Region(name, unit.block, blocks, self._setting(effort), recipes, slots)
        body = region.text()
        if not region.done[unit.block.eip]:
            unit.refused = True
            return
        text = f"@slots_{name} = global [{max(len(slots), 1)} x ptr] zeroinitializer\n"
        data = [f"slots_{name}"]
        if effort is Effort.WARM:
            text += f"@count_{name} = global i32 {self.thresholds.hot}\n"
            data.append(f"count_{name}")
        if len(blocks) > 1:
            text += recipes.functions()
        try:
            compiled = self.compiler.compile(text + "\n" + body, effort, [name], data)
        except CompileError as error:
            unit.refused = True
            self.failure = str(error)
            return
        self.store.publish(unit, compiled, compiled.functions[name], tuple(blocks.values()))

    def _grow(self, eip: int) -> None:
        """Compile what is reachable from a hot block as one region."""
        state = self.native
        unit = self.store.find(state.mode, self.mmu.translate(eip, False, state.cpl == 3))
        assert unit is not None
        blocks = {eip: unit.block}
        todo, total = [unit.block], len(unit.block.guests)
        while todo:
            block = todo.pop(0)
            for target in (*block.successors, *((block.returns_to,) if block.returns_to is not None else ())):
                if target in blocks or total >= self.thresholds.region_instructions:
                    continue
                try:
                    physical = self.mmu.translate(target, False, state.cpl == 3)
                except Fault:
                    continue
                known = self.store.find(state.mode, physical)
                if known is None or not known.seen or known.refused:
                    continue
                blocks[target] = known.block
                todo.append(known.block)
                total += len(known.block.guests)
        self._compile(unit, blocks, Effort.HOT)

