"""What is known of the code at an address: found, cut, given a translation that is there, or sent to be compiled.

Rules:

1. Only a fetch, `_at`, sets accessed bits of code. Everything else asks the data tables where code lies.
2. A unit is submitted to the tiers once it has been met often enough, unless there is a translation of the same code.
3. No code is made of the instructions at some addresses, those of breakpoints. Blocks end before them.
"""

from __future__ import annotations

from rtl.isa.msrs import Msr
from rtl.isa.registers import Cr0
from vmm.engine.access import IoPorts
from vmm.engine.dbt import runtime
from vmm.engine.dbt.checked import boundary, live_bytes
from vmm.engine.dbt.codestore import CodeStore
from vmm.engine.dbt.frontend import PAGE, Block, cut, is_cut_off
from vmm.engine.dbt.layout import Context, Kind
from vmm.engine.dbt.mmu import TableMmu
from vmm.engine.dbt.pool import Pool, Translation
from vmm.engine.dbt.rewritten import Version, places
from vmm.engine.dbt.setting import Setting
from vmm.engine.dbt.thresholds import Thresholds
from vmm.engine.dbt.tiers import Job, Tiers
from vmm.engine.dbt.unit import Rest, Unit
from vmm.engine.interpreter import Interpreter
from vmm.faults import Fault
from vmm.memory import PhysicalMemory
from vmm.semantics.ops import Mode

_PG = int(Cr0.PG)
_MIRRORED = {int(Msr.SYSENTER_CS): "sysenter_cs", int(Msr.SYSENTER_ESP): "sysenter_esp",
             int(Msr.SYSENTER_EIP): "sysenter_eip"}


