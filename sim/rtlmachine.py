"""The cycle-accurate computer as a `Machine`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from rtl.board import BoardConfig
from rtl.isa.devices import cmos_image
from rtl.isa.stop import StopReason

from .bootinfo import Module
from .design import ACK, DEBUG, IO, LOAD, RETIRE, SERIAL, STORE, board_design
from .engines import Engine, Why, build
from .image import Image
from .interrupts import deferred_interrupt
from .machine import ConsoleSink, check_ram_size
from .rtlmemory import CachedMemory
from .rtlstate import read_counters, read_devices, read_state, write_devices, write_state
from .savefile import SavedState
from .settling import settle
from .stop import ArchState, Reason, Stop
from .symbols import SymbolTable
from .typedstop import typed_stop

_REASONS = {
    StopReason.EXIT: Reason.GUEST_EXIT,
    StopReason.STUCK: Reason.HALT_FOREVER,
    StopReason.SHUTDOWN: Reason.TRIPLE_FAULT,
    StopReason.RESET: Reason.RESET,
}
#: Cycles between two looks at the console.
_CHUNK = 200_000
_CHUNK_PYSIM = 500
_CONSOLES = (SERIAL, DEBUG)


class RtlMachine:
    """The board on a simulation engine.

    1. Breakpoints are linear addresses; the machine stops before the instruction there completes nothing more: the
       stop is the cycle in which the instruction before it retires.
    2. `state` and `memory_image` look at a copy of the machine that was let finish what is in flight; the run itself
       is not disturbed.

    Parameters
    ----------
    engine : name of the engine, see `sim.engines`.
    ram_bytes : size of RAM. ram : the buffer itself, to share it.
    console : where console bytes go.

    Members
    -------
    on_slice : called several times a second while the machine runs.
    on_records : called before a tap that somebody has switched on is full, for him to drain it; not at breakpoints.
    """

    def __init__(self, *, engine: str = "native", ram_bytes: int = 16 << 20, config: BoardConfig | None = None,
                 cache_dir: Path | str | None = None, console: ConsoleSink | None = None,
                 ram: np.ndarray | None = None) -> None:
        if ram is None:
            check_ram_size(ram_bytes)
            ram = np.zeros(ram_bytes // 4, dtype=np.uint32)
        self.config = config or BoardConfig()
        self.engine_name = engine
        self._design = board_design(self.config)
        self.engine: Engine = build(self._design, engine, cache_dir, ram)
        self.engine.poke("ram_size_words", len(ram))
        for row, byte in enumerate(self._cmos(len(ram) * 4)):
            self.engine.poke(f"isa.rtc.ram[{row}]", byte)
        self.console = console or (lambda _data: None)
        self.on_slice: Callable[[], None] = lambda: None
        self.on_records: Callable[[], None] = lambda: None
        self.symbols = SymbolTable()
        self.breakpoints: set[int] = set()
        for name in _CONSOLES:
            self.engine.set_tap(name, True)
        self._power_on = self.engine.mark()

    def reset(self) -> None:
        """Back to cycle 0, with RAM cleared."""
        self._rewind()
        self.engine.ram[:] = 0
        self.symbols = SymbolTable()

    def _rewind(self) -> None:
        """Back to cycle 0; RAM stays."""
        self.engine.rewind(self._power_on)
        for name in (*_CONSOLES, RETIRE, STORE, IO, LOAD, ACK):
            self.engine.drain_tap(name)

    def _cmos(self, ram_bytes: int) -> Sequence[int]:
        return cmos_image(replace(self.config.devices, ram_bytes=ram_bytes))

    # -- loading

    def load(self, image: Image, command_line: str = "", modules: Sequence[Module] = ()) -> None:
        """Place the image and set the registers it starts with.

        Raises
        ------
        ImageError
            The image does not fit.
        """
        boot = image.place(self.engine.ram, command_line, modules)
        self.symbols = image.symbols
        self.engine.poke("core.regs.eax", boot.eax)
        self.engine.poke("core.regs.ebx", boot.ebx)
        self.engine.poke("core.eip", boot.eip)

    # -- looking

    @property
    def ram(self) -> np.ndarray:
        """The RAM buffer."""
        return self.engine.ram

    @property
    def cycle(self) -> int:
        return self.engine.cycle

    @property
    def instructions(self) -> int:
        return self.engine.peek("core.perf.instructions")

    def counters(self) -> dict[str, int]:
        return read_counters(self.engine)

    def state(self) -> ArchState:
        with self._settled():
            return read_state(self.engine)

    def memory_image(self) -> np.ndarray:
        with self._settled():
            return CachedMemory(self.engine).image()

    def set_state(self, state: ArchState) -> None:
        """Start from a processor state; only before the first cycle."""
        write_state(self.engine, state)

    def save(self) -> SavedState:
        """All of the computer, for this or any other machine."""
        netlist = self.engine.save()
        with self._settled() as said:
            return SavedState(self.cycle, read_state(self.engine), read_devices(self.engine),
                              CachedMemory(self.engine).image(), self._design.key, netlist, said)

    def hand_over(self) -> SavedState | Stop:
        """The state for another machine on the same RAM buffer, without a copy, or how the guest just ended the run.

        What is in flight completes first. This machine goes on only by `restore`.
        """
        asked = settle(self.engine)
        self._flush_console()
        if asked is not None:
            return self._guest_stop(asked)
        CachedMemory(self.engine).write_back()
        return SavedState(self.cycle, read_state(self.engine), read_devices(self.engine), self.engine.ram)

    def restore(self, saved: SavedState) -> None:
        """Go on from a saved state: to the cycle if the same design wrote it, else from the instruction on.

        A state that was handed over has this machine's RAM buffer, and nothing is copied.

        Raises
        ------
        MachineError
            The state is of a computer with another amount of RAM.
        """
        saved.check_ram(self.engine.ram)
        self._rewind()
        if saved.netlist is not None and saved.design == self._design.key:
            self.engine.load(saved.netlist)
            return
        if saved.ram is not self.engine.ram:
            self.engine.ram[:] = saved.ram
        if saved.said:
            self.console(saved.said)
        self.engine.cycle = saved.cycle
        self.engine.poke("cycle", saved.cycle)
        write_devices(self.engine, saved.devices)
        write_state(self.engine, saved.cpu)

    def stop_here(self, reason: Reason, value: int | None = None) -> Stop:
        """The typed stop for where the machine stands, as the registers show it."""
        return typed_stop(reason, self.cycle, self.instructions, read_state(self.engine), self.symbols,
                          CachedMemory(self.engine).read, value)

    def settle(self) -> None:
        """Let what is in flight complete and start nothing more; the machine cannot go on afterwards."""
        while settle(self.engine) is not None:
            pass

    def settled_memory(self) -> np.ndarray:
        """Memory of a machine that has settled."""
        return CachedMemory(self.engine).image()

    @contextmanager
    def _settled(self) -> Iterator[bytes]:
        """The machine with its pipeline empty, between two instructions; afterwards it stands where it stood.

        Gives what it says to the console on the way there, and will say again.
        """
        saved = self.engine.save()
        try:
            self.settle()
            yield self._said()
        finally:
            self.engine.load(saved)

    # -- running

    def run(self, max_cycles: int | None = None) -> Stop:
        """Run until the guest or the user ends it, a breakpoint is met, or `max_cycles` more have passed."""
        with deferred_interrupt() as interrupted:
            return self._run(max_cycles, interrupted)

    def _run(self, max_cycles: int | None, interrupted: Callable[[], bool]) -> Stop:
        end = None if max_cycles is None else self.cycle + max_cycles
        longest = _CHUNK_PYSIM if self.engine_name == "pysim" else _CHUNK
        while end is None or self.cycle < end:
            chunk = longest if end is None else min(longest, end - self.cycle)
            if self.breakpoints:
                found = self._run_to_breakpoint(chunk)
                if found is not None:
                    return found
            else:
                found = self.advance(chunk)
                if found is not None:
                    return found
            self.on_slice()
            if interrupted():
                return self.stop_here(Reason.USER_INTERRUPT)
        return self.stop_here(Reason.CYCLE_LIMIT)

    def advance(self, cycles: int) -> Stop | None:
        """Run some cycles; a stop if there is a reason."""
        end = self.cycle + cycles
        while self.cycle < end:
            result = self.engine.run(end - self.cycle)
            self._flush_console()
            self.on_records()
            if result.why is Why.STOP:
                return self._guest_stop(result.stop)
            if result.why is Why.INTERRUPTED:
                return self.stop_here(Reason.USER_INTERRUPT)
        return None

    def _guest_stop(self, value: int) -> Stop:
        reason = _REASONS[StopReason(value)]
        return self.stop_here(reason, self.engine.peek("exit_value") if reason is Reason.GUEST_EXIT else None)

    def _flush_console(self) -> None:
        said = self._said()
        if said:
            self.console(said)

    def _said(self) -> bytes:
        """What the consoles were sent since the last look."""
        records = [self.engine.drain_tap(name) for name in _CONSOLES]
        if not any(len(part) for part in records):
            return b""
        both = np.concatenate([part[["cycle", "data"]] for part in records])
        return both[np.argsort(both["cycle"], kind="stable")]["data"].astype(np.uint8).tobytes()

    def _run_to_breakpoint(self, cycles: int) -> Stop | None:
        """As `advance`, in two passes when a breakpoint lies in the chunk: find the cycle, then go there."""
        engine = self.engine
        saved = engine.save()
        engine.set_tap(RETIRE, True)
        start = self.cycle
        try:
            result = engine.run(cycles)
            base = engine.peek("core.segments.cs_base")
            records = engine.drain_tap(RETIRE)
        finally:
            engine.set_tap(RETIRE, False)
        hits = np.isin((records["next_eip"].astype(np.uint64) + np.uint64(base)) & np.uint64(0xFFFF_FFFF),
                       np.array(sorted(self.breakpoints), dtype=np.uint64))
        hits &= records["cycle"] > start
        if hits.any():
            engine.load(saved)
            for name in _CONSOLES:
                engine.drain_tap(name)
            engine.run(int(records["cycle"][int(np.argmax(hits))]) - start)
            self._flush_console()
            return self.stop_here(Reason.BREAKPOINT)
        self._flush_console()
        if result.why is Why.STOP:
            return self._guest_stop(result.stop)
        if result.why is Why.INTERRUPTED:
            return self.stop_here(Reason.USER_INTERRUPT)
        return None
