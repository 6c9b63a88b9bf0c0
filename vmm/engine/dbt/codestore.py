"""Translations by address and mode: finding, linking, invalidating.

Rules:

1. A unit is found by its physical address, its EIP and its mode key: it holds while that page is mapped there.
2. Writing to a byte a translation was made from drops the translation before the byte changes. Units with versions look
   at their bytes themselves, and stay. Most units of a page that is overwritten as a whole are suspended.
3. Native code finds units through the block table of the context; chain slots and the jump cache go straight to them
   and are emptied when a unit goes.
4. Barred addresses and pages stay barred until others are: nothing of them is published or resumes meanwhile.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable

import numpy as np

from vmm.engine.dbt.blocktable import BlockTable
from vmm.engine.dbt.frontend import PAGE, Block
from vmm.engine.dbt.layout import Context
from vmm.engine.dbt.pool import Pool, Translation
from vmm.engine.dbt.rewritten import Rewritten, Version, Versions
from vmm.engine.dbt.suspended import Suspended
from vmm.engine.dbt.unit import Rest, Unit, spans
from vmm.engine.dbt.writes import Writes
from vmm.memory import PhysicalMemory

#: Mode, physical address and EIP of code.
Place = tuple[int, int, int]
#: Writes to code of one page, none of which has run since, after which all of it is taken to be overwritten.
_OVERWRITTEN = 4


class CodeStore:
    """The translations of one processor.

    Members
    -------
    pool : where translations come from and go to. on_watch : called before code becomes known in a page that has none.
    on_overwrite : called with the number of a page whose code is all taken to go.
    blocks : units met so far. chains : exits of code led straight to other code. invalidations : units dropped.
    rewritten : which code the guest rewrites. table : where native code looks.
    """

    def __init__(self, context: Context, memory: PhysicalMemory, pool: Pool):
        self._context = context
        self.pool = pool
        self._memory = memory
        self._units: dict[Place, Unit] = {}
        self._pages: dict[int, set[Unit]] = {}
        self._leads: dict[int, Unit] = {}
        self._retired: list[Translation] = []
        self._writes: dict[int, Writes] = {}
        self._suspended = Suspended()
        self._reloaded: set[int] = set()
        self._barred: frozenset[int] = frozenset()
        self._apart: frozenset[int] = frozenset()
        self.table = BlockTable(context)
        self.rewritten = Rewritten()
        self.on_watch: Callable[[], None] = lambda: None
        self.on_overwrite: Callable[[int], None] = lambda page: None
        self.blocks = self.chains = self.invalidations = 0
        self.lock = threading.RLock()

    @property
    def units(self) -> list[Unit]:
        """Everything known, in the order in which it was met."""
        return list(self._units.values())

    def find(self, mode: int, physical: int, eip: int) -> Unit | None:
        return self._units.get((mode, physical, eip))

    def rest(self, mode: int, physical: int, eip: int) -> Rest | None:
        """What is left of a block with an instruction there that is not its first."""
        with self.lock:
            for unit in self._pages.get(physical >> 12, ()):
                block = unit.block
                into = physical - block.physical
                if 0 < into < len(block.code) and unit.mode == mode and eip == block.eip + into:
                    number = next((n for n, guest in enumerate(block.guests) if guest.eip == eip), None)
                    if number is not None:
                        return Rest(block, number)
        return None

    def regions(self, mode: int, physical: int) -> list[Unit]:
        """Units with a region that has the code there."""
        with self.lock:
            found = [unit for unit in self._pages.get(physical >> 12, ())
                     if unit.mode == mode and unit.translation is not None and unit.translation.hot
                     and unit.touches(physical, physical + 1)]
        return sorted(found, key=lambda unit: unit.block.eip)

    def add(self, mode: int, block: Block, checked: bool = False) -> Unit:
        unit = self._units[mode, block.physical, block.eip] = Unit(
            mode, block, seen=self.pool.seen.get((mode, block.eip, block.code), 0), blocks=(block,),
            born=self._context.state.instructions)
        self.blocks += 1
        with self.lock:
            self._judge(block.physical >> 12)
            if checked:
                unit.versions = Versions()
                return unit
            self._cover(unit, (block,))
        return unit

    # the cover: which bytes code was made from

    def _cover(self, unit: Unit, blocks: tuple[Block, ...]) -> None:
        unit.blocks = blocks
        for start, size in spans(blocks):
            self._mark(start, size)
            self._pages[start >> 12].add(unit)

    def _mark(self, start: int, size: int) -> None:
        """Mark bytes in the code map. Some stay marked when their code goes: a write to them looks, and clears it."""
        self._watch(start >> 12)
        code_map = self._context.code_map
        low, high = start >> 3, start + size + 7 >> 3
        bits = (1 << size) - 1 << (start & 7)
        code_map[low:high] = (int.from_bytes(code_map[low:high], "little") | bits).to_bytes(high - low, "little")

    def _watch(self, page: int) -> None:
        known = page in self._pages
        if known and self._context.has_code(page):
            return
        if not known:
            self._pages[page] = set()
        self._memory.watched.add(page)
        # also where all code has gone: the tables may have been filled since
        self.on_watch()

    def _unmark(self, start: int, size: int) -> bool:
        """Clear bytes of a page in the code map; whether one was marked."""
        code_map = self._context.code_map
        low, high = start >> 3, start + size + 7 >> 3
        bits, marks = (1 << size) - 1 << (start & 7), int.from_bytes(code_map[low:high], "little")
        if not marks & bits:
            return False
        code_map[low:high] = (marks & ~bits).to_bytes(high - low, "little")
        return True

    def written(self, address: int, size: int) -> None:
        """RAM is about to change."""
        with self.lock:
            for page in range(address >> 12, (address + size - 1 >> 12) + 1):
                units = self._pages.get(page)
                if units is None:
                    continue
                # the interpreter's cache stops watching a page it has no code of
                self._memory.watched.add(page)
                low, high = max(address, page << 12), min(address + size, page + 1 << 12)
                if not self._unmark(low, high - low):
                    continue
                doomed = [unit for unit in units if unit.touches(low, high)]
                if doomed:
                    self._drop(page, doomed, low, high)

    def _drop(self, page: int, doomed: list[Unit], low: int, high: int) -> None:
        """A write to code of a page."""
        writes = self._writes.get(page)
        if writes is None:
            now = self._context.state.instructions
            writes = self._writes[page] = Writes(self._memory.blob(page << 12, PAGE), now)
        for unit in doomed:
            writes.add(unit, low, high)
        if page not in self._reloaded:
            for unit in doomed:
                self._remove(unit)
            if writes.places < _OVERWRITTEN:
                return
        self._overwrite(page)

    def _judge(self, page: int) -> bool:
        """Code runs in a page: whether what was written to there makes rewritten code of it, as is noted."""
        writes = self._writes.pop(page, None)
        if writes is None:
            return False
        patches = writes.patches(self._memory.blob(page << 12, PAGE), self._context.state.instructions)
        for low, high, age in patches:
            self.rewritten.dropped(low, high, age)
        return bool(patches)

    def _overwrite(self, page: int) -> None:
        """A page gets other contents, as when its frame gets another owner; nobody need ask byte by byte."""
        contents = self._memory.blob(page << 12, PAGE)
        staying = []
        for unit in list(self._pages[page]):
            if unit.translation is not None and unit.stays_in_page():
                staying.append(unit)
            else:
                self._remove(unit)
        self._suspend(page, staying, contents)
        self.on_overwrite(page)
        del self._pages[page]
        self._context.code_map[page << 9:page + 1 << 9] = bytes(512)
        self._memory.watched.discard(page)

    def _suspend(self, page: int, units: list[Unit], contents: bytes) -> None:
        together = set(units)
        self.invalidations += len(units)
        for unit in units:
            unit.alive = False
            del self._units[unit.mode, unit.block.physical, unit.block.eip]
            for slot in [slot for slot in unit.incoming if self.pool.user_of(slot) not in together]:
                self._disconnect(slot)
        self.table.leave(units)
        self.table.new_generation()
        for unit in self._suspended.add(page, np.frombuffer(contents, np.uint8), units,
                                        self._context.state.instructions):
            self._abandon(unit)

    def resume(self, mode: int, physical: int, eip: int) -> bool:
        """Bring back the units suspended when a page had the contents that are there now; whether there are any."""
        frame, page = physical >> 12, eip >> 12
        if not self._suspended.knows(mode, page):
            return False
        with self.lock:
            if any(unit.mode == mode for unit in self._pages.get(frame, ())):
                return False
            now, contents = self._context.state.instructions, self._memory.blob(frame << 12, PAGE)
            found = self._suspended.find(mode, page, np.frombuffer(contents, np.uint8), now)
            if found is None:
                return False
            group, differences = found
            if self._judge(frame):
                self._reloaded.discard(frame)
            else:
                self._reloaded.add(frame)
            rewritten = self.rewritten.of_page(frame)
            gone = np.zeros(PAGE, bool)
            gone[differences] = True
            gone[[place & 0xFFF for place in rewritten]] = True
            whole = not len(differences) and not rewritten
            self._watch(frame)
            for unit in group.units:
                if frame != group.frame:
                    unit.move(frame - group.frame << 12)
                if unit.code and (whole or not self._is_taken(unit, gone)) and not self._is_barred(unit):
                    self._revive(unit)
                else:
                    self._abandon(unit)
            code_map, place = self._context.code_map, frame << 9
            marks = np.packbits(group.mask, bitorder="little") | np.frombuffer(code_map[place:place + 512], np.uint8)
            code_map[place:place + 512] = marks.tobytes()
        return True

    def _is_taken(self, unit: Unit, gone: np.ndarray) -> bool:
        """Whether a suspended unit has lost a byte, or its place."""
        block = unit.block
        return (unit.mode, block.physical, block.eip) in self._units or any(
            gone[start & 0xFFF:(start & 0xFFF) + size].any() for start, size in spans(unit.blocks))

    def _revive(self, unit: Unit) -> None:
        block = unit.block
        unit.alive, unit.queued, unit.claimed = True, False, None
        unit.born = self._context.state.instructions
        self._units[unit.mode, block.physical, block.eip] = unit
        self._pages[block.physical >> 12].add(unit)
        self.table.enter(unit, unit.code)
        self.blocks += 1

    def _abandon(self, unit: Unit) -> None:
        """A suspended unit does not come back."""
        self.pool.seen[unit.mode, unit.block.eip, unit.block.code] = unit.seen
        self.unpublish(unit)
        for slot in list(unit.incoming):
            self._disconnect(slot)

    def cover(self, physical: int, size: int) -> None:
        """The interpreter keeps code of these bytes: they are to be watched as well."""
        with self.lock:
            self._mark(physical, size)

    def _remove(self, unit: Unit) -> None:
        self.invalidations += 1
        self._abandon(unit)
        unit.alive = False
        block = unit.block
        del self._units[unit.mode, block.physical, block.eip]
        for start, _size in spans(unit.blocks):
            self._pages.get(start >> 12, set()).discard(unit)

    def clear(self) -> None:
        """Drop everything."""
        with self.lock:
            for unit in list(self._units.values()):
                self._remove(unit)
            for group in self._suspended:
                for unit in group.units:
                    self._abandon(unit)
            self._suspended.clear()
            self.pool.clear()

    # what there must be no code of

    def bar(self, addresses: frozenset[int], apart: frozenset[int]) -> None:
        """Have no code of the instructions at these addresses, nor any that looks where linear pages `apart` lie."""
        with self.lock:
            self._barred, self._apart = addresses, apart
            for unit in list(self._units.values()):
                if self._is_barred(unit):
                    self._remove(unit)

    def _is_barred(self, unit: Unit) -> bool:
        versions = () if unit.versions is None else unit.versions
        return self._are_barred((*unit.blocks, *(version.block for version in versions)), unit.translation)

    def _are_barred(self, blocks: tuple[Block, ...], translation: Translation | None) -> bool:
        if any(block.has_any(self._barred) for block in blocks):
            return True
        if not self._apart or translation is None or not (translation.paged and translation.pages):
            return False
        return not self._apart.isdisjoint((blocks[0].eip >> 12, *translation.pages))

    # what native code sees

    def publish(self, unit: Unit, translation: Translation, blocks: tuple[Block, ...]) -> bool:
        """Let native code find the unit in a translation made from `blocks`; who knew it elsewhere is led there.

        May be called from another thread while native code runs; False if the guest has written to it meanwhile.
        """
        with self.lock:
            unit.queued = False
            if not unit.alive or blocks[0].physical != unit.block.physical or not self._unchanged(blocks) \
                    or self._are_barred(blocks, translation):
                return False
            if unit.translation is not None:
                self._retired.append(unit.translation)
            if translation.user is not None:
                self.unpublish(translation.user)
            self.pool.take(translation, unit)
            unit.translation = translation
            translation.displace(displacements(blocks, translation.pages))
            unit.code, unit.counter = translation.code, translation.counter
            self._cover(unit, blocks)
            self._lead(unit, unit.code)
            self._connect(translation, blocks)
        return True

    def _connect(self, translation: Translation, blocks: tuple[Block, ...]) -> None:
        """Lead the chain slots of a translation to where they go, as far as that is known."""
        away = {block.eip >> 12: block.physical - block.eip for block in blocks}
        for slot, target in zip(translation.slots, translation.targets, strict=True):
            distance = away.get(target >> 12, None if translation.paged else 0)
            unit = None if distance is None else self._units.get((translation.mode, target + distance, target))
            if unit is not None:
                self._connect_slot(slot, unit)

    def _connect_slot(self, slot: int, unit: Unit) -> None:
        """Lead a slot to a unit, at once or when that has code."""
        before = self._leads.get(slot)
        if before is not None:
            before.incoming.discard(slot)
        self._leads[slot] = unit
        unit.incoming.add(slot)
        if unit.code:
            ctypes.c_uint64.from_address(slot).value = unit.code
            self.chains += 1

    def _disconnect(self, slot: int) -> None:
        self._leads.pop(slot).incoming.discard(slot)
        ctypes.c_uint64.from_address(slot).value = 0

    def settle(self) -> None:
        """To be called when no native code runs and no slot waits to be linked: what was replaced is free now."""
        while self._retired:
            self._release(self._retired.pop())
        if self.table.crowded:
            with self.lock:
                if not self.table.holds(sum(unit.code != 0 for unit in self._units.values())):
                    for unit in list(self._units.values()):
                        self._remove(unit)
                self.table.begin_again(self._units.values())

    def _release(self, translation: Translation) -> None:
        for slot in translation.slots:
            unit = self._leads.pop(slot, None)
            if unit is not None:
                unit.incoming.discard(slot)
        self.pool.release(translation)

    def publish_version(self, unit: Unit, version: Version, translation: Translation, following: int) -> bool:
        """Let native code find a version before the others of its unit; `following` is its word for the next one."""
        with self.lock:
            version.queued = False
            if not unit.alive or unit.versions is None or version not in unit.versions \
                    or self._are_barred((version.block,), translation):
                return False
            translation.displace(displacements((version.block,), translation.pages))
            version.code, version.next, version.counter = translation.code, following, translation.counter
            chain = unit.versions.compiled(version)
            for one, other in zip(chain, [*(other.code for other in chain[1:]), 0], strict=True):
                ctypes.c_uint64.from_address(one.next).value = other
            unit.code = version.code
            self._lead(unit, unit.code)
        return True

    def _lead(self, unit: Unit, code: int) -> None:
        self.table.enter(unit, code)
        _write_slots(unit.incoming, code)
        self.table.new_generation()

    def calm(self, unit: Unit, block: Block) -> None:
        """Nothing has rewritten a unit with versions for long: it is one like any other."""
        with self.lock:
            self.rewritten.calm(block)
            self._remove(unit)

    def _unchanged(self, blocks: tuple[Block, ...]) -> bool:
        """Whether memory still has what the blocks were made from."""
        for block in blocks:
            here = b"".join(self._memory.blob(start, size) for start, size in spans((block,)))
            if here != block.code + block.behind:
                return False
        return True

    def unpublish(self, unit: Unit) -> None:
        if unit.code:
            _write_slots(unit.incoming, 0)
            unit.code = 0
            if unit.alive:
                self.table.enter(unit, 0)
                self.table.new_generation()
        if unit.translation is not None:
            self._release(unit.translation)
            unit.translation = None

    def link(self, unit: Unit, slot: int) -> None:
        """Lead the slot through which native code left to what it went to."""
        if self.pool.user_of(slot) is not None:
            self._connect_slot(slot, unit)


def _write_slots(slots: Iterable[int], code: int) -> None:
    for slot in slots:
        ctypes.c_uint64.from_address(slot).value = code


def displacements(blocks: tuple[Block, ...], pages: tuple[int, ...]) -> list[int]:
    """By how much more than the head's each of `pages` is displaced from its linear address."""
    found: dict[int, int] = {}
    for block in blocks:
        found[block.eip >> 12] = block.physical - block.eip
        if block.second is not None:
            found[(block.eip >> 12) + 1 & 0xFFFFF] = block.second - ((block.eip >> 12) + 1 << 12 & 0xFFFF_FFFF)
    home = found[blocks[0].eip >> 12]
    return [found[page] - home for page in pages]