class KnownCode(Interpreter):
    """The part of a translating processor that knows its code.

    Parameters
    ----------
    memory, io, tlb_capacity, thresholds : see `Translator`.

    Members
    -------
    context : what native code works on, and `native` the state in it. tlb : who fills its tables.
    translations : all code that is known.
    tiers : who compiles; the subclass makes it.
    """

    tiers: Tiers
    _sink: int | None
    _present: Mode
    _barred: frozenset[int] = frozenset()

    def __init__(self, memory: PhysicalMemory, io: IoPorts | None, tlb_capacity: int, thresholds: Thresholds | None):
        self.context = Context(int(memory.ram.ctypes.data), memory.size, _MIRRORED)
        self.native = self.context.state
        self.thresholds = thresholds or Thresholds()
        self.translations = CodeStore(self.context, memory, Pool(self.thresholds.hot))
        self.tlb = TableMmu(self.context, memory)
        super().__init__(memory, io, tlb_capacity, self.native, self.tlb)

    def _at(self, eip: int) -> Unit | Rest | Version | None:
        """What is known of the code at EIP, on its way up; None if it cannot be fetched or decoded."""
        state = self.native
        slot, state.slot = state.slot, 0
        try:
            physical = self.mmu.translate(eip, False, state.cpl == 3)
        except Fault:
            return None
        unit = self.translations.find(state.mode, physical, eip)
        if unit is None and self.translations.resume(state.mode, physical, eip):
            unit = self.translations.find(state.mode, physical, eip)
        if unit is None:
            pool = self.translations.pool
            # where a block was begun before, one begins again
            begun = (self._present.code32, eip) in pool.blocks
            rest = None if begun else self.translations.rest(state.mode, physical, eip)
            if rest is not None:
                entered = pool.entered
                seen = entered[eip] = entered.get(eip, 0) + 1
                if seen <= self.thresholds.entered:
                    return rest
            found = self._block(eip, physical)
            if found is None:
                return None
            unit = self.translations.add(state.mode, *found)
            self._adopt(unit)
        if unit.versions is not None:
            return self._version(unit, slot)
        if not unit.code:
            unit.seen += 1
            if unit.seen >= self.thresholds.warm and not unit.refused and not unit.queued and not self._adopt(unit):
                self.tiers.submit(Job(unit, {unit.block.eip: unit.block}, self._setting(False)))
        if slot:
            self.translations.link(unit, slot)
        return unit

    def _version(self, unit: Unit, slot: int) -> Version | None:
        """The version of rewritten code that its bytes are now, on its way up."""
        assert unit.versions is not None
        with self.translations.lock:
            version = unit.versions.fitting(self.memory)
            if version is None:
                found = self._block(unit.block.eip, unit.block.physical, True)
                if found is None:
                    return None
                block = found[0]
                self.translations.rewritten.compare(unit.block, block)
                unit.block = block
                version = unit.versions.candidate(block, self._live(block))
                version.seen += 1
        if not version.code and version.seen >= self.thresholds.warm and not version.refused and not version.queued:
            self.tiers.submit(Job(unit, {version.block.eip: version.block}, self._setting(False), version))
        if slot and version.code:
            self.translations.link(unit, slot)
        return version

    def _block(self, eip: int, physical: int, checked: bool = False) -> tuple[Block, bool] | None:
        """The block there, and whether it is one that the guest rewrites; `checked` says so."""
        if eip in self._barred or not self.memory.is_plain(physical >> 12):
            return None
        room = PAGE - (physical & 0xFFF)
        code = self.memory.blob(physical, room)
        second = None
        if room < 15 and eip + room < 1 << 32 and is_cut_off(code, self._present.code32):
            try:
                second = self.mmu.translate(eip + room & 0xFFFF_FFFF, False, self.native.cpl == 3)
                if self.memory.is_plain(second >> 12):
                    code += self.memory.blob(second, 14)
                else:
                    second = None
            except Fault:
                pass
        # code that keeps changing is not worth remembering
        block = cut(eip, physical, code, second, self._present.code32, self._barred) if checked else \
            self._cut(eip, physical, code, second)
        if block is None:
            return None
        checked, end = self._boundary(block, checked)
        if end is not None:
            block = cut(eip, physical, code, second, self._present.code32, self._barred | {end})
            assert block is not None
        return block, checked

    def _boundary(self, block: Block, checked: bool) -> tuple[bool, int | None]:
        """See `boundary`."""
        return boundary(block, self.translations.rewritten, checked, bool(self.native.cr0 & _PG))

    def _live(self, block: Block) -> frozenset[int]:
        """See `live_bytes`."""
        return live_bytes(block, self.translations.rewritten.near(block))

    def _cut(self, eip: int, physical: int, code: bytes, second: int | None) -> Block | None:
        """`cut`, unless the same bytes have been seen there before."""
        known = self.translations.pool.blocks
        key = self._present.code32, eip
        for block in known.get(key, ()):
            if code.startswith(block.code) and not block.has_any(self._barred):
                return block.moved(physical, second)
        found = cut(eip, physical, code, second, self._present.code32, self._barred)
        if found is not None and not self._barred:
            self.translations.pool.remember(key, found)
        return found

    def _adopt(self, unit: Unit, beside: bool = False) -> bool:
        """Find a better translation of a unit among those there are, made for writes `beside` code if it says so."""
        pool = self.translations.pool
        if unit.versions is not None:
            return False
        if (unit.mode, unit.block.eip, unit.block.code) in pool.refused:
            unit.refused = True
            return False
        for translation in pool.candidates(unit.mode, unit.block.eip, unit.block.code):
            if beside and not translation.beside:
                continue
            if unit.code and not translation.hot or translation.user is unit:
                return False
            blocks = self._placed(translation, unit)
            if blocks is not None and self.translations.publish(unit, translation, blocks):
                return True
        return False

    def _placed(self, translation: Translation, unit: Unit) -> tuple[Block, ...] | None:
        """The blocks of a translation where they would lie now, if all of their pages have been used lately."""
        state = self.native
        fetched = self.context.tables[Kind.READ + (state.cpl == 3)]
        home = unit.block.physical - unit.block.eip
        where = {unit.block.eip >> 12: home}
        for page in translation.pages:
            distance = fetched[page]
            if not distance:
                return None
            where[page] = distance - state.ram
        rewritten = self.translations.rewritten
        placed = []
        for block in translation.blocks:
            page = block.eip >> 12
            following = (page + 1 & 0xFFFFF) << 12
            second = None if block.second is None else following + where[following >> 12]
            moved = block.moved(block.eip + where[page], second)
            near = rewritten.near(moved)
            if near and not near.isdisjoint(places(moved)):
                return None
            placed.append(moved)
        return tuple(placed)

    def _setting(self, is_region: bool, beside: bool = False) -> Setting:
        state = self.native
        return Setting(self._present, state.cpl == 3, bool(state.cr0 & _PG), is_region, not is_region, runtime.PLACES,
                       self._sink, beside)

    def _place_of_code(self, linear: int) -> int | None:
        """Where code is fetched from, if that is known: only the fetch itself sets accessed bits."""
        state = self.native
        distance: int = self.context.tables[Kind.READ + (state.cpl == 3)][linear >> 12]
        return linear + distance - state.ram if distance else None
