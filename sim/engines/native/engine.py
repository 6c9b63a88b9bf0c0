"""The default engine: machine code made by LLVM, driven through one flat state buffer."""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..base import EngineError, Kind, Mark, SignalInfo, State, UnknownSignal, tap_dtype, value_dtype
from ..bursts import Bursts
from ..cache import Cache
from ..common import check_taps, checked_ram, input_values, new_ram, parse_row, resume, tap_widths
from ..design import SimDesign
from ..elaborate import RDATA, RDATA_NAME, input_port
from ..interrupt import Interrupt
from .build import Builder, Observer
from .cells import Cells, Reader, Writer
from .compile import Code
from .layout import HEADER, RAM_POINTER, RAM_WORDS, STOP_VALUE, TAP_FULL, TAP_SIZE
from .netlist import Chunk, Sig
from .words import ones, store_bits


class Native(Bursts):
    """``Engine`` compiled to machine code."""

    TAP_CAPACITY = 1 << 16

    def __init__(self, design: SimDesign, ram: np.ndarray | None = None, cache_dir: Path | str | None = None) -> None:
        self._builder = Builder(design, Cache(cache_dir))
        image = self._image = self._builder.image()
        self._code = Code(image.code)
        self._run = self._code.function("run", ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
        self._infos = {info.name: info for info in image.infos}
        self._names: dict[str, Sig] = dict(image.names)
        for name in design.inputs:
            self._names[name] = self._source(image.inputs.get(input_port(name)))
        if design.ram is not None:
            self._names[RDATA_NAME] = self._source(image.inputs.get(RDATA))
        # A cache line boundary keeps the compiler's alignment promises.
        self._raw = np.zeros(image.size + 64, dtype=np.uint8)
        start = -self._raw.ctypes.data % 64
        self._state = self._raw[start:start + image.size]
        self._state[:] = np.frombuffer(zlib.decompress(image.initial), dtype=np.uint8)
        self._address = self._state.ctypes.data
        self._header = self._state[:HEADER + TAP_SIZE * len(design.taps)].view(np.int64)
        self._cells = Cells(self._state, image.nodes)
        self._readers: dict[str, Reader] = {}
        self._writers: dict[str, Writer] = {}
        self._rows = {
            name: self._state[offset:offset + store_bits(width) // 8 * depth].reshape(depth, store_bits(width) // 8)
            for name, (offset, width, depth) in image.memories.items()}
        self._taps = {tap.name: index for index, tap in enumerate(design.taps)}
        self._buffers = [np.zeros(self.TAP_CAPACITY, tap_dtype(tap_widths(tap))) for tap in design.taps]
        for index, buffer in enumerate(self._buffers):
            self._tap(index)[:3] = (buffer.ctypes.data, 0, len(buffer))
        self._observer: Observer | None = None
        self.cycle = 0
        self.ram = new_ram(design, ram)
        for name, value in input_values(design).items():
            self._cells.writer(self._names[name])(value)

    def _source(self, node: int | None) -> Sig:
        return () if node is None else (Chunk(node, 0, self._image.nodes[node][1]),)

    def _tap(self, index: int) -> np.ndarray:
        start = (HEADER + TAP_SIZE * index) // 8
        return self._header[start:start + 3]

    @property
    def ram(self) -> np.ndarray:
        return self._ram

    @ram.setter
    def ram(self, ram: np.ndarray) -> None:
        self._ram = checked_ram(ram)
        self._header[RAM_POINTER // 8] = self._ram.ctypes.data
        self._header[RAM_WORDS // 8] = len(self._ram)

    # -- running

    @property
    def stop(self) -> int:
        return int(self._header[STOP_VALUE // 8])

    def _advance(self, cycles: int) -> int:
        ran = self._run(self._address, cycles)
        self.cycle += ran
        return ran

    def _tap_counts(self) -> dict[str, int]:
        return {name: int(self._tap(index)[1]) for name, index in self._taps.items()}

    def _take_full(self) -> bool:
        full = bool(self._header[TAP_FULL // 8])
        self._header[TAP_FULL // 8] = 0
        return full

    # -- looking

    def signals(self) -> list[SignalInfo]:
        return list(self._image.infos)

    def _row(self, name: str) -> tuple[int, int] | None:
        """Offset and width of a row of a memory."""
        memory, row = parse_row(name)
        info = self._infos.get(memory)
        if row is None or info is None or info.kind is not Kind.MEMORY:
            return None
        if row >= info.depth:
            raise UnknownSignal(f"Memory '{memory}' has {info.depth} rows, so there is no row {row}")
        return self._image.memories[memory][0] + row * store_bits(info.width) // 8, info.width

    def _sig(self, name: str) -> Sig:
        info = self._infos.get(name)
        if info is None or info.kind is Kind.MEMORY:
            raise UnknownSignal(f"No signal is named '{name}'")
        return self._names[name]

    def peek(self, name: str) -> int:
        read = self._readers.get(name)
        if read is None:
            read = self._readers[name] = self._reader(name)
        return read()

    def _reader(self, name: str) -> Reader:
        row = self._row(name)
        if row is not None:
            return self._cells.word(*row)[0]
        sig = self._sig(name)
        if self._cells.holds(sig):
            return self._cells.reader(sig)
        self._observed()
        read = self._observed_cells.reader(sig)

        def computed() -> int:
            self._observer_run(self._address, self._out.ctypes.data)
            return read()

        return computed

    def rows(self, name: str) -> np.ndarray:
        info = self._infos.get(name)
        if info is None or info.kind is not Kind.MEMORY:
            raise UnknownSignal(f"No memory is named '{name}'")
        return _row_array(self._rows[name], info.width)

    def _observed(self) -> Observer:
        if self._observer is None:
            self._observer = self._builder.observer()
            self._observer_code = Code(self._observer.code)
            self._observer_run = self._observer_code.function("observe", None, ctypes.c_void_p, ctypes.c_void_p)
            self._out = np.zeros(self._observer.size + 64, dtype=np.uint8)
            self._out = self._out[-self._out.ctypes.data % 64:][:self._observer.size]
            self._observed_cells = Cells(self._out, self._observer.nodes)
        return self._observer

    def poke(self, name: str, value: int) -> None:
        write = self._writers.get(name)
        if write is None:
            write = self._writers[name] = self._writer(name)
        write(value)

    def _writer(self, name: str) -> Writer:
        row = self._row(name)
        if row is not None:
            write, mask = self._cells.word(*row)[1], ones(row[1])
            return lambda value: write(value & mask)
        sig = self._sig(name)
        if self._infos[name].kind is Kind.WIRE:
            raise EngineError(f"'{name}' is computed by the design; only inputs, registers and memory rows can be set")
        return self._cells.writer(sig)

    def record(self, names: Sequence[str], n_cycles: int) -> dict[str, np.ndarray]:
        rows = {name: self._row(name) for name in names}
        sigs = {name: self._sig(name) for name in names if rows[name] is None}
        observer = self._observed()
        frames = np.zeros((n_cycles, observer.size), dtype=np.uint8)
        row_values: dict[str, list[int]] = {name: [] for name, row in rows.items() if row is not None}
        done = 0
        with Interrupt() as interrupt:
            while done < n_cycles:
                self._observer_run(self._address, frames.ctypes.data + done * observer.size)
                for name, values in row_values.items():
                    values.append(self.peek(name))
                check_taps(self._tap_counts(), self.TAP_CAPACITY)
                self._advance(1)
                done += 1
                if self._header[STOP_VALUE // 8] or interrupt.pending:
                    break
        result = {}
        for name in names:
            if name in sigs:
                result[name] = _columns(sigs[name], observer.nodes, frames[:done])
            else:
                width = self._infos[parse_row(name)[0]].width
                result[name] = np.array(row_values[name], dtype=value_dtype(width))
        return result

    # -- taps

    def _tap_index(self, name: str) -> int:
        if name not in self._taps:
            raise UnknownSignal(f"No tap is named '{name}'")
        return self._taps[name]

    def set_tap(self, name: str, enabled: bool) -> None:
        self._tap_index(name)
        self._cells.writer(self._source(self._image.inputs[f"listen:{name}"]))(int(enabled))

    def drain_tap(self, name: str) -> np.ndarray:
        index = self._tap_index(name)
        tap = self._tap(index)
        records = self._buffers[index][:int(tap[1])].copy()
        tap[1] = 0
        return records

    # -- state

    def mark(self) -> Mark:
        return self.cycle, self._state[len(self._header) * 8:].copy()

    def rewind(self, mark: Mark) -> None:
        # The header stays: it knows the buffers of the taps and of RAM.
        self.cycle, self._state[len(self._header) * 8:] = mark

    def save(self) -> State:
        signals = {info.name: self.peek(info.name) for info in self._image.infos
                   if info.kind in (Kind.REGISTER, Kind.INPUT) and info.alias is None}
        # A memory without a name in the design is a ROM that Yosys has made of a case statement.
        memories = {name: _row_array(rows, self._infos[name].width)
                    for name, rows in self._rows.items() if name in self._infos}
        return {"cycle": self.cycle, "ram": self.ram.copy(), "signals": signals, "memories": memories}

    def load(self, state: State) -> None:
        for name, value in state["signals"].items():
            if name in self._names:
                self._cells.writer(self._names[name])(value)
        for name, values in state["memories"].items():
            if name in self._rows:
                rows = self._rows[name]
                size = rows.shape[1]
                rows[:] = np.frombuffer(b"".join(int(value).to_bytes(size, "little") for value in values),
                                        dtype=np.uint8).reshape(rows.shape)
        resume(self, state)


def _row_array(rows: np.ndarray, width: int) -> np.ndarray:
    if width <= 64:
        return np.ascontiguousarray(rows).view(value_dtype(width)).reshape(len(rows)).copy()
    return np.array([int.from_bytes(row.tobytes(), "little") for row in rows], dtype=object)


def _columns(sig: Sig, nodes: dict[int, tuple[int, int]], frames: np.ndarray) -> np.ndarray:
    """A signal's value in every frame."""
    width = sum(chunk.bits for chunk in sig)
    if width > 64 or any(chunk.node >= 0 and nodes[chunk.node][1] > 64 for chunk in sig):
        return np.array([Cells(frame, nodes).reader(sig)() for frame in frames], dtype=value_dtype(width))
    total, position = np.zeros(len(frames), dtype=np.uint64), 0
    for chunk in sig:
        if chunk.node < 0:
            part = np.full(len(frames), chunk.offset, dtype=np.uint64)
        else:
            offset, own = nodes[chunk.node]
            size = store_bits(own) // 8
            word = np.ascontiguousarray(frames[:, offset:offset + size]).view(f"u{size}").reshape(-1).astype(np.uint64)
            part = word >> np.uint64(chunk.offset) & np.uint64(ones(chunk.width))
            if chunk.repeat > 1:
                part = part * np.uint64(ones(chunk.repeat))
        total |= part << np.uint64(position)
        position += chunk.bits
    return total.astype(value_dtype(width))
