"""Translations by address and mode: finding, linking, invalidating.

Rules:

1. A unit is found by its physical address, its EIP and its mode key: it holds while that page is mapped there.
2. Writing to a byte a translation was made from drops the translation before the byte changes. Units with versions look
   at their bytes themselves, and stay.
3. Native code finds units through the block table of the context; chain slots and the jump cache go straight to them
   and are emptied when a unit goes.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from vmm.engine.dbt.frontend import PAGE, Block
from vmm.engine.dbt.layout import BLOCK_ENTRIES, JUMP_ENTRIES, Context
from vmm.engine.dbt.pool import Pool, Translation
from vmm.engine.dbt.rewritten import Rewritten, Version, Versions
from vmm.memory import PhysicalMemory

_GENERATIONS = 1 << 16
#: Mode, physical address and EIP of code.
Place = tuple[int, int, int]
#: Writes to code of one page, none of which has run since, after which all of it is taken to be overwritten.
_OVERWRITTEN = 4
#: Bytes of a page that may have changed after all when code runs in it again, if it was not for other contents.
_PATCHED = 256


@dataclass(slots=True, eq=False)
class Unit:
    """What is known of the code at one physical address under one mode.

    Members
    -------
    code : entry point, or 0. seen : times it was met without. refused : native code cannot do its first instruction.
    queued : waits to be compiled. alive : the guest has not written to it. claimed : head of a region it is in.
    blocks : what the code was made from, whose bytes are in `spans`. translation : whose `code` it is.
    counter : address of the count of executions to go until it is hot, or 0.
    versions : of a unit that the guest rewrites, whose code is that of its first version; else None.
    born : instructions done before it was met.
    """

    mode: int
    block: Block
    code: int = 0
    seen: int = 0
    refused: bool = False
    queued: bool = False
    alive: bool = True
    claimed: Unit | None = None
    blocks: tuple[Block, ...] = ()
    counter: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)
    translation: Translation | None = None
    versions: Versions | None = None
    born: int = 0

    @property
    def instructions(self) -> int:
        return len(self.block.guests)

    @property
    def is_system(self) -> bool:
        return self.block.is_system


@dataclass(slots=True)
class Rest:
    """The end of a block, entered in its middle `seen` times; almost always an interrupt came there."""

    instructions: int
    is_system: bool
    seen: int = 0


class CodeStore:
    """The translations of one processor.

    Members
    -------
    pool : where translations come from and go to. on_watch : called when a page is watched that was not.
    on_overwrite : called with the number of a page whose code is all taken to go.
    blocks : units met so far. chains : exits of code led straight to other code. invalidations : units dropped.
    rewritten : which code the guest rewrites.
    """

    def __init__(self, context: Context, memory: PhysicalMemory, pool: Pool):
        self._context = context
        self.pool = pool
        self._memory = memory
        self._units: dict[Place, Unit] = {}
        self._pages: dict[int, set[Unit]] = {}
        self._incoming: dict[Place, set[int]] = {}
        self._leads: dict[int, Place] = {}
        self._retired: list[Translation] = []
        self._drops: dict[int, list[tuple[int, int, int]]] = {}
        self._suspected: dict[int, tuple[list[tuple[int, int, int]], bytes]] = {}
        self._table = (ctypes.c_uint64 * (2 * BLOCK_ENTRIES)).from_address(ctypes.addressof(context.blocks))
        self._entries: dict[int, int] = {}
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
                        return Rest(len(block.guests) - number, block.is_system)
        return None

    def add(self, mode: int, block: Block, checked: bool = False) -> Unit:
        unit = self._units[mode, block.physical, block.eip] = Unit(
            mode, block, seen=self.pool.seen.get((mode, block.eip, block.code), 0), blocks=(block,),
            born=self._context.state.instructions)
        self.blocks += 1
        with self.lock:
            self._count(block.physical >> 12)
            if checked:
                unit.versions = Versions()
                return unit
            self._cover(unit, (block,))
        return unit

    # the cover: which bytes code was made from

    def _cover(self, unit: Unit, blocks: tuple[Block, ...]) -> None:
        unit.spans = _spans(blocks)
        for start, size in unit.spans:
            self._mark(start, size)
            self._pages[start >> 12].add(unit)

    def _mark(self, start: int, size: int) -> None:
        """Mark bytes in the code map. Some stay marked when their code goes: a write to them looks, and clears it."""
        page, code_map = start >> 12, self._context.code_map
        if page not in self._pages:
            self._pages[page] = set()
            self._memory.watched.add(page)
            self.on_watch()
        low, high = start >> 3, start + size + 7 >> 3
        bits = (1 << size) - 1 << (start & 7)
        code_map[low:high] = (int.from_bytes(code_map[low:high], "little") | bits).to_bytes(high - low, "little")

    def written(self, address: int, size: int) -> None:
        """RAM is about to change."""
        with self.lock:
            for page in range(address >> 12, (address + size - 1 >> 12) + 1):
                units = self._pages.get(page)
                if units is None:
                    continue
                # the interpreter's cache stops watching a page it has no code of
                self._memory.watched.add(page)
                doomed = [unit for unit in units if any(
                    start < address + size and address < start + length
                    for start, length in unit.spans)]
                for unit in doomed:
                    self._note(page, unit, address, address + size)
                    self._remove(unit)
                code_map = self._context.code_map
                low, high = max(address, page << 12), min(address + size, page + 1 << 12)
                for byte in range(low, high):
                    code_map[byte >> 3] &= ~(1 << (byte & 7))
                if doomed and len({low for low, _high, _age in self._drops[page]}) >= _OVERWRITTEN:
                    self._overwrite(page)

    def _note(self, page: int, unit: Unit, low: int, high: int) -> None:
        """Code is dropped for a write."""
        age = self._context.state.instructions - unit.born
        drops = self._drops.setdefault(page, [])
        for start, length in unit.spans:
            if start < high and low < start + length:
                drops.append((max(low, start), min(high, start + length), age))

    def _count(self, page: int) -> None:
        """Code runs in a page: what was written to there may become rewritten code."""
        drops = self._drops.pop(page, [])
        suspected = self._suspected.pop(page, None)
        if suspected is not None:
            before = np.frombuffer(suspected[1], np.uint8)
            after = np.frombuffer(self._memory.blob(page << 12, PAGE), np.uint8)
            if np.count_nonzero(before != after) <= _PATCHED:
                drops += suspected[0]
        for low, high, age in drops:
            self.rewritten.dropped(low, high, age)

    def _overwrite(self, page: int) -> None:
        """A page gets other contents, as when its frame gets another owner; nobody need ask byte by byte."""
        self._suspected[page] = self._drops.pop(page), self._memory.blob(page << 12, PAGE)
        for unit in list(self._pages[page]):
            self._remove(unit)
        self.on_overwrite(page)
        del self._pages[page]
        self._context.code_map[page << 9:page + 1 << 9] = bytes(512)
        self._memory.watched.discard(page)

    def cover(self, physical: int, size: int) -> None:
        """The interpreter keeps code of these bytes: they are to be watched as well."""
        with self.lock:
            self._mark(physical, size)

    def _remove(self, unit: Unit) -> None:
        self.invalidations += 1
        unit.alive = False
        self.pool.seen[unit.mode, unit.block.eip, unit.block.code] = unit.seen
        self.unpublish(unit)
        block = unit.block
        del self._units[unit.mode, block.physical, block.eip]
        for start, _size in unit.spans:
            self._pages.get(start >> 12, set()).discard(unit)

    def clear(self) -> None:
        """Drop everything."""
        with self.lock:
            for unit in list(self._units.values()):
                self._remove(unit)
            self.pool.clear()

    # what native code sees

    def publish(self, unit: Unit, translation: Translation, blocks: tuple[Block, ...]) -> bool:
        """Let native code find the unit in a translation made from `blocks`; who knew it elsewhere is led there.

        May be called from another thread while native code runs; False if the guest has written to it meanwhile.
        """
        with self.lock:
            unit.queued = False
            if not unit.alive or not self._unchanged(blocks):
                return False
            if unit.translation is not None:
                self._retired.append(unit.translation)
            if translation.user is not None:
                self.unpublish(translation.user)
            self.pool.take(translation, unit)
            unit.translation = translation
            translation.displace(displacements(blocks, translation.pages))
            unit.code, unit.blocks, unit.counter = translation.code, blocks, translation.counter
            self._cover(unit, blocks)
            self._lead(unit, unit.code)
            self._connect(translation, blocks)
        return True

    def _connect(self, translation: Translation, blocks: tuple[Block, ...]) -> None:
        """Lead the chain slots of a translation to where they go; also to code there is none of yet."""
        away = {block.eip >> 12: block.physical - block.eip for block in blocks}
        for slot, target in zip(translation.slot_places, translation.targets, strict=True):
            distance = away.get(target >> 12, None if translation.paged else 0)
            if distance is not None:
                self._connect_slot(slot, (translation.mode, target + distance, target))

    def _connect_slot(self, slot: int, place: Place) -> None:
        before = self._leads.get(slot)
        if before is not None:
            self._incoming[before].discard(slot)
        self._leads[slot] = place
        self._incoming.setdefault(place, set()).add(slot)
        unit = self._units.get(place)
        if unit is not None and unit.code:
            ctypes.c_uint64.from_address(slot).value = unit.code
            self.chains += 1

    def settle(self) -> None:
        """To be called when no native code runs and no slot waits to be linked: what was replaced is free now."""
        while self._retired:
            self._release(self._retired.pop())
        if len(self._entries) > BLOCK_ENTRIES // 2:
            with self.lock:
                self._clear_table()

    def _release(self, translation: Translation) -> None:
        for slot in translation.slot_places:
            place = self._leads.pop(slot, None)
            if place is not None:
                self._incoming[place].discard(slot)
        self.pool.release(translation)

    def publish_version(self, unit: Unit, version: Version, translation: Translation, following: int) -> bool:
        """Let native code find a version before the others of its unit; `following` is its word for the next one."""
        with self.lock:
            version.queued = False
            if not unit.alive or unit.versions is None or version not in unit.versions:
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
        self._enter(unit, code)
        self._write_slots(unit, code)
        self.new_generation()

    def _write_slots(self, unit: Unit, code: int) -> None:
        for slot in self._incoming.get((unit.mode, unit.block.physical, unit.block.eip), ()):
            ctypes.c_uint64.from_address(slot).value = code

    def calm(self, unit: Unit, block: Block) -> None:
        """Nothing has rewritten a unit with versions for long: it is one like any other."""
        with self.lock:
            self.rewritten.calm(block)
            self._remove(unit)

    def _unchanged(self, blocks: tuple[Block, ...]) -> bool:
        """Whether memory still has what the blocks were made from."""
        for block in blocks:
            here = b"".join(self._memory.blob(start, size) for start, size in _spans((block,)))
            if here != block.code:
                return False
        return True

    def unpublish(self, unit: Unit) -> None:
        if unit.code:
            self._enter(unit, 0)
            self._write_slots(unit, 0)
            unit.code = 0
            self.new_generation()
        if unit.translation is not None:
            self._release(unit.translation)
            unit.translation = None

    def link(self, unit: Unit, slot: int) -> None:
        owner = self.pool.owner(slot)
        if owner is None or owner.user is not None:
            self._connect_slot(slot, (unit.mode, unit.block.physical, unit.block.eip))

    def _enter(self, unit: Unit, code: int) -> None:
        """Put an entry point, or 0 for none, into the block table."""
        physical, mode = unit.block.physical, unit.mode
        key = physical | (mode + 1 | unit.block.eip - physical & 0xFFFF_F000) << 32
        place = self._entries.get(key)
        if place is not None:
            self._table[2 * place + 1] = code
            return
        table = self._table
        place = (physical ^ physical >> 11 ^ mode + 1 << 4) & BLOCK_ENTRIES - 1
        while table[2 * place]:
            place = place + 1 & BLOCK_ENTRIES - 1
        self._entries[key] = place
        table[2 * place + 1] = code
        table[2 * place] = key

    def _clear_table(self) -> None:
        """Forget the keys of code that has gone; if that is too little, forget all code."""
        if sum(unit.code != 0 for unit in self._units.values()) > BLOCK_ENTRIES // 4:
            for unit in list(self._units.values()):
                self._remove(unit)
        ctypes.memset(self._table, 0, ctypes.sizeof(self._table))
        self._entries.clear()
        for unit in self._units.values():
            if unit.code:
                self._enter(unit, unit.code)

    def new_generation(self) -> None:
        """Make the jump cache forget everything."""
        state = self._context.state
        state.generation = (state.generation + 1) % _GENERATIONS
        if not state.generation:
            ctypes.memset(self._context.jumps, 0, JUMP_ENTRIES * 16)
        self.set_tag()

    def set_tag(self) -> None:
        state = self._context.state
        state.tag = (state.generation << 16 | state.mode + 1 & 0xFFFF) << 32


def _spans(blocks: tuple[Block, ...]) -> list[tuple[int, int]]:
    """Where the bytes of blocks lie: physical addresses and sizes."""
    spans = []
    for block in blocks:
        first = min(len(block.code), PAGE - block.physical % PAGE)
        spans.append((block.physical, first))
        if block.second is not None:
            spans.append((block.second, len(block.code) - first))
    return spans


def displacements(blocks: tuple[Block, ...], pages: tuple[int, ...]) -> list[int]:
    """By how much more than the head's each of `pages` is displaced from its linear address."""
    found: dict[int, int] = {}
    for block in blocks:
        found[block.eip >> 12] = block.physical - block.eip
        if block.second is not None:
            found[(block.eip >> 12) + 1 & 0xFFFFF] = block.second - ((block.eip >> 12) + 1 << 12 & 0xFFFF_FFFF)
    home = found[blocks[0].eip >> 12]
    return [found[page] - home for page in pages]
