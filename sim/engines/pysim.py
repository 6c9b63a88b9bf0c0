"""Amaranth's own simulator as an engine: slow, and the reference for the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Const, MemoryData, Signal
from amaranth.sim.pysim import PySimEngine

from .base import EngineError, Kind, RunResult, SignalInfo, State, UnknownSignal, Why, tap_dtype, value_dtype
from .common import (
    SavedMarks,
    check_taps,
    checked_ram,
    full_tap,
    memory_array,
    new_ram,
    parse_row,
    resume,
    tap_widths,
)
from .design import SimDesign, Tap
from .elaborate import RDATA_NAME, elaborate
from .interrupt import Interrupt


class PySim(SavedMarks):
    """``Engine`` on Amaranth's simulator."""

    TAP_CAPACITY = 1 << 16

    def __init__(self, design: SimDesign, ram: np.ndarray | None = None) -> None:
        self._sim_design = design
        self._elaborated = elaborate(design)
        self._engine = PySimEngine(self._elaborated.design)
        self._signals = self._elaborated.signals
        self._infos = {info.name: info for info in self._elaborated.infos}
        self._rows: dict[str, MemoryData] = {
            name: memory._data for name, memory in self._elaborated.memories.items()}
        self._taps: dict[str, Tap] = {tap.name: tap for tap in design.taps}
        self._records: dict[str, list[tuple[int, ...]]] = {tap.name: [] for tap in design.taps}
        self._enabled: set[str] = set()
        self.cycle = self.stop = 0
        self.ram = new_ram(design, ram)
        self._engine.step_design()

    @property
    def ram(self) -> np.ndarray:
        return self._ram

    @ram.setter
    def ram(self, ram: np.ndarray) -> None:
        self._ram = checked_ram(ram)

    # -- running

    def run(self, max_cycles: int) -> RunResult:
        if full_tap(self._tap_counts(), self.TAP_CAPACITY) is not None:
            return RunResult(0, 0, Why.TAP_FULL)
        with Interrupt() as interrupt:
            for done in range(1, max_cycles + 1):
                stop, full = self._step()
                if stop:
                    return RunResult(done, stop, Why.STOP)
                if full:
                    return RunResult(done, 0, Why.TAP_FULL)
                if interrupt.pending:
                    return RunResult(done, 0, Why.INTERRUPTED)
        return RunResult(max(max_cycles, 0), 0, Why.LIMIT)

    def burst(self, max_cycles: int) -> int:
        for done in range(1, max_cycles + 1):
            if any(self._step()):
                return done
        return max(max_cycles, 0)

    def _tap_counts(self) -> dict[str, int]:
        return {name: len(records) for name, records in self._records.items()}

    def _get(self, signal: Signal) -> int:
        return self._engine.get_value(signal) & ((1 << len(signal)) - 1)

    def _set(self, signal: Signal, value: int) -> None:
        self._engine.set_value(signal, Const(value, signal.shape()).value)

    def _step(self) -> tuple[int, bool]:
        design = self._sim_design
        stop = self.stop = self._get(design.stop) if design.stop is not None else 0
        full = False
        for name in self._enabled:
            tap = self._taps[name]
            if self._get(tap.valid):
                records = self._records[name]
                records.append(tuple(self._get(signal) for _name, signal in tap.fields))
                full |= len(records) >= self.TAP_CAPACITY
        rdata = self._ram_cycle()
        clk = self._elaborated.clk
        self._set(clk, 1)
        self._engine.step_design()
        # Registers that take `rdata` at this edge take its value before it.
        if rdata is not None:
            assert design.ram is not None
            self._set(design.ram.rdata, rdata)
        self._set(clk, 0)
        self._engine.step_design()
        self.cycle += 1
        return stop, full

    def _ram_cycle(self) -> int | None:
        port = self._sim_design.ram
        if port is None or not self._get(port.en):
            return None
        addr, mask = self._get(port.addr), self._get(port.we)
        if addr >= len(self.ram):
            return 0xFFFFFFFF
        old = int(self.ram[addr])
        if mask:
            lanes = sum(0xFF << 8 * byte for byte in range(4) if mask >> byte & 1)
            self.ram[addr] = (old & ~lanes) | (self._get(port.wdata) & lanes)
        return old

    # -- looking

    def signals(self) -> list[SignalInfo]:
        return list(self._elaborated.infos)

    def _row(self, name: str) -> tuple[MemoryData, int] | None:
        memory, row = parse_row(name)
        if row is None or memory not in self._rows:
            return None
        if row >= self._rows[memory].depth:
            raise UnknownSignal(f"Memory '{memory}' has {self._rows[memory].depth} rows, so there is no row {row}")
        return self._rows[memory], row

    def peek(self, name: str) -> int:
        row = self._row(name)
        if row is not None:
            data, index = row
            return self._engine.get_value(data[index]) & ((1 << self._infos[parse_row(name)[0]].width) - 1)
        if name not in self._signals:
            raise UnknownSignal(f"No signal is named '{name}'")
        return self._get(self._signals[name])

    def rows(self, name: str) -> np.ndarray:
        if name not in self._rows:
            raise UnknownSignal(f"No memory is named '{name}'")
        data, width = self._rows[name], self._infos[name].width
        return memory_array([self._engine.get_value(data[index]) & ((1 << width) - 1) for index in range(data.depth)],
                            width)

    def poke(self, name: str, value: int) -> None:
        row = self._row(name)
        if row is not None:
            data, index = row
            self._engine.set_value(data[index], Const.cast(value).value)
        elif name not in self._signals:
            raise UnknownSignal(f"No signal is named '{name}'")
        elif self._infos[name].kind is Kind.WIRE:
            raise EngineError(f"'{name}' is computed by the design; only inputs, registers and memory rows can be set")
        else:
            self._set(self._signals[name], value)
        self._engine.step_design()

    def record(self, names: Sequence[str], n_cycles: int) -> dict[str, np.ndarray]:
        widths = {name: self._infos[parse_row(name)[0] if self._row(name) else name].width for name in names
                  if self.peek(name) is not None}
        values: dict[str, list[int]] = {name: [] for name in names}
        with Interrupt() as interrupt:
            for _ in range(n_cycles):
                for name in names:
                    values[name].append(self.peek(name))
                check_taps(self._tap_counts(), self.TAP_CAPACITY)
                stop, _full = self._step()
                if stop or interrupt.pending:
                    break
        return {name: np.array(values[name], dtype=value_dtype(widths[name])) for name in names}

    # -- taps

    def set_tap(self, name: str, enabled: bool) -> None:
        if name not in self._taps:
            raise UnknownSignal(f"No tap is named '{name}'")
        (self._enabled.add if enabled else self._enabled.discard)(name)

    def drain_tap(self, name: str) -> np.ndarray:
        if name not in self._taps:
            raise UnknownSignal(f"No tap is named '{name}'")
        records, self._records[name] = self._records[name], []
        return np.array(records, dtype=tap_dtype(tap_widths(self._taps[name])))

    # -- state

    def save(self) -> State:
        signals = {
            info.name: self._get(self._signals[info.name]) for info in self._elaborated.infos
            if info.kind in (Kind.REGISTER, Kind.INPUT) and info.alias is None}
        memories = {name: self.rows(name) for name in self._rows}
        return {"cycle": self.cycle, "ram": self.ram.copy(), "signals": signals, "memories": memories}

    def load(self, state: State) -> None:
        for name, value in state["signals"].items():
            if name in self._signals:
                self._set(self._signals[name], value)
        for name, rows in state["memories"].items():
            if name in self._rows:
                for index, value in enumerate(rows):
                    self._engine.set_value(self._rows[name][index], int(value))
        self._engine.step_design()
        resume(self, state)


__all__ = ["PySim", "RDATA_NAME"]
