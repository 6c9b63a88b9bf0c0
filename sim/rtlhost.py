"""The RTL computer as the part of a monitor outside of it sees it: a processor that rings, and its memory."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from rtl.isa.stop import StopReason

from .engines import Kind
from .machine import MachineError
from .rtlmachine import RtlMachine
from .rtlmemory import CachedMemory
from .stop import ArchState, Reason

_LINE = 32
_WORDS = _LINE // 4
_DATA, _CODE = "core.lsu.cache.arrays", "core.fetch.icache"
#: Cycles between two looks at the user, and fewer than fill a tap.
_SLICE, _SLICE_PYSIM = 50_000, 500
_LONGEST_REST = 1000
#: No way of a cache.
_NOWHERE = -1


class RtlHost:
    """The simulated processor and its memory, between two rings of the doorbell.

    1. `run` goes on until the doorbell rings (DOORBELL), so many cycles are over (CYCLE_LIMIT), `interrupted` says so
       (USER_INTERRUPT), unless that is not to be heeded, or the processor of the host itself ends, which is a fault of
       its program.
    2. Memory is what the processor sees: a read finds what the data cache has not written back, a write reaches the
       caches too. Both are for a processor that has rung.
    3. Who rings waits for a word to change then, in a loop, while the caches finish what they do.
    4. `spill` brings RAM itself to the present, for somebody who works on the buffer; `refill` lets the caches see what
       he has changed.

    Members
    -------
    ram : the buffer. on_slice : called several times a second while the processor runs, wherever it stands then.
    interrupted : asked several times a second whether somebody wants an end.
    burst : what runs the simulation, as `Engine.burst`; somebody who records it puts his own here.
    """

    def __init__(self, machine: RtlMachine) -> None:
        self.machine = machine
        self._engine = machine.engine
        self.burst: Callable[[int], int] = self._engine.burst
        self.ram = machine.ram
        self._ram = self.ram.data
        self._peek, self._poke = self._engine.peek, self._engine.poke
        self.on_slice: Callable[[], None] = lambda: None
        self.interrupted: Callable[[], bool] = lambda: False
        self._slice = _SLICE_PYSIM if machine.engine_name == "pysim" else _SLICE
        self._unseen = 0
        memories = {re.sub(r"\$\d+", "", info.name): info for info in self._engine.signals()
                    if info.kind is Kind.MEMORY}
        self._tags = [memories[f"{_DATA}.tags{way}"].name for way in range(2)]
        self._words = [memories[f"{_DATA}.words{way}"].name for way in range(2)]
        self._tag_bits, self._sets = memories[f"{_DATA}.tags0"].width - 1, memories[f"{_DATA}.tags0"].depth
        self._tag_rows = [[f"{name}[{row}]" for row in range(self._sets)] for name in self._tags]
        self._rows = self._sets * _WORDS
        self._word_rows = [[f"{name}[{row}]" for row in range(self._rows)] for name in self._words]
        self._code_tags = memories[f"{_CODE}.tags"].name
        self._code_bits = memories[f"{_CODE}.tags"].width // 2
        self._code = [memories[f"{_CODE}.data{way}"].name for way in range(2)]
        self._ways: dict[int, int] = {}

    @property
    def cycle(self) -> int:
        return self._engine.cycle

    @property
    def guest_cycles(self) -> int:
        """Cycles spent in the guest so far."""
        return self._engine.peek("core.perf.guest_cycles")

    @property
    def guest_instructions(self) -> int:
        return self._engine.peek("core.perf.guest_instructions")

    @property
    def has_iterated(self) -> bool:
        """Whether what was done last is an iteration of a REP instruction that goes on."""
        return bool(self._engine.peek("core.retirement.partial"))

    def counters(self) -> dict[str, int]:
        return self.machine.counters()

    def start(self, state: ArchState) -> None:
        """Where the processor of the host begins, with somebody who hears the doorbell; only before the first cycle."""
        self.machine.set_state(state)
        self._engine.poke("doorbell_enable", 1)

    def state(self) -> ArchState:
        """The processor as it stands, in whatever mode."""
        return self.machine.state()

    def breakpoint(self, number: int) -> int:
        """One of DR0 to DR3."""
        return self._engine.peek(f"core.sysregs.dr__{number}")

    def set_breakpoint(self, number: int, address: int) -> None:
        self._engine.poke(f"core.sysregs.dr__{number}", address)

    def kick(self, wanted: bool) -> None:
        """Request an interrupt, or not any more."""
        self._engine.poke("kick", int(wanted))

    def run(self, cycles: int | None = None, heeding: bool = True) -> Reason:
        """Run; see rule 1. Raises MachineError if the host's processor ends."""
        self._ways.clear()
        engine, left = self._engine, cycles
        while left is None or left > 0:
            if heeding and self.interrupted():
                return Reason.USER_INTERRUPT
            if self._unseen >= self._slice:
                self._unseen = 0
                self.machine.on_records()
                self.on_slice()
            wanted = self._slice - self._unseen
            ran = self.burst(wanted if left is None else min(wanted, left))
            if left is not None:
                left -= ran
            self._unseen += ran
            if engine.stop:
                if engine.stop == StopReason.DOORBELL:
                    self._rest()
                    return Reason.DOORBELL
                raise MachineError(f"The processor of the monitor stopped with {StopReason(engine.stop).name}")
        return Reason.CYCLE_LIMIT

    def _rest(self) -> None:
        """Let the caches finish what they do; the processor waits in a loop meanwhile."""
        for _ in range(_LONGEST_REST):
            if self._engine.peek("core.lsu.idle"):
                return
            self._unseen += self.burst(1)
        raise MachineError(f"The caches did not come to rest in {_LONGEST_REST} cycles")

    # -- memory

    def _way(self, line: int) -> int:
        """The way of the data cache that holds a line, or _NOWHERE; it stays so while nothing runs."""
        row, wanted, found = line % self._sets, line // self._sets | 1 << self._tag_bits, _NOWHERE
        for way, rows in enumerate(self._tag_rows):
            if self._peek(rows[row]) == wanted:
                found = way
        self._ways[line] = found
        return found

    def word(self, address: int) -> int:
        """An aligned word of RAM."""
        line, place = address // _LINE, address // 4
        way = self._ways[line] if line in self._ways else self._way(line)
        return self._ram[place] if way == _NOWHERE else self._peek(self._word_rows[way][place % self._rows])

    def set_word(self, address: int, value: int) -> None:
        line, place = address // _LINE, address // 4
        way = self._ways[line] if line in self._ways else self._way(line)
        self._ram[place] = value
        if way != _NOWHERE:
            self._poke(self._word_rows[way][place % self._rows], value)

    def spill(self) -> None:
        CachedMemory(self._engine).write_back()

    def refill(self) -> None:
        for tags, words in zip(self._tags, self._words, strict=True):
            rows, words_now = self._engine.rows(tags), self._engine.rows(words).reshape(-1, _WORDS)
            valid, lines = rows >> self._tag_bits & 1, self._lines(rows & (1 << self._tag_bits) - 1)
            for row, place in zip(*self._stale(valid, lines, words_now), strict=True):
                self._engine.poke(f"{words}[{row * _WORDS + place}]", int(self.ram[lines[row] * _WORDS + place]))
        rows = self._engine.rows(self._code_tags).astype(np.uint64)
        for way, data in enumerate(self._code):
            entry = rows >> np.uint64(self._code_bits * way)
            words_now = self._engine.rows(data).view(np.uint32).reshape(-1, _WORDS)
            lines = self._lines(entry >> np.uint64(1) & np.uint64((1 << self._code_bits - 1) - 1))
            for row in set(self._stale(entry & np.uint64(1), lines, words_now)[0]):
                kept = int(self._engine.peek(f"{self._code_tags}[{row}]")) & ~(1 << self._code_bits * way)
                self._engine.poke(f"{self._code_tags}[{row}]", kept)

    @staticmethod
    def _lines(tags: np.ndarray) -> np.ndarray:
        """Numbers of the lines in a way of a cache."""
        return tags.astype(np.int64) * len(tags) + np.arange(len(tags))

    def _stale(self, valid: np.ndarray, lines: np.ndarray, held: np.ndarray) -> tuple[list[int], list[int]]:
        """Rows and places of words that RAM holds otherwise."""
        inside = (valid != 0) & (lines < len(self.ram) // _WORDS)
        now = self.ram[np.where(inside, lines, 0)[:, None] * _WORDS + np.arange(_WORDS)]
        rows, places = np.nonzero((now != held) & inside[:, None])
        return rows.tolist(), places.tolist()
